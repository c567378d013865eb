"""The command line: `tach CONFIG PROGRAM [ARG...]` and the sub-commands that stand in its place."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tach import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from tach.plan import Plan

USAGE = """\
usage: tach CONFIG PROGRAM [ARG...]     run a program and measure the functions that CONFIG names
       tach CONFIG -m MODULE [ARG...]
       tach CONFIG -c CODE [ARG...]
       tach check CONFIG                say whether CONFIG is right, and what it measures
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
    plan = _load(first)
    if plan is None:
        return 2
    from tach import launcher

    return launcher.launch(plan, arguments[1:])


def _what_is_missing(first: str, arguments: list[str]) -> str:
    if first.startswith("-"):
        return f"unknown option {first}"
    return f"no program to run with {first}" if arguments else "no CONFIG and no PROGRAM"


def _refuse(message: str) -> int:
    print(f"tach: {message}", file=sys.stderr)
    return 2


def _load(path: str) -> Plan | None:
    from tach import config

    try:
        return config.load(path)
    except config.ConfigErrors as errors:
        print(errors, file=sys.stderr)
        return None


def _check(arguments: list[str]) -> int:
    if len(arguments) != 1:
        return _refuse("check needs one CONFIG")
    plan = _load(arguments[0])
    if plan is None:
        return 2
    from tach import check

    check.show(plan)
    return 0


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
    "metrics": _list("metrics"),
    "notifiers": _list("notifiers"),
}
