"""docs/notifiers.md tells what there is, and its examples are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tach import notifier_options, notifiers
from tach.config import load

PAGE = (Path(__file__).parent.parent / "docs" / "notifiers.md").read_text()
SECTIONS = {
    section.partition("\n")[0]: section for section in re.split(r"^## ", PAGE, flags=re.M)[1:]
}
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.M | re.S)


def test_each_notifier_has_a_section() -> None:
    """Every built-in type has one, named in the table at the top, and nothing else does."""
    assert set(SECTIONS) == set(notifiers.BUILTIN)
    assert set(re.findall(r"\[([a-z]+)\]\(#\1\)", PAGE)) == set(notifiers.BUILTIN)


@pytest.mark.parametrize("name", notifiers.BUILTIN)
def test_each_option_has_a_row(name: str) -> None:
    """The options of the page are the keyword arguments of the class."""
    options, _ = notifier_options.parameters(notifiers.load(name))
    _, _, table = SECTIONS[name].partition("| option | default | |\n|---|---|---|\n")
    rows = table.partition("\n\n")[0].splitlines()
    documented = [word for row in rows for word in re.findall(r"`(\w+)`", row.split("|")[1])]

    assert sorted(documented) == sorted(options)


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_right(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parser takes every configuration of the page."""
    monkeypatch.chdir(tmp_path)
    Path("tach.yaml").write_text(example)

    assert load("tach.yaml").notifiers
    assert len(EXAMPLES) >= len(notifiers.BUILTIN)
