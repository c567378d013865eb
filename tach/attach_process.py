"""Looks at a process that is to be measured, from outside, and says what speaks against it."""

from __future__ import annotations

import os
import pwd
from typing import NamedTuple

OLDEST = (3, 10)
_CAP_SYS_PTRACE = 1 << 19
_YAMA = "/proc/sys/kernel/yama/ptrace_scope"
_NAMESPACES = {"mnt": "its own file system", "pid": "its own numbers of processes"}


class CannotAttach(Exception):
    """Why the process cannot be measured, and what to do instead."""


class Owner(NamedTuple):
    """As whom a process works."""

    uid: int
    gid: int
    groups: tuple[int, ...]

    @property
    def name(self) -> str:
        """The user's name, or its number where it has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)


class Process:
    """The process `pid`, as it was when it was looked at.

    Raises CannotAttach where it is none that could be looked at.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            status = _status(pid)
            self.arguments = _words(pid, "cmdline")
        except OSError:
            raise CannotAttach(f"there is no process {pid}") from None
        if int(status["Tgid"]) != pid:
            raise CannotAttach(
                f"{pid} is a thread of process {status['Tgid']}: give that one's PID"
            )
        self._uids = {int(each) for each in status["Uid"].split()}
        self.owner = Owner(
            int(status["Uid"].split()[1]),
            int(status["Gid"].split()[1]),
            tuple(map(int, status["Groups"].split())),
        )
        self._state = status["State"][0]
        self._tracer = int(status["TracerPid"])

    def check(self) -> None:
        """Raises CannotAttach where the kernel, or its state, keeps everybody out of it."""
        if self.pid == os.getpid():
            raise CannotAttach(f"{self.pid} is the process of this very command")
        if self._state in "ZX":
            raise CannotAttach(f"process {self.pid} has ended")
        if os.geteuid() != 0 and self._uids != {os.geteuid()}:
            raise CannotAttach(
                f"process {self.pid} belongs to {self.owner.name}: attach as that user, or as root"
            )
        self._check_place()
        self._check_rights()
        if self._state in "tT":
            raise CannotAttach(f"process {self.pid} is stopped: let it go on first (kill -CONT)")

    def executable(self) -> str:
        """The file that it executes. Raises CannotAttach where that is gone."""
        return self.file_of(os.readlink(f"/proc/{self.pid}/exe"))

    def file_of(self, path: str) -> str:
        """The path of a file that it has mapped. Raises CannotAttach where it is another now."""
        if path.endswith(" (deleted)") or not os.path.exists(path):
            name = path.removesuffix(" (deleted)")
            raise CannotAttach(
                f"process {self.pid} runs {name}, which has been replaced since (an upgrade?): "
                f"start it anew"
            )
        return path

    def mapped(self) -> dict[str, int]:
        """The files that it has mapped, and where the first part of each begins."""
        found: dict[str, int] = {}
        with open(f"/proc/{self.pid}/maps", encoding="utf-8", errors="surrogateescape") as maps:
            for line in maps:
                place, _, _, _, _, *path = line.rstrip("\n").split(None, 5)
                if path and path[0].startswith("/"):
                    found.setdefault(path[0], int(place.partition("-")[0], 16))
        return found

    def environment(self) -> dict[str, str]:
        """The environment that it began with."""
        words = _words(self.pid, "environ")
        return dict(each.partition("=")[::2] for each in words if "=" in each)

    def check_untraced(self) -> None:
        """Raises CannotAttach where another debugger is at it already."""
        if self._tracer:
            raise CannotAttach(
                f"process {self.pid} is traced by process {self._tracer} (a debugger, strace?), "
                f"and only one can do so: end that first"
            )

    def is_waiting(self) -> bool:
        """Whether its main thread waits for something just now."""
        try:
            return _status(self.pid)["State"][0] in "SD"
        except OSError:
            return False

    def _check_place(self) -> None:
        """Raises CannotAttach where it sees other files, or other PIDs, than this process."""
        for kind, what in _NAMESPACES.items():
            if self._differs(f"ns/{kind}"):
                raise CannotAttach(
                    f"process {self.pid} is in another container (it has {what}): run tach attach "
                    f"in there, such as by docker exec or nsenter, with the PID that it has there"
                )
        if self._differs("root"):
            raise CannotAttach(
                f"process {self.pid} has another root directory: run tach attach in there, by "
                f"chroot"
            )

    def _differs(self, what: str) -> bool:
        try:
            theirs, own = (os.stat(f"/proc/{each}/{what}") for each in (self.pid, "self"))
        except PermissionError:
            raise CannotAttach(self._no_rights()) from None
        except OSError:
            raise CannotAttach(f"process {self.pid} has ended") from None
        return (theirs.st_dev, theirs.st_ino) != (own.st_dev, own.st_ino)

    def _check_rights(self) -> None:
        """Raises CannotAttach where it may not be traced, by the rule of the kernel for that."""
        try:
            os.close(os.open(f"/proc/{self.pid}/mem", os.O_RDONLY | os.O_CLOEXEC))
        except PermissionError:
            raise CannotAttach(self._no_rights()) from None
        except OSError:
            raise CannotAttach(f"process {self.pid} has ended") from None

    def _no_rights(self) -> str:
        what = f"the kernel lets nobody of your rights into process {self.pid}"
        scope = _yama()
        if scope == "3":
            return f"{what}: {_YAMA} is 3, which forbids it to all until the next boot"
        if _has_capability():
            return f"{what}, nor root: a security module or a container's rules forbid it"
        if scope in ("1", "2"):
            return f"{what}: {_YAMA} is {scope}, so attach as root (sudo tach attach ...)"
        return f"{what}: it has given up or taken rights since it began, so attach as root"


def _status(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.partition(":") for line in file]
    return {name: value.strip() for name, _, value in lines}


def _words(pid: int, name: str) -> list[str]:
    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="surrogateescape") as file:
        return [each for each in file.read().split("\0") if each]


def _yama() -> str:
    try:
        with open(_YAMA) as file:
            return file.read().strip()
    except OSError:
        return ""


def _has_capability() -> bool:
    return bool(int(_status(os.getpid())["CapEff"], 16) & _CAP_SYS_PTRACE)
