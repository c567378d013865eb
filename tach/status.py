"""`tach status [PID]`: asks the senders of the living runs how they stand, and shows it.

With --json that is one object {"version": 1, "runs": [...]}, in `runs` one object for each run as
`tach.sender.status` describes it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from typing import Any

from tach import layout, rundir, runs, status_table
from tach.asking import Question
from tach.plan import Plan
from tach.sender.journal import JournalReader
from tach.sender.status import VERSION, without_sender

ANSWER_WITHIN = 3.0  # seconds

Status = dict[str, Any]

STATUS = Question(layout.STATUS_REQUEST, layout.STATUS_ANSWER, VERSION)


def main(arguments: list[str]) -> int:
    """Show the status; the exit status: 0 if all was said, 1 if not, 2 for a wrong command."""
    options = _parser().parse_args(arguments)
    places = runs.places()
    found = runs.of_process(runs.living(places), options.pid)
    answers = STATUS.ask([run.directory for run in found], ANSWER_WITHIN)
    # One that has ended since is as good as never seen.
    going_on = [each for each in found if answers[each.directory] or os.path.isdir(each.directory)]
    if not going_on:
        _say(runs.none_found(options.pid, places))
        return 1
    statuses = [answers[run.directory] or _without_answer(run) for run in going_on]
    known = [each for each in statuses if each is not None]
    if options.json:
        json.dump({"version": VERSION, "runs": known}, sys.stdout, indent=1)
        sys.stdout.write("\n")
    elif len(known) == 1:
        status_table.show_one(known[0])
    elif known:
        status_table.show_all(known)
    return int(not all(answers[run.directory] for run in going_on))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tach status",
        description="Say how the living runs of this user (for root: of all users) stand.",
        epilog="Exit status: 0 if all was said, 1 if there is no such run or its sender does not "
        "answer, 2 for a wrong command.",
    )
    parser.add_argument(
        "pid", metavar="PID", nargs="?", type=runs.pid, help="any process of the run to show"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    return parser


def _say(message: str) -> None:
    sys.stderr.write(f"tach: {message}\n")


def _without_answer(found: runs.FoundRun) -> Status | None:
    """What can be read where the sender does not answer, which is said; None for others' runs."""
    log = os.path.join(found.directory, layout.SENDER_LOG)
    _say(f"the sender of the run of process {found.main_pid} does not answer; see {log}")
    if found.uid != os.geteuid():
        return None  # only the text of a stranger's files can be trusted
    logging.getLogger("tach").addHandler(logging.NullHandler())
    try:
        run = rundir.read(found.directory)
        plan = Plan.from_json(run.plan)
        journal = JournalReader(found.directory, plan)
        journal.read()
        return without_sender(run, plan, journal)
    except (OSError, ValueError, TypeError) as error:  # of another version of tach, say
        _say(f"{found.directory} cannot be read: {type(error).__name__}: {error}")
        return None
