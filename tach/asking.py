"""Asks the senders of runs: a file in the run directory, and the answer beside it."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Sequence
from typing import Any

from tach import layout, runs

WAKE_EVERY = 0.5  # a sender that takes the place of another has not heard what woke that
LOOK_EVERY = 0.01

Answer = dict[str, Any]


class Question:
    """What may be asked: patterns of the files' names, and the `version` that answers must have."""

    def __init__(self, request: str, answer: str, version: int) -> None:
        self._request = request
        self._answer = answer
        self._version = version

    def ask(self, directories: Sequence[str], within: float) -> dict[str, Answer | None]:
        """What the senders of the runs in `directories` answer `within` seconds; else None."""
        identity = os.urandom(8).hex()
        answers: dict[str, Answer | None] = dict.fromkeys(directories)
        try:
            for each in directories:
                self._make(each, identity)
            began = time.monotonic()
            woken = began - WAKE_EVERY
            while not all(answers.values()) and time.monotonic() - began < within:
                open_ = [each for each in directories if answers[each] is None]
                if time.monotonic() - woken >= WAKE_EVERY:
                    woken = time.monotonic()
                    for each in open_:
                        _wake(each)
                time.sleep(LOOK_EVERY)
                answers.update({each: self._look(each, identity) for each in open_})
        finally:
            for each in directories:
                self._withdraw(each, identity)
        return answers

    def _make(self, directory: str, identity: str) -> None:
        path = os.path.join(directory, self._request.format(identity))
        with contextlib.suppress(OSError):  # the run is over, or its place is full
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def _look(self, directory: str, identity: str) -> Answer | None:
        try:
            text = runs.content(os.path.join(directory, self._answer.format(identity)))
            answer: Answer = json.loads(text)
        except (OSError, ValueError):
            return None
        return answer if answer.get("version") == self._version else None

    def _withdraw(self, directory: str, identity: str) -> None:
        """Leave nothing behind, not even the directory if the run ended just when it was asked."""
        for name in (self._request, self._answer):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(directory, name.format(identity)))
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def _wake(directory: str) -> None:
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError):  # nobody listens, or has been woken often enough already
        wake = os.open(os.path.join(directory, layout.WAKE), flags)
        try:
            if stat.S_ISFIFO(os.fstat(wake).st_mode):
                os.write(wake, b"\0")
        finally:
            os.close(wake)
