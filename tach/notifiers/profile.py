"""Shows at the end of a run where its time went: a table, a page of HTML, a file to compare."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tach.notifiers import profile_page, profile_rows, profile_suggestion, profile_table
from tach.notifiers.profile_live import Foot
from tach.notifiers.profile_rows import Profile

if TYPE_CHECKING:
    from tach.samples import Batch, RunInfo


LIVE_EVERY = 1.0  # seconds


class ProfileNotifier:
    """Prints the functions by their own time on standard error, when the run has ended.

    Options: `top`, how many functions the table shows; `histograms`, of how many of them how long
    their calls took; `callers`, patterns of functions of which the callers are shown; `live`, to
    show the first ones while the program runs, where standard error is a terminal; `html`, `save`
    and `suggest`, files for a page of HTML, for `tach diff`, and for a configuration of the
    functions worth measuring.
    """

    cumulative = True
    last = True
    idle = True  # a call that never ended is no news

    def __init__(
        self,
        top: int = 40,
        histograms: int = 0,
        callers: list[str] | None = None,
        live: bool = False,
        html: str | None = None,
        save: str | None = None,
        suggest: str | None = None,
    ) -> None:
        if isinstance(top, bool) or not isinstance(top, int) or top < 1:
            raise ValueError(f"top {top!r} must be a whole number above 0")
        if isinstance(histograms, bool) or not isinstance(histograms, int) or histograms < 0:
            raise ValueError(f"histograms {histograms!r} must be a whole number, at least 0")
        if not isinstance(callers or [], list) or not all(
            isinstance(each, str) for each in callers or ()
        ):
            raise ValueError(f"callers {callers!r} must be a list of patterns")
        self.interval = LIVE_EVERY if live else float("inf")
        self._shown = profile_table.Shown(top, histograms, callers or ())
        self._foot: Foot | None = None
        self._html = html
        self._save = save
        self._suggest = suggest
        self._run: RunInfo | None = None
        self._began = 0.0  # seconds of the epoch

    @staticmethod
    def check(**options: Any) -> None:
        """Raise ValueError, saying what is wrong, if the options make no sense."""
        ProfileNotifier(**options)

    def introduce(self, run: RunInfo) -> None:
        """What is profiled."""
        self._run = run

    def send(self, batch: Batch) -> None:
        """Show the profile, and what of it could not be written to a file."""
        self._began = self._began or batch.start
        if not batch.final:
            self._show_live(batch)
            return
        if self._foot is not None:
            self._foot.clear()
        profile = Profile(
            " ".join(self._run.argv) if self._run else "",
            batch.end - self._began,
            profile_rows.rows(batch.samples),
            [*_notes(batch), *batch.troubles],
        )
        if sys.stderr is not None:
            shown = self._shown._replace(width=_width())
            sys.stderr.write(profile_table.text(profile, shown))
            sys.stderr.flush()
        if self._save:
            _write(self._save, json.dumps(profile.to_plain(), indent=1))
        if self._html:
            _write(self._html, profile_page.page(profile))
        if self._suggest:
            paths = profile_suggestion.paths(self._run.argv if self._run else ())
            _write(self._suggest, profile_suggestion.suggestion(profile, paths))

    def _show_live(self, batch: Batch) -> None:
        if sys.stderr is None or not sys.stderr.isatty():
            return
        if self._foot is None:
            self._foot = Foot(sys.stderr.fileno())
        columns, lines = self._foot.room()
        if lines:
            found = profile_rows.rows(batch.samples)
            profile = Profile("", batch.end - self._began, found, [])
            self._foot.show(profile_table.live(profile, columns, lines))

    def close(self) -> None:
        """Give the terminal back."""
        if self._foot is not None:
            self._foot.clear()


def _notes(batch: Batch) -> Sequence[str]:
    if any(target.called for target in batch.targets):
        return []
    modules = sorted({target.function.partition(":")[0] for target in batch.targets})
    return [
        f"no function of {', '.join(modules[:5])}{' ...' if modules[5:] else ''} was called; "
        "--target 'package.*:*' says what else to measure"
    ]


def _width() -> int | None:
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or None
    except OSError:
        return None


def _write(path: str, text: str) -> None:
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        if sys.stderr is not None:
            sys.stderr.write(f"tach: cannot write {path}: {error.strerror}\n")
            sys.stderr.flush()


def _has_the_terminal() -> bool:
    """Whether standard error is a terminal that nobody else writes to: no pager, no shell."""
    with contextlib.suppress(OSError):  # it is closed
        if stat.S_ISFIFO(os.fstat(1).st_mode):
            return False
    try:
        return os.isatty(2) and os.tcgetpgrp(2) == os.getpgrp()
    except OSError:  # not the one that this process belongs to
        return True


def options_of(arguments: Any) -> dict[str, Any]:
    """The options of this notifier among those of a command line, with absolute paths."""
    files = {name: getattr(arguments, name) for name in ("html", "save", "suggest")}
    return {
        "top": arguments.top,
        "histograms": arguments.histograms,
        "callers": arguments.callers,
        "live": _has_the_terminal() if arguments.live is None else arguments.live,
        **{name: os.path.abspath(path) for name, path in files.items() if path},
    }
