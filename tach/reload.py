"""`tach reload [PID]`: lets a run take up what has been changed in its configuration."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from tach import layout, runs
from tach.asking import Question
from tach.problems import escaped
from tach.sender.reloading import VERSION

ANSWER_WITHIN = 20.0  # seconds; a notifier that is replaced may first have to give up its receiver

RELOAD = Question(layout.RELOAD_REQUEST, layout.RELOAD_ANSWER, VERSION)


def main(arguments: list[str]) -> int:
    """Reload; 0 if it has been taken up, 1 if there is nobody to, 2 for a wrong file or command."""
    options = _parser().parse_args(arguments)
    places = runs.places()
    found = runs.of_process(runs.living(places), options.pid)
    if not found:
        return _fail(runs.none_found(options.pid, places))
    if len(found) > 1:
        pids = ", ".join(str(run.main_pid) for run in found)
        return _fail(f"several runs are going on: choose one by its PID, of {pids}", 2)
    run = found[0]
    answer = RELOAD.ask([run.directory], ANSWER_WITHIN)[run.directory]
    if answer is None:
        log = os.path.join(run.directory, layout.SENDER_LOG)
        return _fail(f"the sender of the run of process {run.main_pid} does not answer; see {log}")
    if options.json:
        print(json.dumps(answer, indent=1))
    else:
        _show(answer)
    return 2 if answer["errors"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tach reload",
        description="Let a run that goes on take up what has been changed in its configuration: "
        "targets, their metrics and notifiers, notifiers and their options, the interval. Its "
        "processes take up new, changed and removed targets at their next measured call or "
        "import; nothing is stopped, and no call is lost or counted twice. If there is any error "
        "in the file, nothing of it is taken up.",
        epilog="prefix, publisher_id, redact, spool, propagate and runtime stay as they were when "
        "the run began: what has been changed there is named. With reload: true in the file the "
        "run does all this by itself, soon after the file has changed; tach status tells of both. "
        "Exit status: 0 if the file has been taken up, 1 if there is no such run or its sender "
        "does not answer, 2 for errors in the file, which are shown, or a wrong command.",
    )
    parser.add_argument(
        "pid",
        metavar="PID",
        nargs="?",
        type=runs.pid,
        help="any process of the run; may be left out where there is only one run",
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    return parser


def _fail(message: str, status: int = 1) -> int:
    sys.stderr.write(f"tach: {message}\n")
    return status


def _show(answer: dict[str, Any]) -> None:
    for each in answer["errors"]:
        sys.stderr.write(f"{escaped(each)}\n")
    if answer["errors"]:
        sys.stderr.write("tach: not reloaded; the run goes on as it was\n")
        return
    said = [
        f"{len(answer[what])} {what} ({escaped(', '.join(answer[what]))})"
        for what in ("added", "changed", "removed")
        if answer[what]
    ]
    print(f"targets: {', '.join(said) or 'all as they were'}")
    for each in answer["needs_restart"]:
        print(f"needs a restart: {escaped(each)}")
