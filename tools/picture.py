"""Writes docs/picture.svg: what the README's first command shows on a terminal, as it is now.

`make picture` runs it, in an environment that has tach and eventlet.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from io import StringIO
from pathlib import Path

import demo
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "picture.svg"
COLUMNS, LINES = 92, 24
TITLE = "tach tach.yaml python service.py"
# Without the fonts of rich's own template, which are fetched from the network.
TEMPLATE = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
THEME = TerminalTheme(
    (22, 27, 34),
    (220, 223, 228),
    [(64, 64, 64)] + [(220, 223, 228)] * 7,
)


def on_a_terminal(command: list[str]) -> str:
    """What the command writes to a terminal of that size, escape sequences included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    with subprocess.Popen(
        command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ):
        os.close(theirs)
        text = b""
        with suppress(OSError):  # nobody has the other end any more
            while data := os.read(ours, 65536):
                text += data
    os.close(ours)
    return text.decode()


def svg(text: str) -> str:
    """The picture of a terminal with this text."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text.replace("\r\n", "\n").rstrip()))
    return console.export_svg(title=TITLE, theme=THEME, code_format=TEMPLATE, unique_id="tach")


def main() -> int:
    """Run the example and write its picture."""
    os.environ["TERM"] = "xterm-256color"
    program, *arguments = demo.COMMAND
    picture = svg(on_a_terminal([sys.executable, "-m", program, *arguments]))
    PICTURE.write_text("".join(f"{line.rstrip()}\n" for line in picture.splitlines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
