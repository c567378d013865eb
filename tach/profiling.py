"""`tach profile PROGRAM...`: measures the program's own functions, without a configuration."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tach import compiled, launcher, profile_targets
from tach.functions import advice_for, is_function_pattern
from tach.notifiers.profile import options_of
from tach.plan import NotifierPlan, Plan, TargetPlan

EPILOG = """\
Without --target: all functions of the program's own file and of what lies beside it; of a command
that was installed, its package, or, if an argument names a module in this directory as in
`gunicorn app:app`, `uvicorn shop.web:app` and `celery -A tasks worker`, what lies here.

  own     time in the function itself, without the measured functions that it called
  total   time from its begin to its end; of calls within each other that of the outermost
  running calls that have not ended yet, or that the end of their process has cut short
  waiting the part of it in which a coroutine or generator had paused

A program that crashes or is killed is shown too. Examples:

  tach profile script.py                            tach profile --html page.html -m package
  tach profile --target 'shop.*:*' gunicorn shop:app
  tach profile --histograms 3 --callers 'shop.db.*' script.py
  tach profile --save before script.py; ...; tach diff before after

`tach top PID` shows any run live, from another terminal.
"""
METRICS = ("timing", "count", "exceptions", "inflight", "own")


def main(arguments: list[str]) -> int:
    """Become the program, measured; returns an exit status only where that is not possible."""
    options = _parser().parse_args(arguments)
    program = _program(options)
    if not program:
        return _refuse("no PROGRAM to profile")
    for target in options.target:
        if not is_function_pattern(target):
            return _refuse(f"--target {target!r}: {advice_for(target)}")
    patterns = options.target or profile_targets.of_program(program)
    metrics = (*METRICS, *(("waiting",) if options.waiting else ()))
    return launcher.launch(compiled.compile_plan(_plan(patterns, metrics, options)), program)


def _plan(patterns: Sequence[str], metrics: tuple[str, ...], options: argparse.Namespace) -> Plan:
    return Plan(
        file="tach profile",
        prefix="",
        interval=1.0,
        exit_timeout=options.exit_timeout,
        notifiers=(NotifierPlan("profile", "profile", options_of(options), 0),),
        targets=tuple(
            TargetPlan(
                _name(each),
                *each.partition(":")[::2],
                metrics,
                ("profile",),
                (),
                0,
                exclude=tuple(options.exclude),
                rebind=True,  # or what decorators have taken, such as views, would not be seen
                options={"own": {"callers": True}},
            )
            for each in patterns
        ),
    )


def _name(pattern: str) -> str:
    """What the series of a pattern's functions begin with, so that they read as they are called."""
    module, _, qualname = pattern.partition(":")
    parts = [*module.split("."), *qualname.split(".")]
    known = []
    for part in parts:
        if "*" in part or "?" in part:
            break
        known.append(part)
    return ".".join(known) or "all"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tach profile",
        usage="tach profile [OPTIONS] PROGRAM [ARG...] | -m MODULE [ARG...] | -c CODE [ARG...]",
        description="Run a program, and show at its end where its time went.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="PATTERN",
        help="functions to measure, such as 'shop.*:*' and 'shop.orders:Basket.*'; repeatable",
    )
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="functions to leave out, by their name in module or class: '_*', 'Basket.get'; "
        "repeatable",
    )
    parser.add_argument(
        "--top", type=_above_0, default=40, metavar="N", help="rows of the table (40)"
    )
    parser.add_argument(
        "--live",
        action=argparse.BooleanOptionalAction,
        help="show the first rows while the program runs, at the foot of the terminal (the default "
        "where standard error is one, and standard output no pipe); --no-live for programs that "
        "use the whole screen",
    )
    parser.add_argument(
        "--histograms",
        type=_above_0,
        default=0,
        metavar="N",
        help="show of the first N functions how long their calls took",
    )
    parser.add_argument(
        "--callers",
        action="append",
        default=[],
        metavar="PATTERN",
        help="show who called these functions, such as 'shop.db.*'; repeatable",
    )
    parser.add_argument("--html", metavar="FILE", help="write a page with plots")
    parser.add_argument("--save", metavar="FILE", help="keep it for tach diff")
    parser.add_argument(
        "--suggest", metavar="FILE", help="write a configuration of what is worth measuring"
    )
    parser.add_argument(
        "--waiting",
        action="store_true",
        help="also how long calls in greenthreads (eventlet, gevent) waited; that of coroutines "
        "and generators is always shown",
    )
    parser.add_argument("--exit-timeout", type=float, default=5.0, help=argparse.SUPPRESS)
    for name in ("-m", "-c", "program"):
        parser.add_argument(name, nargs=argparse.REMAINDER, default=[], help=argparse.SUPPRESS)
    return parser


def _above_0(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _program(options: argparse.Namespace) -> list[str]:
    for name in ("m", "c"):
        if getattr(options, name):
            return [f"-{name}", *getattr(options, name)]
    return list(options.program)


def _refuse(message: str) -> int:
    sys.stderr.write(f"tach: {message}\n")
    return 2
