"""What others ask of a sender: files in the run directory, and the answers put beside them."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import time

KEPT = 60.0  # seconds for which an answer waits for its reader


class Requests:
    """The requests of one sort; the names of the files are patterns with the id in place of {}."""

    def __init__(self, directory: str, request: str, answer: str) -> None:
        self._directory = directory
        self._request = request
        self._answer = answer

    def pending(self) -> list[str]:
        """The ids of those that have not been answered. Removes answers that nobody fetched."""
        names = os.listdir(self._directory)
        for name in fnmatch.filter(names, self._answer.format("*")):
            path = os.path.join(self._directory, name)
            with contextlib.suppress(FileNotFoundError):
                if time.time() - os.stat(path).st_mtime > KEPT:  # who asked has died
                    os.unlink(path)
        start, _, end = self._request.partition("{}")
        found = fnmatch.filter(names, self._request.format("*"))
        return [name.removeprefix(start).removesuffix(end) for name in found]

    def answer(self, identity: str, text: bytes) -> None:
        """Put the answer where who made the request looks for it. Raises OSError."""
        answer = os.path.join(self._directory, self._answer.format(identity))
        try:
            with open(f"{answer}.new", "wb") as file:
                file.write(text)
        except OSError:  # no room
            os.unlink(f"{answer}.new")
            raise
        os.rename(f"{answer}.new", answer)
        with contextlib.suppress(FileNotFoundError):  # who made it may have given up
            os.unlink(os.path.join(self._directory, self._request.format(identity)))
