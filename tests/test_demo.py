"""What the README shows first."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import demo
import pages

ROOT = Path(__file__).parent.parent
CALLS = {
    "checkout": ["1000", "140"],
    "payment": ["900", "40"],
    "catalogue.find": ["1000", "100"],
    "catalogue.load": ["2", "-"],
    "price": ["900", "-"],
}


def calls(table: str) -> dict[str, list[str]]:
    """Calls and errors of each row of the table."""
    rows = [line.split() for line in table.splitlines()]
    return {row[0]: row[1:3] for row in rows if len(row) > 10}


def test_the_demo_prints_its_table(run_tach, tach_run_dir) -> None:
    """The program that the README shows first runs as without tach, and its numbers are exact."""
    tach, config, *program = demo.COMMAND
    done = run_tach(ROOT / config, *program, cwd=ROOT)

    assert (tach, done.returncode) == ("tach", 0), done.stderr
    assert done.stdout == "2 workers have served 1000 customers\n"
    assert calls(done.stderr) == CALLS
    assert "checkout: 100 OutOfStock, 40 PaymentRefused" in done.stderr.splitlines()
    assert list(tach_run_dir.iterdir()) == []


def test_the_first_commands_of_the_readme() -> None:
    """They are those of `make demo` and `make test`; the first runs what the test above runs."""
    commands = pages.commands_in(ROOT / "README.md", "python3")
    assert commands == ["python3 tools/demo.py", "python3 tools/check.py"]
    makefile = (ROOT / "Makefile").read_text()
    for command in commands:
        assert command.replace("python3", "$(PYTHON)") in makefile
    helped = subprocess.run(
        [sys.executable, "tools/check.py", "--help"], cwd=ROOT, capture_output=True, check=False
    )
    assert helped.returncode == 0
    assert demo.COMMAND[0] == "tach"


def test_the_picture_is_of_the_demo() -> None:
    """docs/picture.svg shows the table with these numbers, and fetches nothing."""
    text = (ROOT / "docs" / "picture.svg").read_text()
    shown = unescape(re.sub(r"<[^>]*>", "", re.sub(r"\n</text>", "\n", text)))

    assert calls(shown.replace("\xa0", " ")) == CALLS
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert len(text) < 10_000
    assert shutil.which("make") is None or "picture" in (ROOT / "Makefile").read_text()
