"""Targets that the interpreter, and what tach itself is made of, lean on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reports import Report

PROGRAM = """\
import copy, gc, importlib, json, logging, os, signal, socket, sys, threading
import work

N = 200
logging.basicConfig(stream=open(os.devnull, "w"))
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
signal.signal(signal.SIGUSR1, work.signalled)
gc.callbacks.append(work.collected)
gc.disable()
for number in range(N):
    json.dumps({"number": number})
    logging.getLogger("shop").warning("number %d", number)
    sender.sendto(b"x", receiver.getsockname())
    importlib.import_module("json")
    copy.deepcopy(number)
    work.Dying()
    os.kill(os.getpid(), signal.SIGUSR1)
threads = [threading.Thread(target=work.threaded) for _ in range(20)]
for thread in threads: thread.start()
for thread in threads: thread.join()
before = work.collections
for _ in range(10): gc.collect()
print(work.collections - before, len(work.seen))
"""
WORK = """\
import gc, json, time
seen = []
collections = 0
class Dying:
    def __del__(self): deleted()
def deleted(): seen.append("deleted")
def collected(phase, info):
    global collections
    collections += 1
    noted()
def noted(): json.dumps(1)
def signalled(number, frame): seen.append("signalled")
def threaded():
    for _ in range(50): json.dumps([1])
"""
FUNCTIONS = {
    "dumps": "json:dumps",
    "handle": "logging:Logger.handle",
    "start": "threading:Thread.start",
    "sendto": "socket:socket.sendto",
    "import": "importlib:import_module",
    "deepcopy": "copy:deepcopy",
    "deleted": "work:deleted",
    "collected": "work:collected",
    "noted": "work:noted",
    "signalled": "work:signalled",
    "threaded": "work:threaded",
}
CALLS = {
    "dumps": 200 + 20 * 50 + 20,
    "handle": 200,
    "start": 20,
    "sendto": 200,
    "import": 200,
    "deepcopy": 200,
    "deleted": 200,
    "collected": 20,
    "noted": 20,
    "signalled": 200,
    "threaded": 20,
}
PLAIN = ["timing", "count", "exceptions"]
MORE = [*PLAIN, "inflight", "cpu", "running", "own"]


@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize(
    ("metrics", "events"), [(PLAIN, False), (MORE, False), (PLAIN, True)], ids=str
)
def test_right_numbers_no_recursion_no_deadlock(
    metrics: list[str],
    events: bool,
    pure: str,
    tmp_path: Path,
    tach_run_dir: Path,
    run_tach: Callable[..., Any],
) -> None:
    """What records, signals, collections and threads themselves need is measured exactly."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "work.py").write_text(WORK)
    report = Report(tmp_path / "report", tach_run_dir)
    config = report.config(
        **{
            name: {"function": function, "metrics": [*metrics, *(["events"] if events else [])]}
            for name, function in FUNCTIONS.items()
        }
    )
    config["notifiers"]["log"] = {"type": "log", "file": str(tmp_path / "events.log")}
    config["spool"] = {"directory": str(tmp_path / "spool")}

    ended = run_tach(config, "program.py", env={"TACH_PURE": pure})

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "20 400\n", "")
    calls = report.calls()
    # A collection, and so its callback, may come at any other time too: at the interpreter's end.
    more = calls["collected"] - CALLS["collected"]
    assert 0 <= more <= 20
    for name in ("collected", "noted", "dumps"):
        calls[name] -= more
    assert calls == CALLS
    if events:
        log = (tmp_path / "events.log").read_text()
        assert log.count("event signalled.end ") == CALLS["signalled"]
        assert log.count("event dumps.start ") == log.count("event dumps.end ")
