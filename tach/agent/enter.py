"""Brings tach into a program that was not started by it.

`tach attach` has the program execute the text of this file, followed by a call of `enter`: tach
cannot be imported yet, and is not taken from where the program's own modules are.
"""

from __future__ import annotations

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WANTED = "attach.wanted"  # whoever removes it decides whether the program is measured
ANSWER = "attach.answer"


def enter(run_dir: str, package: str, wrapt: str, python: str, depth: int) -> None:
    """Measure this process for the run in `run_dir`, if that is wanted still; raises nothing.

    `package` is the directory of tach, `wrapt` where that can be found if the program has none,
    `python` the interpreter that another sender would be started with. Between this and the
    program's own frame there are `depth` others.
    """
    from _signal import (  # type: ignore[import-not-found]
        SIG_BLOCK,
        SIG_SETMASK,
        pthread_sigmask,
        valid_signals,
    )

    # Whoever executes this takes no exceptions: handlers of the program's have to wait.
    mask = pthread_sigmask(SIG_BLOCK, valid_signals())
    try:
        posix.unlink(f"{run_dir}/{WANTED}")
        _answer(run_dir, _enter(run_dir, package, wrapt, python))
    except OSError:
        pass  # it has been withdrawn
    except BaseException as error:  # noqa: BLE001 - of a handler that another thread has let in
        _raise_there(depth + 2, error)
        _answer(run_dir, "a signal came in between: try again")
    try:
        pthread_sigmask(SIG_SETMASK, mask)
    except BaseException as error:  # noqa: BLE001 - of a handler that has waited
        _raise_there(depth + 2, error)


def _enter(run_dir: str, package: str, wrapt: str, python: str) -> str:
    """Why this process cannot be measured; nothing if it is, from now on."""
    try:
        _load(package)
        from tach.agent import attached

        return attached.start(run_dir, wrapt, python)
    except Exception as error:  # noqa: BLE001 - it is no trouble of the program's
        return f"{type(error).__name__}: {error}"


def _raise_there(depth: int, error: BaseException) -> None:
    """Raise the error at the next line of the program, as if it had come up there."""
    frame = sys._getframe(depth)

    def raise_it(_frame: object, _event: str, _argument: object) -> None:
        raise error  # which also ends the tracing

    frame.f_trace = raise_it
    sys.settrace(lambda _frame, _event, _argument: None)


def _load(package: str) -> None:
    """Import the package tach from its directory, past whatever else has that name."""
    if "tach" in sys.modules:
        return
    external: Any = sys.modules["_frozen_importlib_external"]
    bootstrap: Any = sys.modules["_frozen_importlib"]
    spec = external.spec_from_file_location(
        "tach", f"{package}/__init__.py", submodule_search_locations=[package]
    )
    bootstrap._load(spec)


def _answer(run_dir: str, text: str) -> None:
    line = " ".join(text.split()).encode("utf-8", "replace") + b"\n"
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
    file = posix.open(f"{run_dir}/{ANSWER}", flags, 0o600)
    try:
        posix.write(file, line)
    finally:
        posix.close(file)
