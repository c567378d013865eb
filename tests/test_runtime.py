"""What is told of processes as a whole, and of hubs that are blocked."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import wait_for

RUNTIME = """
runtime: {every: 50ms, block_after: 1s}
notifiers: {lines: {type: console, format: json, file: report, every: 500ms}}
"""
EVENTLET = """
import warnings; warnings.simplefilter("ignore")
import eventlet; eventlet.monkey_patch()
from eventlet import patcher, sleep, spawn
hog = patcher.original("time").sleep
"""
GEVENT = """
import gevent.monkey; gevent.monkey.patch_all()
from gevent import sleep, spawn
hog = gevent.monkey.get_original("time", "sleep")
"""
GREEN = {
    name: source
    + """
waiting = [spawn(sleep, 60) for _ in range(5)]
sleep(0.5)
hog({hog})
sleep(1)
print("done")
"""
    for name, source in (("eventlet", EVENTLET), ("gevent", GEVENT))
}
PROGRAMS = {
    **GREEN,
    "asyncio": """
import asyncio, time
async def main():
    tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(5)]
    await asyncio.sleep(0.5)
    time.sleep({hog})
    await asyncio.sleep(1)
    print("done")
asyncio.run(main())
""",
}
LAG = {"eventlet": "hub_lag", "gevent": "hub_lag", "asyncio": "loop_lag"}
Spawn = Callable[..., subprocess.Popen[str]]


def require(name: str) -> None:
    """Skip where it is not installed. Not by importing it: it would warn at the tests' forks."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")


def lines(directory: Path) -> list[dict[str, Any]]:
    """The reports on the runtime up to now."""
    file = directory / "report"
    text = file.read_text() if file.exists() else ""
    found = [json.loads(line) for line in text.splitlines()]
    return [line for line in found if line.get("series") == "runtime"]


@pytest.mark.parametrize("runtime", PROGRAMS)
def test_lag_and_what_there_is_to_do(
    runtime: str, tmp_path: Path, run_tach: Callable[..., Any]
) -> None:
    """A hog of 300 ms shows as a lag of that; greenthreads or tasks are counted."""
    require(runtime)
    (tmp_path / "prog.py").write_text(PROGRAMS[runtime].replace("{hog}", "0.3"))

    ended = run_tach(RUNTIME, sys.executable, "prog.py")

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
    last = lines(tmp_path)[-1]
    assert 200 <= last[LAG[runtime]]["max"] <= 400
    assert last[LAG[runtime]]["count"] >= 10
    most = {
        name: max(line[name] for line in lines(tmp_path)[:-1]) for name in last if name in GAUGES
    }
    assert most["tasks" if runtime == "asyncio" else "greenthreads"] >= 5
    assert most["threads"] >= 1
    assert most["rss"] > 5e6
    assert most["open_files"] >= 3


GAUGES = ("tasks", "greenthreads", "threads", "rss", "open_files")


@pytest.mark.parametrize("runtime", PROGRAMS)
def test_a_blocked_hub_is_told_of_while_it_lasts(
    runtime: str, tmp_path: Path, spawn_tach: Spawn
) -> None:
    """From within 2 s of its beginning to the interval after its end; eventlet's with a stack."""
    require(runtime)
    text = PROGRAMS[runtime].replace("{hog}", "3")
    (tmp_path / "prog.py").write_text(text.replace("hog(3)", "print('now', flush=True); hog(3)"))
    if runtime == "asyncio":
        text = text.replace("    time.sleep(3)", "    print('now', flush=True); time.sleep(3)")
        (tmp_path / "prog.py").write_text(text)

    program = spawn_tach(RUNTIME, sys.executable, "prog.py")
    assert program.stdout is not None
    assert program.stdout.readline() == "now\n"
    began = time.monotonic()
    wait_for(lambda: any(line.get("blocked") for line in lines(tmp_path)), message="it is told")
    assert time.monotonic() - began < 3  # 2 s, and what a shared machine may add
    assert program.wait(20) == 0
    wait_for(lambda: not list((tmp_path / "run").iterdir()), message="the end of the run")

    assert not lines(tmp_path)[-1].get("blocked")
    report = (tmp_path / "report").read_text()
    assert f"its {runtime} hub was blocked" in report
    if runtime == "eventlet":
        assert "prog.py:" in report


def test_a_hub_in_every_forked_worker(tmp_path: Path, run_tach: Callable[..., Any]) -> None:
    """Forked processes have hearts of their own, and all that beat add up."""
    require("eventlet")
    fork = "import os\nchildren = [os.fork() for _ in range(2)]\n"
    text = EVENTLET + "sleep(0.2)\n" + fork + "sleep(1.5)\nif all(children): os.wait(); os.wait()\n"
    (tmp_path / "prog.py").write_text(text)

    ended = run_tach(RUNTIME, sys.executable, "prog.py")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert max(line["threads"] for line in lines(tmp_path)) == 4


def test_nothing_without_being_asked(tmp_path: Path, run_tach: Callable[..., Any]) -> None:
    """Without `runtime:` no hub, loop or collector is touched."""
    (tmp_path / "prog.py").write_text(
        "import asyncio.base_events as module, gc\n"
        "print(module.BaseEventLoop.run_forever.__code__.co_filename == module.__file__)\n"
        "print(gc.callbacks)\n"
        "def f(): pass\n"
    )

    ended = run_tach("targets: {f: 'prog:f'}\n", sys.executable, "prog.py")

    assert ended.stdout == "True\n[]\n"


def test_uninstall_takes_it_back(tmp_path: Path, run_tach: Callable[..., Any]) -> None:
    """After tach.uninstall() loops and collector are what they were."""
    (tmp_path / "tach.yaml").write_text(RUNTIME)
    (tmp_path / "prog.py").write_text(
        "import asyncio.base_events as module, gc, tach\n"
        "before = module.BaseEventLoop.run_forever\n"
        "tach.install('tach.yaml')\n"
        "assert module.BaseEventLoop.run_forever is not before and gc.callbacks\n"
        "tach.uninstall()\n"
        "print(module.BaseEventLoop.run_forever is before, gc.callbacks)\n"
    )

    ended = subprocess.run(
        [sys.executable, "prog.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert (ended.stdout, ended.stderr) == ("True []\n", "")


def test_a_collection_imports_nothing(tmp_path: Path, run_tach: Callable[..., Any]) -> None:
    """It may come in the middle of an import, which before Python 3.12 bears no other one then."""
    code = """
import gc, sys
before = {*sys.modules}
gc.collect()
print({*sys.modules} - before)
"""

    ended = run_tach(RUNTIME, sys.executable, "-c", code)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "set()\n", "")
