"""A pre-forking server behind one port: its counters while workers die and are replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import wait_for
from test_gunicorn import HOST, TARGET, Server, expected
from test_prometheus import Values, of_target, port_in_log, scraped


class Scraper:
    """Scrapes as fast as it can, in a thread; `fell` holds whatever has ever gone down."""

    def __init__(self, port: int) -> None:
        self.fell: list[tuple[object, float, float]] = []
        self.scrapes = 0
        self._port = port
        self._last: Values = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Scraper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.is_set():
            now = scraped(self._port)
            self.scrapes += 1
            for key, before in self._last.items():
                if key[0].endswith(("_total", "_bucket", "_count", "_sum")):
                    after = now.get(key, -1)
                    self.fell += [(key, before, after)] if after < before else []
            self._last = now


@pytest.fixture
def server(
    spawn_tach: Callable[..., subprocess.Popen[str]],
    programs: Path,
    tmp_path: Path,
    tach_run_dir: Path,
) -> Server:
    """gunicorn with two workers, scraped every 100 ms."""
    config = {
        "notifiers": {"prom": {"type": "prometheus", "port": 0, "interval": "100ms"}},
        "targets": {TARGET: "stock:Shelf.take"},
    }
    log = tmp_path / "gunicorn.log"
    where = ("--bind", f"{HOST}:0", "--error-logfile", str(log))
    command = ("gunicorn", "-w", "2", "--graceful-timeout", "3", *where, "web:app")
    return Server(spawn_tach(config, *command, cwd=programs), log, tach_run_dir)


def test_counters_never_go_back_though_workers_die(server: Server, tach_run_dir: Path) -> None:
    """All workers are one series: 600 requests, killed and reloaded workers, exact sums."""
    port = port_in_log(tach_run_dir)
    with Scraper(port) as scraper:
        for start in range(0, 600, 100):
            numbers = range(start, start + 100)
            assert server.ask(numbers) == expected(numbers)
            if start % 300 == 200:
                server.reload()
            else:
                server.kill_workers()

        def all_there() -> bool:
            return of_target(scraped(port), TARGET).get("tach_calls_total") == 600

        wait_for(all_there, 20)
    found = scraped(port)
    server.end()

    assert scraper.fell == []
    assert scraper.scrapes > 20
    assert of_target(found, TARGET)["tach_duration_seconds_count"] == 600
    assert of_target(found, TARGET)["tach_errors_total"] == 120
    for name in ("KeyError", "ValueError"):
        labels = (("target", TARGET), ("type", name))
        assert found["tach_errors_by_type_total", labels] == 60


def test_counters_go_on_where_the_sender_is_killed(server: Server, tach_run_dir: Path) -> None:
    """A new sender listens at a new port, if it is a free one, and has the totals of the old."""
    assert server.ask(range(100)) == expected(range(100))
    port = port_in_log(tach_run_dir)
    (run,) = tach_run_dir.iterdir()
    wait_for(lambda: of_target(scraped(port), TARGET).get("tach_calls_total") == 100, 20)
    sender = sender_of(run)
    os.kill(sender, signal.SIGKILL)
    assert server.ask(range(100, 200)) == expected(range(100, 200))

    def last_port() -> int:
        lines = (run / "sender.log").read_text().splitlines()
        ports = [
            line.rpartition(":")[2].partition("/")[0] for line in lines if "serving http" in line
        ]
        return int(ports[-1]) if len(ports) > 1 else 0

    port = wait_for(last_port, 20)
    wait_for(lambda: of_target(scraped(port), TARGET).get("tach_calls_total") == 200, 20)
    server.end()


def sender_of(run: Path) -> int:
    """The process that serves the run: the one whose open log is the run's."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _has_open(entry, run / "sender.log"):
            return int(entry.name)
    raise AssertionError("no sender")


def _has_open(process: Path, file: Path) -> bool:
    try:
        return any(os.readlink(each) == str(file) for each in (process / "fd").iterdir())
    except OSError:
        return False
