"""What the documentation shows is so: `pages.py` says what is done with each of its blocks.

A ```yaml block is a whole configuration or, where it is indented, targets of one. Of what a command
prints, a line `...` stands for any lines and `…` for any text within one; spaces and times may
differ.
"""

from __future__ import annotations

import ast
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from pages import PAGES, ROOT, Block, blocks, without_blocks
from processes import wait_for
from rabbitmq_broker import RabbitmqBroker, require_rabbitmq

from tach import cli, config

SCHEMA = Draft7Validator(json.loads((ROOT / "tach" / "tach.schema.json").read_text()))
HELPER = re.compile(r"(\./\w+\.py):(\w+)")
VARIABLE = re.compile(r"\$\{(\w+)\}")
LINK = re.compile(r"\]\(([^)#:]*)(#[^)]*)?\)")
INLINE = re.compile(r"`([^`\n]+)`")
RUN = re.compile(r"run in (?P<directory>\S+)(?: with (?P<what>\S+))?")
BY_A_TEST = re.compile(r"run by (?P<file>\S+)::(?P<test>\w+)")
STUB = "#!{python}\nimport sys\nopen(__file__ + '.started', 'w').write(' '.join(sys.argv[1:]))\n"


def of(*languages: str) -> Any:
    """A test's parameters: the blocks of these languages."""
    found = [pytest.param(block, id=block.place) for block in blocks(*languages)]
    return pytest.mark.parametrize("block", found)


def on_each_page(function: Callable[..., None]) -> Callable[..., None]:
    """Run a test for each page."""
    ids = [str(page.relative_to(ROOT)) for page in PAGES]
    return pytest.mark.parametrize("page", PAGES, ids=ids)(function)


# Configurations


@of("yaml")
def test_configurations_load(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every configuration of the documentation is one that tach and its schema take."""
    is_part = block.text.startswith(" ")
    text = f"targets:\n{block.text}" if is_part else block.text
    for name, function in HELPER.findall(text):
        (tmp_path / name).write_text(f"def {function}(*args, **kwargs): ...\n")
    for name in VARIABLE.findall(text):
        monkeypatch.setenv(name, str(tmp_path / name))
    file = tmp_path / "tach.yaml"
    file.write_text(text)

    assert [each.message for each in SCHEMA.iter_errors(yaml.safe_load(text))] == []
    if block.remark.startswith("from "):
        return  # the test of that file runs it
    try:
        config.load(str(file))
    except config.ConfigErrors as error:
        if "is not installed" in str(error):
            pytest.skip(str(error))
        raise


CONFIGURATIONS = sorted(
    file for file in ROOT.glob("examples/**/*.yaml") if "targets:" in file.read_text()
)


@pytest.mark.parametrize(
    "file", CONFIGURATIONS, ids=lambda file: str(file.relative_to(ROOT / "examples"))
)
def test_the_configurations_of_the_examples_fit_the_schema(file: Path) -> None:
    """An editor that has the schema marks nothing in them."""
    found = yaml.safe_load(file.read_text())

    assert [each.message for each in SCHEMA.iter_errors(found)] == []
    assert len(CONFIGURATIONS) >= 15


# Commands


@pytest.fixture(scope="session")
def broker() -> Iterator[RabbitmqBroker]:
    """One broker for all pages, as it takes long to start."""
    require_rabbitmq()
    with RabbitmqBroker() as running:
        yield running


def pages_that_run() -> list[Any]:
    """A test's parameters: the pages some of whose blocks are run here."""
    found = [page for page in PAGES if any(to_run(page))]
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in found]


def to_run(page: Path) -> Iterator[tuple[Block, re.Match[str]]]:
    """The blocks of the page that are run here, and how."""
    for block in blocks("console", page=page):
        if match := RUN.fullmatch(block.remark):
            yield block, match


@pytest.mark.parametrize("page", pages_that_run())
def test_commands_print_what_is_shown(
    page: Path,
    environment: dict[str, str],
    tach_run_dir: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Every command that the documentation runs prints, on either stream, what is shown."""
    (tmp_path / "bin").mkdir()
    environment |= {
        "PATH": f"{tmp_path / 'bin'}:{environment['PATH']}",
        "PYTHONUNBUFFERED": "1",  # lines come when they are printed, as on a terminal
        "SHOP_SPOOL": str(tmp_path / "spool"),
    }
    for block, match in to_run(page):
        place = tmp_path / "copy" / match["directory"]
        if not place.exists():
            junk = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / match["directory"], place, ignore=junk)
        if match["what"] == "RabbitMQ":
            environment["BUS_URL"] = request.getfixturevalue("broker").url
        elif match["what"]:
            put_program(tmp_path / "bin" / match["what"])
        for command, shown in block.commands():
            said = run(command, place, environment)
            wait_for(lambda: not list(tach_run_dir.iterdir()), 60, "the end of the run")
            assert re.fullmatch(pattern(shown), normal(said)), f"{block.place}: {command}\n{said}"
        started = tmp_path / "bin" / f"{match['what']}.started"
        assert not started.exists() or command.endswith(f"{match['what']} {started.read_text()}")
        assert started.exists() is (match["what"] not in (None, "RabbitMQ"))


def put_program(file: Path) -> None:
    """A program that notes its arguments."""
    file.write_text(STUB.format(python=sys.executable))
    file.chmod(0o755)


def run(command: str, directory: Path, environment: dict[str, str]) -> str:
    """What the command prints, on either stream."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    ).stdout


def normal(text: str) -> str:
    """The lines without what spaces and times tell."""
    timeless = re.sub(r"\b\d[\d.]* (µs|ms|s)\b", "TIME", text)
    timeless = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?", "DATE", timeless)
    return "".join(f"{' '.join(line.split())}\n" for line in timeless.splitlines())


def pattern(shown: str) -> str:
    """A regular expression for the lines that are shown."""
    lines = [re.escape(line).replace("…", ".*") for line in normal(shown).splitlines()]
    return "".join(r"(.*\n)*" if line == r"\.\.\." else f"{line}\n" for line in lines)


@of("console")
def test_every_command_is_run(block: Block) -> None:
    """By a test that the page names; of `make` the target is there, of `pip` what is installed."""
    if by := BY_A_TEST.fullmatch(block.remark):
        assert f"def {by['test']}(" in (ROOT / by["file"]).read_text()
    elif not RUN.fullmatch(block.remark):
        assert block.remark == ""
        for command, _ in block.commands():
            CHECKS[command.split()[0]](command)
    assert block.commands()


def makes(command: str) -> None:
    """The command is one that the Makefile knows."""
    if shutil.which("make") is None:
        pytest.skip("no make here")
    done = subprocess.run(
        [*command.split(" #")[0].split(" ", 1)[:1], "-n", command.split(" ", 1)[1].split()[0]],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def installs(command: str) -> None:
    """The extras that the command names are those of the package."""
    setup = (ROOT / "setup.py").read_text()
    for extras in re.findall(r"(?:tach|\.)\[([\w,]+)\]", command):
        assert [each for each in extras.split(",") if f'"{each}": [' not in setup] == []
    assert re.match(r"pip install '?(\.|tach)(\[[\w,]+\])?'?( +#.*)?$", command)


CHECKS: dict[str, Callable[[str], None]] = {"make": makes, "pip": installs}


def inline_commands() -> list[Any]:
    """A test's parameters: what stands in the text as `tach SUBCOMMAND ...` or `tach --option`."""
    found = {
        words
        for page in [*PAGES, ROOT / "CHANGELOG.md"]
        for words in INLINE.findall(without_blocks(page))
        if re.match(r"tach (--\w|[a-z]+( |$))", words)
    }
    return sorted(found)


@pytest.mark.parametrize("words", inline_commands())
def test_commands_within_a_text_exist(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The sub-commands and options that the text speaks of are those that tach has."""
    named = words.split()[1]
    if named.startswith("--"):
        assert named in cli.USAGE
        return
    assert named in cli.SUBCOMMANDS
    if named in ("metrics", "notifiers"):
        return
    with pytest.raises(SystemExit):
        cli.SUBCOMMANDS[named](["--help"])
    known = capsys.readouterr().out
    assert [each for each in re.findall(r" (--?[a-z-]+)", words) if each not in known] == []


# Other blocks


@of("python")
def test_python_runs(block: Block) -> None:
    """Code of the documentation is a part of a file that a test runs, or runs by itself."""
    if not block.remark.startswith("from "):
        exec(compile(block.text, block.place, "exec"), {"__name__": "documentation"})


@pytest.mark.parametrize(
    "block", [pytest.param(each, id=each.place) for each in blocks() if each.remark[:5] == "from "]
)
def test_what_is_quoted_is_in_its_file(block: Block) -> None:
    """Code and configurations that lie in a file as well are the same there."""
    assert block.text in (ROOT / block.remark.removeprefix("from ")).read_text()


@of("json")
def test_json_is_json(block: Block) -> None:
    """What is shown as JSON can be parsed."""
    for text in block.text.strip().split("\n\n"):
        json.loads(text)


@of("ini")
def test_units_of_systemd_are_right(block: Block, tmp_path: Path) -> None:
    """They parse; systemd itself takes them, where it is here, but for programs that are not."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(block.text)
    assert parser.get("Service", "ExecStart").split()[0].endswith("/tach")
    if shutil.which("systemd-analyze"):
        unit = tmp_path / "shop.service"
        unit.write_text(re.sub(r"(?<==)/opt/\S+", "/bin/true", block.text))
        done = subprocess.run(
            ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
        )
        said = [line for line in done.stderr.splitlines() if "shop.service" in line]
        assert [line for line in said if re.search("Unknown|Invalid|ignoring", line)] == []


def test_every_block_is_looked_at() -> None:
    """Each has a language that a test above knows, and a text holds no command."""
    known = {"yaml", "console", "python", "json", "ini", "text", "dockerfile", "bash"}
    assert {block.language for block in blocks()} <= known
    commands = re.compile(r"^(\$ |tach |make |pip |python |curl )", re.MULTILINE)
    assert [block.place for block in blocks("text") if commands.search(block.text)] == []


@on_each_page
def test_no_block_is_without_a_fence(page: Path) -> None:
    """What is only indented would be looked at by no test."""
    lines = without_blocks(page).splitlines()

    assert [line for line in lines if line.startswith("    ")] == []


# Links


@on_each_page
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file of the repository names one that is there, and a heading that it has."""
    missing = []
    for path, anchor in LINK.findall(without_blocks(page)):
        file = (page.parent / path) if path else page
        if not file.exists() or (anchor and anchor[1:] not in anchors(file)):
            missing.append(path + anchor)

    assert missing == []


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each).strip().lower().replace(" ", "-") for each in headings}


def test_every_page_can_be_found() -> None:
    """The README leads to each page of docs/, and so does the index of docs/."""
    for index in (ROOT / "README.md", ROOT / "docs" / "README.md"):
        linked = {
            os.path.normpath(index.parent / path) for path, _ in LINK.findall(index.read_text())
        }
        wanted = {str(page) for page in (ROOT / "docs").glob("*.md") if page != index}
        assert wanted - linked == set()


# Messages


def messages() -> Iterator[str]:
    """The messages that the page for operators explains; examples of them stand in brackets."""
    text = (ROOT / "docs" / "operators.md").read_text().partition("by message")[2]
    for row in text.splitlines():
        if row.startswith("| `"):
            yield from INLINE.findall(row.split(" | ")[0].partition(" (")[0])


@pytest.fixture(scope="session")
def source() -> str:
    """The text of tach's modules; texts that go on in the next line are one."""
    text = "\n".join(path.read_text() for path in (ROOT / "tach").rglob("*.py"))
    return re.sub(r'"\s*\n\s*f?"', "", text)


@pytest.mark.parametrize("message", list(messages()))
def test_messages_are_those_of_the_program(message: str, source: str) -> None:
    """Each message that is explained to operators is one that tach can say."""
    assert message in source


REPORTERS = {
    "_on_trouble",
    "_trouble",
    "note",
    "_note",
    "CannotPatch",
    "CannotStart",
    "CannotAttach",
}
LOGGED = {"warning", "error"}


def told() -> Iterator[Any]:
    """A test's parameters: what tach says of targets, notifiers and processes, by its source."""
    for file in sorted((ROOT / "tach").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and (text := message_of(node, file)):
                place = f"{file.relative_to(ROOT)}:{node.lineno}"
                yield pytest.param(text, id=place)


def message_of(call: ast.Call, file: Path) -> str:
    """The text that the call reports; nothing if it reports none, or one that it was given."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    logs = name in LOGGED and file.parent.name in ("sender", "notifiers")
    if not (name in REPORTERS or logs) or not call.args:
        return ""
    parts = [each for each in map(text_of, call.args) if len(each.strip("…: ")) > 8]
    return max(parts, key=len, default="")


def text_of(node: ast.expr) -> str:
    """The text, with … for what is not always the same in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[\d.]*[dsf]", "…", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    return "…"


@pytest.mark.parametrize("text", list(told()))
def test_every_message_is_explained(text: str) -> None:
    """Operators find each message that tach can say in the page, by its constant part."""
    assert [message for message in messages() if message in text], text
