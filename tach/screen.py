"""A page that is shown anew in the place of the last one, and the keys that are pressed meanwhile.

However it ends, the terminal is as it was: by SIGTERM and SIGHUP too, and where nobody reads any
more what is written to it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from typing import TYPE_CHECKING, Any

from rich.live import Live

if TYPE_CHECKING:
    from types import FrameType

    from rich.console import Console, RenderableType

# Leave the other screen, and show the cursor.
RESTORE = b"\x1b[?1049l\x1b[?25h"
PATIENCE = 0.2  # seconds that a terminal gets to take that
ENDING = (signal.SIGTERM, signal.SIGHUP)


class Screen:
    """On a terminal the whole of it; elsewhere pages follow each other."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._is_whole = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._keys: int | None = None  # what they are read from
        self._before: list[Any] = []

    def __enter__(self) -> Screen:
        # Whoever has started us may have blocked them.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*ENDING, signal.SIGINT))
        if self._is_whole:
            for each in ENDING:
                signal.signal(each, self._end)
            self._take_keys()
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_whole:
            self._live.stop()
            self._give_keys_back()
            for each in ENDING:
                signal.signal(each, signal.SIG_DFL)

    def show(self, page: RenderableType) -> None:
        """Show it in the place of the last one."""
        if self._is_whole:
            self._live.update(page, refresh=True)
        else:
            self._console.print(page)

    def wait(self, seconds: float) -> str:
        """The key that is pressed within so many seconds, "" if there is none."""
        if self._keys is None:
            time.sleep(seconds)
            return ""
        if not select.select([self._keys], [], [], seconds)[0]:
            return ""
        pressed = os.read(self._keys, 1)
        if not pressed:  # it has been closed
            self._keys = None
        return pressed.decode("ascii", "replace").lower()

    def _take_keys(self) -> None:
        try:
            keys = sys.stdin.fileno()
            self._before = termios.tcgetattr(keys)
            tty.setcbreak(keys)
        except (termios.error, OSError, ValueError, AttributeError):
            return  # not of a terminal
        self._keys = keys

    def _give_keys_back(self) -> None:
        if self._before:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._before)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        """End by that signal at once, whatever waits for the terminal."""
        try:
            self._give_keys_back()
            output = sys.__stdout__  # rich puts one of its own in sys.stdout's place
            if output is not None and select.select([], [output], [], PATIENCE)[1]:
                os.write(output.fileno(), RESTORE)
        except (OSError, ValueError, termios.error):
            pass  # it has gone
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
