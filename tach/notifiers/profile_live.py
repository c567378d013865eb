"""A table at the foot of a terminal, while a program writes to the lines above it.

The terminal is told to scroll only these; what the program writes is not touched.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

LEAST_HEIGHT = 15
LEAST_WIDTH = 40
LARGEST_SHARE = 3  # of the terminal's lines one in so many is the table's
MOST_LINES = 14
NEW_LINE = "\n"
SAVE, RESTORE = "\x1b7", "\x1b8"
CLEAR_LINE, CLEAR_BELOW = "\x1b[2K", "\x1b[J"


class Foot:
    """The foot of the terminal that `file` is open on."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._shape = (0, 0, 0)  # lines, columns, lines of the foot; all 0 while there is none

    def room(self) -> tuple[int, int]:
        """How many columns and lines it may have; 0 lines where it is too small a terminal."""
        try:
            columns, lines = os.get_terminal_size(self._file)
        except OSError:
            return 0, 0
        if lines < LEAST_HEIGHT or columns < LEAST_WIDTH:
            return columns, 0
        return columns, min(lines // LARGEST_SHARE, MOST_LINES)

    def show(self, text: Sequence[str]) -> None:
        """Show the lines for which there is room. Raises OSError if they cannot be written."""
        columns, height = self.room()
        if not height:
            return
        lines = os.get_terminal_size(self._file).lines
        before = self._shape
        begin = ""
        if self._shape != (lines, columns, height):
            # Lines for the foot, whatever stood there; then these scroll no more.
            begin = NEW_LINE * height + f"\x1b[{height}A" + _scrolling(lines - height)
            if before[0]:  # it has another size now, and the old foot most likely at its end
                begin = _scrolling(lines) + _cleared(max(lines - before[2], 0) + 1) + begin
            self._shape = lines, columns, height
        shown = [*text[:height], *[""] * max(height - len(text), 0)]
        first = lines - height + 1
        body = "".join(
            f"\x1b[{first + place};1H{CLEAR_LINE}{each}" for place, each in enumerate(shown)
        )
        self._write(f"{begin}{SAVE}{body}{RESTORE}")

    def clear(self) -> None:
        """Take it away, and let the whole terminal scroll again."""
        lines, _, height = self._shape
        if height:
            self._shape = (0, 0, 0)
            with contextlib.suppress(OSError):
                self._write(_scrolling(lines) + _cleared(lines - height + 1))

    def _write(self, text: str) -> None:
        # At once, so that what the program writes at the same time comes before or after it.
        data = text.encode()
        while data:
            data = data[os.write(self._file, data) :]


def _cleared(first: int) -> str:
    """What empties the terminal from that line on, with the cursor where it is."""
    return f"{SAVE}\x1b[{first};1H{CLEAR_BELOW}{RESTORE}"


def _scrolling(lines: int) -> str:
    """What has the first `lines` of the terminal scroll, with the cursor where it is."""
    return f"{SAVE}\x1b[1;{lines}r{RESTORE}"
