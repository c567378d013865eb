"""A Flask application under gunicorn: each request is counted, whatever happens to the workers."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from processes import marked, wait_for

HOST = "127.0.0.1"
AT_A_TIME = 8
TARGET = "stock.take"

Start = Callable[..., "Server"]


class Server:
    """gunicorn under tach; `pid` is its master's."""

    def __init__(self, process: subprocess.Popen[str], log: Path, run_dir: Path) -> None:
        self.pid = process.pid
        self._process = process
        self._log = log
        self._run_dir = run_dir
        self.port = int(wait_for(self._listening, 30)[1])
        wait_for(lambda: len(self.workers()) == 2, 30, "two workers")

    def _listening(self) -> re.Match[str] | None:
        assert self._process.poll() is None, self._process.communicate()
        text = self._log.read_text() if self._log.exists() else ""
        return re.search(rf"Listening at: http://{HOST}:(\d+)", text)

    def workers(self) -> set[int]:
        """The processes that the master has started and that live."""
        processes = marked(f"TACH_RUN_DIR={self._run_dir}")
        return {process.pid for process in processes if process.parent == self.pid}

    def ask(self, numbers: range) -> list[int | None]:
        """The status of each `GET /items/NUMBER`, some at a time; None where there was none."""
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            return list(pool.map(self._ask, numbers))

    def _ask(self, number: int) -> int | None:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            connection.request("GET", f"/items/{number}")
            return connection.getresponse().status
        except (ConnectionError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def replace_workers(self, stop: Callable[[], None]) -> None:
        """Do `stop` and wait until other workers have taken the place of the present ones."""
        old = self.workers()
        stop()
        wait_for(lambda: len(new := self.workers()) == 2 and not new & old, 30, "new workers")

    def reload(self) -> None:
        """Have the master replace its workers gracefully."""
        self.replace_workers(lambda: os.kill(self.pid, signal.SIGHUP))

    def kill_workers(self) -> None:
        """Kill all workers without a warning."""
        self.replace_workers(lambda: kill(self.workers()))

    def end(self) -> None:
        """Stop it as a service manager does, and wait until all it did has been sent."""
        self._process.terminate()
        assert self._process.wait(30) == 0, self._log.read_text()
        wait_for(lambda: not list(self._run_dir.iterdir()), 20, "the end of the run")


def kill(pids: set[int]) -> None:
    """Kill the processes without a warning."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def start(
    spawn_tach: Callable[..., subprocess.Popen[str]],
    statsd_daemon: Any,
    programs: Path,
    tmp_path: Path,
    tach_run_dir: Path,
) -> Start:
    """Start gunicorn under tach, with two workers of the given kind."""
    config = {
        "interval": "200ms",
        "notifiers": {"statsd": {"type": "statsd", "port": statsd_daemon.port}},
        "targets": {TARGET: "stock:Shelf.take"},
    }

    def started(kind: str, *options: str) -> Server:
        log = tmp_path / "gunicorn.log"
        where = ("--bind", f"{HOST}:0", "--error-logfile", str(log))
        # A worker that is told to stop while it still starts does not hear it.
        command = ("gunicorn", "-w", "2", "-k", kind, "--graceful-timeout", "3", *where, *options)
        return Server(spawn_tach(config, *command, "web:app", cwd=programs), log, tach_run_dir)

    return started


def expected(numbers: range) -> list[int]:
    """The statuses that the application answers with."""
    return [500 if number % 10 in (3, 7) else 200 for number in numbers]


def measured(daemon: Any) -> dict[str, float]:
    """What the daemon knows of the target, by suffix."""
    counters = daemon.counters()
    return {
        name.removeprefix(f"{TARGET}."): value
        for name, value in counters.items()
        if name.startswith(f"{TARGET}.")
    }


FIVE_HUNDRED = {
    "calls": 500,
    "errors": 100,
    "errors.by_type.KeyError": 50,
    "errors.by_type.ValueError": 50,
}


@pytest.mark.parametrize("kind", ["sync", "eventlet", "gevent"])
def test_each_request_is_counted_across_a_reload(
    kind: str, start: Start, statsd_daemon: Any
) -> None:
    """500 requests, half of them before a HUP: 500 calls, and the errors of each class."""
    server = start(kind)
    assert server.ask(range(250)) == expected(range(250))
    server.reload()
    assert server.ask(range(250, 500)) == expected(range(250, 500))
    server.end()

    assert measured(statsd_daemon) == FIVE_HUNDRED


@pytest.mark.parametrize("kind", ["sync", "eventlet"])
def test_each_request_is_counted_though_workers_are_killed(
    kind: str, start: Start, statsd_daemon: Any
) -> None:
    """Workers killed by SIGKILL take no call with them that they had answered."""
    server = start(kind)
    assert server.ask(range(200)) == expected(range(200))
    server.kill_workers()
    assert server.ask(range(200, 400)) == expected(range(200, 400))
    server.kill_workers()
    assert server.ask(range(400, 500)) == expected(range(400, 500))
    server.end()

    assert measured(statsd_daemon) == FIVE_HUNDRED


def test_a_preloaded_application_is_counted(start: Start, statsd_daemon: Any) -> None:
    """An application imported by the master, before it forks, is measured in each worker."""
    server = start("sync", "--preload")
    assert server.ask(range(250)) == expected(range(250))
    server.reload()
    assert server.ask(range(250, 500)) == expected(range(250, 500))
    server.end()

    assert measured(statsd_daemon) == FIVE_HUNDRED


def test_no_answered_request_is_lost_under_load(start: Start, statsd_daemon: Any) -> None:
    """Workers killed while they work: no fewer calls than answers, no more than requests."""
    server = start("sync")
    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(server.kill_workers)
        statuses = server.ask(range(500))
        killing.result()
    server.end()

    answered = sum(status is not None for status in statuses)
    assert answered <= measured(statsd_daemon)["calls"] <= 500
