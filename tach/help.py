"""`tach SUBCOMMAND --help`: what the sub-command says of itself, and examples of its use."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence

# sub-command -> (command, what it does)
EXAMPLES = {
    "attach": (
        ("tach attach --dry-run 4711 tach.yaml", "could process 4711 be measured?"),
        ("tach attach 4711 tach.yaml", "tell the risks, ask, and measure it from now on"),
        ("tach attach --yes --timeout 5s 4711 tach.yaml", "unasked, for a script; it must be soon"),
    ),
    "check": (
        ("tach check tach.yaml", "is the file right?"),
        ("tach check tach.yaml gunicorn shop:app", "does each target mean a function there?"),
        ("tach check --json tach.yaml -m shop", "the same, for a pipeline"),
    ),
    "diff": (
        ("tach profile --save before.json shop.py", "measure, change the program, and again:"),
        ("tach profile --save after.json shop.py", ""),
        ("tach diff before.json after.json", "what has become faster, what slower?"),
    ),
    "forward": (
        ("tach forward --config tach.yaml --dry-run", "what waits?"),
        ("tach forward --config tach.yaml", "send it, with the notifiers of the file"),
        (
            "tach forward --to amqp://127.0.0.1// --exchange shop /var/spool/tach/shop/bus",
            "send one spool elsewhere",
        ),
    ),
    "metrics": (("tach metrics", "what can stand under metrics: in a target"),),
    "notifiers": (("tach notifiers", "what can be the type: of a notifier"),),
    "profile": (
        ("tach profile shop.py", "where does the time of a script go?"),
        ("tach profile --target 'shop.*:*' gunicorn shop:app", "of a service, in this package?"),
        ("tach profile --html page.html -m shop", "as a page with plots"),
        ("tach profile --suggest tach.yaml shop.py", "begin a CONFIG with what took time"),
    ),
    "reload": (
        ("tach reload", "the only run takes up what has been changed in its file"),
        ("tach reload 4711", "the run that process 4711 belongs to"),
        ("tach reload --json 4711", "what was taken up and what was not, for a script"),
    ),
    "status": (
        ("tach status", "all that runs under tach on this machine"),
        ("tach status 4711", "the run that process 4711 belongs to: targets, notifiers, processes"),
        ("tach status --json", "for a check of the monitoring"),
    ),
    "top": (
        ("tach top", "the only run"),
        ("tach top --sort p99 --every 5s 4711", "the slowest calls first, of that process's run"),
        ("tach top --times 1 4711", "look once: for a script"),
    ),
}


def show(name: str, run: Callable[[list[str]], int]) -> int:
    """Print the help of the sub-command `name`, which `run` runs; the exit status, 0."""
    with contextlib.suppress(SystemExit):
        run(["--help"])
    sys.stdout.write(f"\nexamples:\n{_lines(EXAMPLES.get(name, ()))}")
    return 0


def _lines(examples: Sequence[tuple[str, str]]) -> str:
    return "".join(f"  {command}{_remark(text)}\n" for command, text in examples)


def _remark(text: str) -> str:
    return f"\n      {text}" if text else ""
