"""Takes up what has been changed in a run's configuration.

What is answered to `tach reload`, and is the member `reload` of a status, is an object:

generation     how often what the processes measure has been changed; each process takes a change
               up at its next measured call or import
watching       whether the file is watched (`reload: true`)
loaded         when it was last taken up, in seconds of the epoch; null if it never was
errors         [text]: why the file as it is now was not taken up, with file and line
needs_restart  [text]: what in it takes a restart, with its line
added, changed, removed   names of the targets that the last change was about
"""

from __future__ import annotations

import json
import logging
import os
import time
from typing import Any, Protocol

from tach import layout, rundir
from tach.plan import Plan
from tach.plan_change import Change, between
from tach.problems import ConfigErrors
from tach.rundir import Run
from tach.sender.config_files import LOOK_EVERY, ConfigFiles
from tach.sender.requests import Requests

log = logging.getLogger("tach.sender")

VERSION = 1


class Changeable(Protocol):
    """What works by the plan of the run: its sender."""

    def take_up(self, change: Change) -> None:
        """Work by the changed plan from now on."""

    def tell_news(self) -> None:
        """Let all processes look at what has been written down for them."""

    def count(self, what: str) -> None:
        """Count a `reload`, or an error."""


class Reloader:
    """Changes the plan of `run`, and what works by it.

    The sender of it `can_speak` on the program's standard error.
    """

    def __init__(self, run: Run, plan: Plan, can_speak: bool, changeable: Changeable) -> None:
        self._run = run
        self._plan = plan
        self._can_speak = can_speak
        self._changeable = changeable
        self._requests = Requests(run.directory, layout.RELOAD_REQUEST, layout.RELOAD_ANSWER)
        # What they were when the run began is not known any more: they are read once to make sure.
        self._files = ConfigFiles([run.file, *plan.included] if run.file else [])
        self._look_at = 0.0
        self._untold = run.change is not None
        self.errors: list[str] = []
        self._needs_restart: tuple[str, ...] = ()
        self._loaded: float | None = None
        self._last: tuple[tuple[str, ...], ...] = ((), (), ())

    def wait(self) -> float:
        """For how many seconds at most nothing need be done; inf while nobody watches the file."""
        return LOOK_EVERY if self._plan.reload and self._run.file else float("inf")

    def look(self) -> None:
        """Take up the file if it is watched and has changed."""
        if self._untold:
            self._tell()
        now = time.monotonic()
        if self._plan.reload and self._run.file and now >= self._look_at:
            self._look_at = now + LOOK_EVERY * 0.9
            if self._files.have_changed():
                self.reload()

    def answer(self) -> None:
        """Do what is asked for by `tach reload`. Never raises."""
        try:
            for identity in self._requests.pending():
                self.reload()
                self._requests.answer(identity, json.dumps(self.answered()).encode())
        except Exception:
            log.exception("cannot answer who asks for a reload")

    def answered(self) -> dict[str, Any]:
        """What is to be said of the last change, as a run of its own."""
        run = {"version": VERSION, "pid": self._run.main_pid, "config": self._run.file}
        return {**run, **self.status()}

    def status(self) -> dict[str, Any]:
        """How it stands."""
        added, changed, removed = self._last
        return {
            "generation": self._run.generation,
            "watching": self._plan.reload,
            "loaded": self._loaded,
            "errors": self.errors,
            "needs_restart": self._needs_restart,
            "added": added,
            "changed": changed,
            "removed": removed,
        }

    def reload(self) -> None:
        """Read the file and take up what it says; nothing of it if there is an error in it."""
        from tach import config  # with YAML, which most senders never need

        self._last = ((), (), ())
        if not self._run.file:
            self._refuse(["the configuration of this run cannot be read again: it is no file"])
            return
        # as they are before they are read: what comes later is a change again
        self._files.follow([self._run.file, *self._plan.included])
        try:
            wanted = config.load(self._run.file)
        except ConfigErrors as error:
            self._refuse(error.errors)
            # some of them may be in files that are new
            wrong = {each.partition(":")[0] for each in error.errors}
            self._files.follow_too(each for each in wrong if os.path.isfile(each))
            return
        except Exception as error:
            log.exception("cannot read the configuration")
            self._refuse([f"{self._run.file}: {type(error).__name__}: {error}"])
            return
        # values are what they are after the way that the present ones have come
        self._change_to(Plan.from_json(wanted.to_json()))

    def _change_to(self, wanted: Plan) -> None:
        generation = self._run.generation + 1
        change = between(self._plan, wanted, generation, self._run.program, self._can_speak)
        if change.plan == self._plan:
            self.errors, self._needs_restart = [], change.restart
            return
        run = self._run
        before = run.plan, run.change
        run.plan, run.change = change.plan.to_json(), change.record or run.change
        try:
            rundir.change(run)
        except OSError as error:
            run.plan, run.change = before
            self._refuse([f"the change cannot be kept: {error}"])
            return
        self._plan = change.plan
        self.errors = []
        self._needs_restart = change.restart
        self._loaded = time.time()
        self._last = change.added, change.changed, change.removed
        self._files.follow_too(change.plan.included)
        self._log(change)
        self._changeable.count("reloads")
        self._changeable.take_up(change)
        if change.record is not None:
            self._untold = True
            self._tell()

    def _tell(self) -> None:
        try:
            rundir.tell(self._run)
            self._changeable.tell_news()
            self._untold = False
        except OSError as error:
            log.error("the processes cannot be told of the change yet: %s", error)

    def _refuse(self, errors: list[str]) -> None:
        self.errors = errors
        self._changeable.count("reload_errors")
        for each in errors:
            log.error("not reloaded: %s", each)

    def _log(self, change: Change) -> None:
        for what, names in zip(("added", "changed", "removed"), self._last, strict=True):
            if names:
                log.info("reloaded: targets %s: %s", what, ", ".join(names))
        if not any(self._last):
            log.info("reloaded: the targets are the same")
        for each in change.restart:
            log.warning("reloaded, but this needs a restart: %s", each)
