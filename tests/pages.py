"""The documentation as the tests read it: its pages, their blocks, and the commands in them.

Each block is fenced and names its language. What is done with it stands in a comment above it:

* `<!-- run in DIRECTORY -->`: the commands of a ```console block, the lines after `$ `, are run in
  a copy of that directory, one block of a page after the other; the other lines are what they say.
  `with RabbitMQ` behind it: there is a broker, whose address is in BUS_URL. `with NAME`, of a
  program: there is one of that name, which must be started with the arguments that are shown.
* `<!-- run by tests/test_x.py::test_y -->`: that test runs it.
* `<!-- from FILE -->`: the block is what the file holds, which a test of that file runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
_FENCED = re.compile(
    r"(?:^ *<!-- (?P<remark>[^>]*) -->\n)?^(?P<margin> *)```(?P<language>\w*)\n"
    r"(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block; `line` is that of its fence, `remark` the comment above it or nothing."""

    page: Path
    line: int
    language: str
    text: str
    remark: str

    @property
    def place(self) -> str:
        """Where it stands, for the names of tests."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list[tuple[str, str]]:
        """Each command of a ```console block, and what it prints."""
        parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]
        return [self._command(part) for part in parts]

    @staticmethod
    def _command(part: str) -> tuple[str, str]:
        command, _, shown = part.partition("\n")
        while command.endswith("\\"):
            line, _, shown = shown.partition("\n")
            command = f"{command[:-1]}{line.strip()}"
        return command, shown


def blocks(*languages: str, page: Path | None = None) -> Iterator[Block]:
    """The blocks of all pages, or of one, in some languages or in all."""
    for each in PAGES if page is None else [page]:
        text = each.read_text()
        for match in _FENCED.finditer(text):
            if not languages or match["language"] in languages:
                lines = match["text"].splitlines(keepends=True)
                inner = "".join(line.removeprefix(match["margin"]) for line in lines)
                line = text.count("\n", 0, match.start("margin")) + 1
                yield Block(each, line, match["language"], inner, match["remark"] or "")


def without_blocks(page: Path) -> str:
    """The text of the page between its blocks."""
    return _FENCED.sub("", page.read_text())


def commands_in(page: Path, program: str) -> list[str]:
    """The commands of the page's ```console blocks that begin with `program`, comments left out."""
    found = [command for block in blocks("console", page=page) for command, _ in block.commands()]
    return [re.sub(r"\s+#.*", "", each) for each in found if each.split()[0] == program]
