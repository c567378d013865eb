"""The command line: `tach CONFIG PROGRAM [ARG...]` and the sub-commands that stand in its place."""

from __future__ import annotations

import sys

from tach import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

USAGE = """\
usage: tach CONFIG PROGRAM [ARG...]     run a program and measure the functions that CONFIG names
       tach CONFIG -m MODULE [ARG...]
       tach CONFIG -c CODE [ARG...]
       tach check CONFIG                say whether CONFIG is right, and what it measures
       tach forward SPOOL               send the events that an earlier run has left
       tach metrics | notifiers         list what can be used in a CONFIG
       tach --help | --version
"""
DETAILS = """
The program is not changed and keeps its arguments, pid, terminal and exit status; everything
after PROGRAM is its own. A CONFIG with the name of a sub-command is written ./check.

A CONFIG to start with (the table is printed when the program ends):

    targets:
      orders.place: shop.orders:Basket.place
      db.query: shop.db:query

Environment: TACH_RUN_DIR  where runs keep their shared memory (default /dev/shm)
             TACH_DEBUG    say on stderr why a process could not be measured
"""


def main(arguments: list[str] | None = None) -> int:
    """Run tach; returns the exit status, unless the process becomes the program."""
    arguments = sys.argv[1:] if arguments is None else arguments
    first = arguments[0] if arguments else ""
    if first in SUBCOMMANDS:
        return SUBCOMMANDS[first](arguments[1:])
    if first in ("-h", "--help"):
        print(USAGE + DETAILS, end="")
        return 0
    if first in ("-V", "--version"):
        print(f"tach {__version__}")
        return 0
    if len(arguments) < 2 or first.startswith("-"):
        print(USAGE, end="", file=sys.stderr)
        return _refuse(_what_is_missing(first, arguments))
    from tach import compiled, launcher

    configuration = _loaded(compiled.load, first)
    return 2 if configuration is None else launcher.launch(configuration, arguments[1:])


def _what_is_missing(first: str, arguments: list[str]) -> str:
    if first.startswith("-"):
        return f"unknown option {first}"
    return f"no program to run with {first}" if arguments else "no CONFIG and no PROGRAM"


def _refuse(message: str) -> int:
    print(f"tach: {message}", file=sys.stderr)
    return 2


def _loaded(load: Callable[[str], T], path: str) -> T | None:
    """What `load` makes of the configuration; None if it is wrong, which has been said then."""
    try:
        return load(path)
    except Exception as error:
        from tach import config

        if not isinstance(error, config.ConfigErrors):
            raise
        print(error, file=sys.stderr)
        return None


def _check(arguments: list[str]) -> int:
    if len(arguments) != 1:
        return _refuse("check needs one CONFIG")
    from tach import check, config

    plan = _loaded(config.load, arguments[0])
    if plan is None:
        return 2
    check.show(plan)
    return 0


def _forward(arguments: list[str]) -> int:
    from tach import forward

    return forward.main(arguments)


def _list(group: str) -> Callable[[list[str]], int]:
    def show(arguments: list[str]) -> int:
        import importlib

        if arguments:
            return _refuse(f"{group} takes no argument")
        registry = importlib.import_module(f"tach.{group}")
        for name in registry.names():
            print(f"{name:12} {(registry.load(name).__doc__ or '').strip().splitlines()[0]}")
        return 0

    return show


SUBCOMMANDS: dict[str, Callable[[list[str]], int]] = {
    "check": _check,
    "forward": _forward,
    "metrics": _list("metrics"),
    "notifiers": _list("notifiers"),
}
