from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from processes import marked, wait_for

Run = Callable[..., subprocess.CompletedProcess[str]]
Spawn = Callable[..., subprocess.Popen[str]]
MANY = 400  # functions of the program that fills carbon


@pytest.fixture
def carbon() -> Iterator[Any]:
    """A carbon-cache with steps of one second."""
    with running_carbon() as daemon:
        yield daemon


@contextmanager
def running_carbon(**options: Any) -> Iterator[Any]:
    """A carbon-cache; skips the test where there is none."""
    from carbon_daemon import CarbonDaemon, require_carbon

    require_carbon()
    with CarbonDaemon(**options) as daemon:
        yield daemon


def config(carbon: Any, targets: dict[str, str], **options: Any) -> dict[str, Any]:
    """Everything of the targets to carbon, in its own steps."""
    notifier = {"type": "graphite", "port": carbon.port, "interval": carbon.step, **options}
    return {"interval": "100ms", "notifiers": {"carbon": notifier}, "targets": targets}


def total(carbon: Any, name: str) -> float:
    """The sum of what it has stored of a series."""
    return sum(carbon.stored(name).values())


def test_a_hundred_calls_in_one_step(run_tach: Run, programs: Path) -> None:
    """What whisper holds of one step is what the program did in it, percentiles within 1 %."""
    with running_carbon(step=2) as carbon:
        ended = run_tach(
            config(carbon, {"work": "timed:work"}),
            sys.executable,
            programs / "one_step.py",
            2,
            env={"TACH_PURE": "1"},  # a clock in Python can be replaced
        )
        step = int(ended.stdout)
        exact = {
            "calls.count": 100,
            "duration.count": 100,
            "duration.max": 100,
            "duration.mean": 50.5,
            "duration.min": 1,
            "duration.rate": 50,
            "duration.sum": 5050,
            "errors.total.count": 0,
        }

        def stored() -> dict[str, float | None]:
            names = [*exact, "duration.p90"]
            return {name: carbon.stored(f"work.{name}").get(step) for name in names}

        wait_for(lambda: None not in stored().values())
        found = stored()
        assert found.pop("duration.p90") == pytest.approx(90, rel=0.01)
        assert found == pytest.approx(exact, rel=1e-12)
        assert total(carbon, "work.calls.count") == 100


def test_carbon_away_for_three_steps(spawn_tach: Spawn, carbon: Any, programs: Path) -> None:
    """Steps in which carbon was away are filled in later, with their own values and stamps."""
    began = int(time.time())
    program = spawn_tach(
        config(carbon, {"f": "targets:function"}),
        sys.executable,
        programs / "steady.py",
        80,
        10,
        0.1,
    )
    wait_for(lambda: len(carbon.stored("f.calls.count")) >= 2, 15)
    carbon.stop()
    stopped = int(time.time())
    time.sleep(3 * carbon.step)  # so long it is away, that is the case
    carbon.start()
    started = int(time.time())

    assert program.wait(60) == 0
    wait_for(lambda: total(carbon, "f.calls.count") == 800, 20, "all calls are stored")
    stored = carbon.stored("f.calls.count")
    assert set(range(stopped, started)) <= set(stored)
    assert began <= min(stored) <= max(stored) <= time.time()
    assert max(stored.values()) < 150  # 100 a second at most, so none is in another's step


def test_processes_apart(run_tach: Run, carbon: Any, programs: Path) -> None:
    """With `per: process` each worker has a series of its own, numbered, not by its pid."""
    code = (
        "import os, sys, time, targets\n"
        "for number in range(3):\n"
        "    if not os.fork():\n"
        "        for _ in range(10 * (number + 1)): targets.function()\n"
        "        time.sleep(1)\n"
        "        os._exit(0)\n"
        "for _ in range(3): os.wait()\n"
    )

    run_tach(config(carbon, {"f": "targets:function"}, per="process"), "-c", code, cwd=programs)

    def of_each() -> list[str]:
        names = carbon.names()
        return [name for name in names if name.startswith("f.") and name.endswith(".calls.count")]

    wait_for(lambda: sum(total(carbon, name) for name in of_each()) == 60)
    called = {name: total(carbon, name) for name in of_each()}
    assert sorted(filter(None, called.values())) == [10, 20, 30]
    assert all(name.split(".")[1] in {f"process-{i}" for i in range(4)} for name in called)


def test_a_carbon_that_stops_reading(spawn_tach: Spawn, tmp_path: Path, tach_run_dir: Path) -> None:
    """Carbon's flow control slows no call down; what is dropped is known, the memory is bounded."""
    functions = "".join(f"def f{i}(): pass\n" for i in range(MANY))
    (tmp_path / "many.py").write_text(functions + CALL_ALL)
    targets = {f"{'x' * 100}.f{i}": f"many:f{i}" for i in range(MANY)}
    command = ("-c", "import many; many.call_all()")

    def dropped() -> bool:
        logs = tach_run_dir.glob("*/sender.log")
        return any("queue_full" in log.read_text() for log in logs)

    with running_carbon() as carbon:
        free = spawn_tach(config(carbon, targets, timeout=0.3), *command)
        usual = rounds(free, until=lambda: len(carbon.names()) >= MANY)
        free.terminate()
        free.wait(20)
    with running_carbon(cache_size="100", updates="1") as carbon:
        program = spawn_tach(config(carbon, targets, timeout=0.3), *command)
        held = rounds(program, until=dropped)
        memory = [resident(tach_run_dir)]
        more = time.monotonic() + 4
        held += rounds(program, until=lambda: time.monotonic() > more)
        memory.append(resident(tach_run_dir))
        assert "MetricCache is full" in carbon.log

    assert min(held) < 1.3 * min(usual)  # other rounds wait for the machine
    assert max(memory) < 120_000


CALL_ALL = """
import time

def call_all():
    functions = [value for name, value in globals().items() if name[0] == "f"]
    while True:
        began = time.perf_counter()
        for _ in range(50):
            for function in functions:
                function()
        print(time.perf_counter() - began, flush=True)
        time.sleep(0.1)
"""


def rounds(program: subprocess.Popen[str], until: Callable[[], bool]) -> list[float]:
    """How long each of the program's rounds takes that it prints, until the fact holds."""
    times: list[float] = []
    deadline = time.monotonic() + 45
    assert program.stdout is not None
    while not until():
        times.append(float(program.stdout.readline()))
        assert time.monotonic() < deadline, "not within 45 s"
    return times


def resident(run_dir: Path) -> int:
    """The KiB of memory that the greater process of the sender holds."""
    sizes = []
    for process in marked(f"TACH_RUN_DIR={run_dir}"):
        with suppress(OSError):
            directory = Path(f"/proc/{process.pid}")
            if (directory / "comm").read_text() == "tach-sender\n":
                resident = (directory / "status").read_text().split("VmRSS:")[1].split()[0]
                sizes.append(int(resident))
    return max(sizes)
