"""Looks whether the files of a configuration have been changed, by whatever means."""

from __future__ import annotations

import os
from collections.abc import Iterable

Identity = tuple[int, int, int, int, int]

LOOK_EVERY = 0.25  # seconds; what has not changed from one look to the next is whole


class ConfigFiles:
    """Follows some files. Editors, deployments and symbolic links put others in their place.

    Until `follow` says that they have been read they have changed, if they are there.
    """

    def __init__(self, files: Iterable[str]) -> None:
        self._known: dict[str, Identity | None] = dict.fromkeys(files)
        self._before: dict[str, Identity | None] = {}

    def follow(self, files: Iterable[str]) -> None:
        """Follow these files from now on, as they are now."""
        self._known = _identities(files)
        self._before = dict(self._known)

    def follow_too(self, files: Iterable[str]) -> None:
        """Follow these files as well, as they are now."""
        new = _identities(set(files) - self._known.keys())
        self._known.update(new)
        self._before.update(new)

    def have_changed(self) -> bool:
        """Whether they are not what they were when they were last read, and are at rest."""
        now = _identities(self._known)
        at_rest, self._before = now == self._before, now
        return at_rest and now != self._known


def _identities(files: Iterable[str]) -> dict[str, Identity | None]:
    return {file: _identity(file) for file in files}


def _identity(file: str) -> Identity | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
