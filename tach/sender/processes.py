"""Which processes of the run live, and when one of them dies."""

from __future__ import annotations

import os
import select

from tach.sender.slots import ProcessKey


class Processes:
    """The living processes of a run, by what their journal says and by what the kernel says."""

    def __init__(self, run_dir: str) -> None:
        self._run_dir = run_dir
        self._living: dict[ProcessKey, int] = {}
        self.poll = select.poll()

    def add(self, pid: int, start_ticks: int) -> None:
        """Take up a process, unless it is dead already."""
        key = (pid, start_ticks)
        if key in self._living:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except (ProcessLookupError, OverflowError):
            return
        except OSError:
            descriptor = -1  # an old kernel: asked for by number at every turn
        if not lives(key):
            if descriptor >= 0:
                os.close(descriptor)
            return
        self._living[key] = descriptor
        if descriptor >= 0:
            self.poll.register(descriptor, select.POLLIN)

    def alive(self, key: ProcessKey) -> bool:
        """Whether the process lived at the last `remove_dead`."""
        return key in self._living

    def living(self) -> list[ProcessKey]:
        """The processes that lived at the last `remove_dead`."""
        return list(self._living)

    def any_but(self, pid: int) -> bool:
        """Whether any other process than this one lives."""
        return any(key[0] != pid for key in self._living)

    def remove_dead(self) -> None:
        """Forget the processes that have ended."""
        ready = {descriptor for descriptor, _ in self.poll.poll(0)}
        for key, descriptor in list(self._living.items()):
            if descriptor in ready or (descriptor < 0 and not lives(key)):
                del self._living[key]
                if descriptor >= 0:
                    self.poll.unregister(descriptor)
                    os.close(descriptor)

    def find_unregistered(self) -> None:
        """Take up processes of the run that never said so (forked in C, or by a shell between).

        Asks every process of the system: for when nobody else is left.
        """
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid() and self._belongs(entry):
                pid = int(entry)
                self.add(pid, start_ticks_of(pid))

    def _belongs(self, pid: str) -> bool:
        try:
            if not os.path.basename(os.readlink(f"/proc/{pid}/exe")).startswith("python"):
                return False
            with open(f"/proc/{pid}/environ", "rb") as file:
                return f"{self._run_dir}/".encode() in file.read()
        except OSError:
            return False


def lives(key: ProcessKey) -> bool:
    """Whether that process is there; of one that did not know when it started, any of that pid."""
    pid, start_ticks = key
    found = start_ticks_of(pid)
    return found != 0 and start_ticks in (0, found)


def start_ticks_of(pid: int) -> int:
    """When the process started, in kernel ticks since boot; 0 where there is no such one alive."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return 0 if fields[0] in b"ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return 0
