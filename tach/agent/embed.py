"""`tach.install()`: a program that starts its own measurement."""

from __future__ import annotations

import posix
import sys

from tach.agent import respawn, session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tach.agent.session import Session

_installed: list[Session] = []


def install(config: str) -> None:
    """Measure this process, and what it forks, as the configuration file says.

    Modules that are imported already are patched now, the others when they are imported. Raises
    ValueError with all the errors of the configuration, RuntimeError where tach is at work already
    or cannot start.
    """
    if _installed or session.active is not None:
        raise RuntimeError("tach measures this process already; call tach.uninstall() first")
    run_dir = _begin_run(config)
    if not run_dir:
        return  # no targets: off means off
    started = session.start(run_dir, at_start=False)
    if started is None:
        raise RuntimeError("tach could not start; TACH_DEBUG=1 says why")
    _installed.append(started)


def uninstall() -> None:
    """Undo `install`, or what the launcher did: every function is again what it was."""
    found = _installed.pop() if _installed else session.active
    if found is not None:
        found.stop()


def _begin_run(config: str) -> str:
    """Have another process read the configuration, make the run and leave its sender behind."""
    reader, writer = posix.pipe()
    start = respawn.START.format("tach.embedded")
    command = [sys.executable, "-c", start, config, str(posix.getpid()), *sys.orig_argv[1:]]
    try:
        child = posix.posix_spawn(
            respawn.interpreter(),
            command,
            posix.environ,
            file_actions=[(posix.POSIX_SPAWN_DUP2, writer, 1)],
        )
    finally:
        posix.close(writer)
    try:
        answer = b""
        while more := posix.read(reader, 65536):
            answer += more
    finally:
        posix.close(reader)
    _, status = posix.waitpid(child, 0)
    text = answer.decode("utf-8", "replace").rstrip("\n")
    if status != 0:
        raise ValueError(text or "tach could not be started")
    return text
