"""Where the events of a configuration wait, and what names their publisher."""

from __future__ import annotations

import contextlib
import os
from zlib import crc32

from tach import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SYSTEM = "/var/spool/tach"


def base(wanted: str) -> str:
    """The directory of all spools: `wanted`, else the system's if it is ours, else the user's."""
    if wanted:
        return os.path.abspath(os.path.expanduser(wanted))
    if os.geteuid() == 0 or os.access(SYSTEM, os.W_OK | os.X_OK, effective_ids=True):
        return SYSTEM
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "tach")


def of_configuration(wanted: str, file: str) -> str:
    """The directory of the configuration in `file`: no other one's events may be sent with its."""
    path = os.path.abspath(file)
    name = names.sanitise(os.path.basename(path).replace(".", "_"))
    return os.path.join(base(wanted), f"{name}-{crc32(path.encode()):08x}")


def of_notifier(directory: str, notifier: str) -> str:
    """The directory of one notifier's events within that of its configuration."""
    return os.path.join(directory, names.sanitise(notifier))


def complete(events: dict[str, Any], program: str) -> dict[str, Any]:
    """The compiled plan of events with its directories, which are made, and the publisher's name.

    Where a directory cannot be made, the processes of the run find that out and say so.
    """
    directory = of_configuration(events["base"], events["file"])
    spools = {name: of_notifier(directory, name) for name in events["notifiers"]}
    for each in spools.values():
        with contextlib.suppress(OSError):
            os.makedirs(each, mode=0o700, exist_ok=True)
    host = os.uname().nodename
    publisher = events["publisher_id"].replace("{host}", host).replace("{program}", program)
    return {**events, "spools": spools, "publisher_id": publisher}
