"""The command line: `tach CONFIG PROGRAM [ARG...]` and the sub-commands that stand in its place."""

from __future__ import annotations

import os
import sys

from tach import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

USAGE = """\
usage: tach CONFIG PROGRAM [ARG...]     run a program and measure the functions that CONFIG names
       tach CONFIG -m MODULE [ARG...]
       tach CONFIG -c CODE [ARG...]
       tach check CONFIG [PROGRAM...]   say whether CONFIG is right, and what it measures
       tach status [PID] [--json]       say how the runs of this machine stand at this moment
       tach reload [PID]                let a run take up what was changed in its CONFIG
       tach attach PID CONFIG           measure a program that runs already
       tach top [PID]                   show a run's functions live
       tach profile PROGRAM...          measure all functions of a program, and show where time goes
       tach diff A B                    compare two profiles
       tach forward SPOOL               send the events that an earlier run has left
       tach metrics | notifiers         list what can be used in a CONFIG
       tach --completion SHELL | --schema | --help | --version
"""
DETAILS = """
The program is not changed and keeps its arguments, pid, terminal and exit status; everything
after PROGRAM is its own. A CONFIG with the name of a sub-command is written ./check.

A CONFIG to start with (the table is printed when the program ends):

    targets:
      orders.place: shop.orders:Basket.place
      db.query: shop.db:query

With --help behind it, each sub-command shows examples. For an editor, `tach --schema` prints the
JSON Schema of a CONFIG; for a shell, `eval "$(tach --completion bash)"` completes command lines.

Environment: TACH_RUN_DIR  where runs keep their shared memory (default /dev/shm)
             TACH_DEBUG    say on stderr why a process could not be measured
"""


def main(arguments: list[str] | None = None) -> int:
    """Run tach; returns the exit status, unless the process becomes the program."""
    try:
        status = _run(sys.argv[1:] if arguments is None else arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + 2
    except BrokenPipeError:  # who reads it has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what Python has yet to write
        return 128 + 13
    return status


def _run(arguments: list[str]) -> int:
    first = arguments[0] if arguments else ""
    if sys.stdout is None and (first in SUBCOMMANDS or first in OPTIONS):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
    if first in SUBCOMMANDS:
        return _subcommand(first, arguments[1:])
    if first in OPTIONS:
        return OPTIONS[first](arguments[1:])
    if len(arguments) < 2 or first.startswith("-"):
        print(USAGE, end="", file=sys.stderr)
        print(_nearest(first), end="", file=sys.stderr)
        return _refuse(_what_is_missing(first, arguments))
    from tach import compiled, launcher

    try:
        configuration = compiled.load(first)
    except Exception as error:
        from tach import config

        if not isinstance(error, config.ConfigErrors):
            raise
        print(error, file=sys.stderr)
        print(_nearest(first), end="", file=sys.stderr)
        return 2
    return launcher.launch(configuration, arguments[1:])


def _subcommand(name: str, arguments: list[str]) -> int:
    if arguments in (["-h"], ["--help"]):
        from tach import help

        return help.show(name, SUBCOMMANDS[name])
    return SUBCOMMANDS[name](arguments)


def _help(_arguments: list[str]) -> int:
    print(USAGE + DETAILS, end="")
    return 0


def _version(_arguments: list[str]) -> int:
    print(f"tach {__version__}")
    return 0


def _schema(_arguments: list[str]) -> int:
    from importlib.resources import files

    print(files("tach").joinpath("tach.schema.json").read_text(encoding="utf-8"), end="")
    return 0


def _completion(arguments: list[str]) -> int:
    from tach import completion

    return completion.main(arguments, SUBCOMMANDS)


def _what_is_missing(first: str, arguments: list[str]) -> str:
    if first.startswith("-"):
        return f"unknown option {first}"
    return f"no program to run with {first}" if arguments else "no CONFIG and no PROGRAM"


def _nearest(first: str) -> str:
    """A hint where what should be a configuration looks like a sub-command."""
    import difflib

    found = [] if os.path.exists(first) else difflib.get_close_matches(first, SUBCOMMANDS, 1)
    return f"tach: did you mean the sub-command {found[0]!r}?\n" if found else ""


def _refuse(message: str) -> int:
    print(f"tach: {message}", file=sys.stderr)
    return 2


def _check(arguments: list[str]) -> int:
    from tach import check

    return check.main(arguments)


def _forward(arguments: list[str]) -> int:
    from tach import forward

    return forward.main(arguments)


def _status(arguments: list[str]) -> int:
    from tach import status

    return status.main(arguments)


def _reload(arguments: list[str]) -> int:
    from tach import reload

    return reload.main(arguments)


def _attach(arguments: list[str]) -> int:
    from tach import attach

    return attach.main(arguments)


def _top(arguments: list[str]) -> int:
    from tach import top

    return top.main(arguments)


def _profile(arguments: list[str]) -> int:
    from tach import profiling

    return profiling.main(arguments)


def _diff(arguments: list[str]) -> int:
    from tach import profile_diff

    return profile_diff.main(arguments)


def _list(group: str) -> Callable[[list[str]], int]:
    def show(arguments: list[str]) -> int:
        import importlib

        if arguments == ["--help"]:
            print(f"usage: tach {group}\n\nList the types of {group} that a CONFIG can use.")
            return 0
        if arguments:
            return _refuse(f"{group} takes no argument")
        registry = importlib.import_module(f"tach.{group}")
        for name in registry.names():
            print(f"{name:12} {(registry.load(name).__doc__ or '').strip().splitlines()[0]}")
        return 0

    return show


SUBCOMMANDS: dict[str, Callable[[list[str]], int]] = {
    "attach": _attach,
    "check": _check,
    "diff": _diff,
    "forward": _forward,
    "metrics": _list("metrics"),
    "notifiers": _list("notifiers"),
    "profile": _profile,
    "reload": _reload,
    "status": _status,
    "top": _top,
}
OPTIONS: dict[str, Callable[[list[str]], int]] = {
    "-h": _help,
    "--help": _help,
    "-V": _version,
    "--version": _version,
    "--schema": _schema,
    "--completion": _completion,
}
