"""statsd daemons that are there, not there, not yet there, or stuck: seen by daemon and program."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ports import free_ports
from processes import wait_for

HOST = "127.0.0.1"
CALLS = 20_000
# Far more than a connection and its ends can hold.
MANY = 50_000
LONG_NAME = "n" * 180

Spawn = Callable[..., subprocess.Popen[str]]
Run = Callable[..., subprocess.CompletedProcess[str]]


def statsd(**options: Any) -> dict[str, Any]:
    """A configuration that sends `targets.function` to that daemon as `f`."""
    return {
        "interval": "100ms",
        "exit_timeout": "500ms",
        "notifiers": {"statsd": {"type": "statsd", **options}},
        "targets": {"f": "targets:function"},
    }


def with_report(config: dict[str, Any], file: Path) -> dict[str, Any]:
    """The same configuration with the console's report in a file beside it."""
    console = {"type": "console", "format": "json", "file": str(file)}
    both = {**config["notifiers"], "console": console}
    return {**config, "notifiers": both, "defaults": {"notifiers": list(both)}}


def report(file: Path) -> dict[str, dict[str, Any]]:
    """The report's objects by series."""
    found = [json.loads(line) for line in file.read_text().splitlines()]
    return {each["series"]: each for each in found if "series" in each}


def wait_for_end(run_dir: Path) -> None:
    """Wait until the sender has removed the run."""
    wait_for(lambda: not list(run_dir.iterdir()), 30, "the end of the run")


def tell(program: subprocess.Popen[str], line: str) -> None:
    """Have `told` make some calls, and wait until they are made."""
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(f"{line}\n")
    program.stdin.flush()
    assert program.stdout.readline() == f"{line}\n"


def dropped(run_dir: Path) -> int:
    """How many samples the sender's log speaks of as dropped."""
    texts = [file.read_text() for file in run_dir.glob("*/sender.log")]
    return sum(int(number) for text in texts for number in re.findall(r"dropped (\d+)", text))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("host", ["nowhere.invalid", HOST])
def test_without_a_daemon_the_program_runs_on(
    transport: str, host: str, run_tach: Run, programs: Path, tmp_path: Path, tach_run_dir: Path
) -> None:
    """A host that does not resolve, or refuses: the program makes all its calls and ends as ever.

    Its other notifier has them all.
    """
    file = tmp_path / "report.json"
    config = with_report(statsd(host=host, port=free_ports(3)[0], transport=transport), file)
    done = run_tach(config, sys.executable, programs / "calls.py", str(CALLS), "function")

    assert (done.returncode, done.stdout, done.stderr) == (0, "called\n", "")
    wait_for_end(tach_run_dir)
    assert report(file)["f"]["calls"] == CALLS
    if (transport, host) == ("tcp", HOST):  # others may take longer to fail than a report waits
        assert re.search(r"notifier statsd: batches not sent: \d+; Connection", file.read_text())


def test_what_is_dropped_is_counted(
    spawn_tach: Spawn, statsd_daemon: Any, programs: Path, tach_run_dir: Path
) -> None:
    """A daemon comes back after so long that samples were dropped: it is told how many."""
    statsd_daemon.stop()
    config = statsd(port=statsd_daemon.port)
    program = spawn_tach(config, sys.executable, programs / "told.py", stdin=subprocess.PIPE)

    def drops() -> int:
        tell(program, "1 function")
        return dropped(tach_run_dir)

    wait_for(drops, 20, "a full queue")
    statsd_daemon.start()

    def flows() -> bool:
        tell(program, "1 function")
        return "tach.dropped" in statsd_daemon.counters()

    wait_for(flows, 20, "numbers that flow again")
    count = dropped(tach_run_dir)
    tell(program, f"{CALLS} function")
    program.communicate(timeout=30)
    wait_for_end(tach_run_dir)

    assert program.returncode == 0
    statsd_daemon.wait_for_counter("tach.dropped", count)
    counters = statsd_daemon.counters()
    assert counters["tach.dropped"] == counters["tach.dropped.queue_full"] == count
    assert counters["f.calls"] >= CALLS


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_a_short_outage_loses_nothing(
    transport: str, spawn_tach: Spawn, statsd_daemon: Any, programs: Path, tach_run_dir: Path
) -> None:
    """Calls made while the daemon is away arrive when it is back."""
    options = {"tcp": {"port": statsd_daemon.tcp_port}, "unix": {"path": statsd_daemon.socket_path}}
    config = statsd(transport=transport, **options[transport])
    program = spawn_tach(config, sys.executable, programs / "told.py", stdin=subprocess.PIPE)
    tell(program, "100 function")
    statsd_daemon.wait_for_counter("f.calls", 100)
    statsd_daemon.stop()
    tell(program, "200 function")
    (log,) = tach_run_dir.glob("*/sender.log")
    wait_for(lambda: "will try again" in log.read_text(), message="a failure to send")
    statsd_daemon.start()
    statsd_daemon.wait_for_counter("f.calls", 200)
    tell(program, "300 function")
    program.communicate(timeout=30)
    wait_for_end(tach_run_dir)

    assert statsd_daemon.counters()["f.calls"] == 500
    assert "tach.dropped" not in statsd_daemon.counters()


def test_a_daemon_that_hangs_does_not_hold_the_program(
    spawn_tach: Spawn, programs: Path, tach_run_dir: Path
) -> None:
    """A TCP daemon that accepts and does not read: the program ends, though sending goes on.

    When the daemon reads after all, it gets everything.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        listener.bind((HOST, 0))
        listener.listen()
        port = listener.getsockname()[1]
        config = {
            **statsd(transport="tcp", port=port, timeout="10m", max_lines=MANY),
            "targets": {LONG_NAME: "targets:function"},
        }
        argv = (sys.executable, programs / "told.py")
        program = spawn_tach(config, *argv, stdin=subprocess.PIPE)
        tell(program, f"{MANY} function")
        connection, _ = listener.accept()
        with connection:
            stdout, stderr = program.communicate(f"{CALLS} function\n", 30)
            assert (program.returncode, stdout, stderr) == (0, f"{CALLS} function\n", "")
            assert list(tach_run_dir.iterdir()), "the sender was not held up"
            received = b"".join(iter(lambda: connection.recv(1 << 20), b""))
    counts = re.findall(rf"^{LONG_NAME}\.calls:(\d+)\|c$", received.decode(), re.MULTILINE)
    assert sum(map(int, counts)) == MANY + CALLS


@pytest.mark.parametrize("transport", ["udp", "tcp", "unix"])
def test_transports(
    transport: str, run_tach: Run, statsd_daemon: Any, programs: Path, tach_run_dir: Path
) -> None:
    """All calls reach the daemon by each transport."""
    options = {
        "udp": {"port": statsd_daemon.port},
        "tcp": {"port": statsd_daemon.tcp_port},
        "unix": {"path": statsd_daemon.socket_path},
    }
    config = statsd(transport=transport, **options[transport])
    run_tach(config, sys.executable, programs / "calls.py", str(CALLS), "function")
    wait_for_end(tach_run_dir)
    # The daemon may not have read yet what its sockets hold.
    statsd_daemon.wait_for_counter("f.calls", CALLS)
    calls = statsd_daemon.counters()["f.calls"]
    statsd_daemon.stop()

    assert calls == CALLS
    assert statsd_daemon.flushes()[-1]["timer_data"]["f.duration"]["count"] == CALLS


def test_names(run_tach: Run, statsd_daemon: Any, programs: Path, tach_run_dir: Path) -> None:
    """Prefix and names reach the daemon with nothing in them that it would misread."""
    config = {
        **statsd(port=statsd_daemon.port),
        "prefix": "no va|1:2.{host}.{program}",
        "targets": {"f:ü|c@ #x": "targets:function", "g": "targets:fails"},
    }
    argv = (sys.executable, programs / "calls.py")
    run_tach(config, *argv, "7", "function", "3", "fails")
    wait_for_end(tach_run_dir)
    statsd_daemon.wait_for_counter("statsd.packets_received", 1)

    host = re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname())
    prefix = f"no_va_1_2.{host}.calls"  # the script's name, not its interpreter's
    others = ("statsd.", f"{prefix}.tach.")
    assert {name for name in statsd_daemon.counters() if not name.startswith(others)} == {
        f"{prefix}.f___c___x.calls",
        f"{prefix}.g.calls",
        f"{prefix}.g.errors",
        f"{prefix}.g.errors.by_type.ValueError",
    }
    assert set(statsd_daemon.timers()) == {f"{prefix}.f___c___x.duration", f"{prefix}.g.duration"}


def test_runs_add_up(
    spawn_tach: Spawn, statsd_daemon: Any, programs: Path, tach_run_dir: Path
) -> None:
    """Three runs at the same time feed the same series of one daemon."""
    argv = (sys.executable, programs / "calls.py", str(CALLS), "function")
    runs = [spawn_tach(statsd(port=statsd_daemon.port), *argv) for _ in range(3)]
    assert [run.wait(30) for run in runs] == [0, 0, 0]
    wait_for_end(tach_run_dir)

    statsd_daemon.wait_for_counter("f.calls", 3 * CALLS)
    assert statsd_daemon.counters()["f.calls"] == 3 * CALLS


def test_notifiers_agree(
    spawn_tach: Spawn, statsd_daemon: Any, programs: Path, tmp_path: Path, tach_run_dir: Path
) -> None:
    """Several targets to several notifiers: all say the same, each of its own targets."""
    file = tmp_path / "report.json"
    config = {
        **with_report(statsd(port=statsd_daemon.port), file),
        "targets": {
            "both": "targets:function",
            "fails": {"function": "targets:fails", "metrics": ["count", "exceptions"]},
            "daemon": {"function": "targets:Base.static_method", "notifiers": ["statsd"]},
            "report": {"function": "targets:recursive", "notifiers": ["console"]},
        },
    }
    argv = (sys.executable, programs / "calls.py")
    calls = ("1000", "function", "300", "fails", "20", "Base.static_method", "6", "recursive")
    program = spawn_tach(config, *argv, *calls)
    assert program.wait(30) == 0
    wait_for_end(tach_run_dir)
    statsd_daemon.wait_for_counter("daemon.calls", 20)

    counters = statsd_daemon.counters()
    told = report(file)
    assert {name: each["calls"] for name, each in told.items()} == {
        "both": 1000,
        "fails": 300,
        "report": 6,
    }
    assert counters["both.calls"] == 1000
    assert counters["fails.calls"] == told["fails"]["errors"] == 300
    assert counters["fails.errors.by_type.ValueError"] == 300
    assert "report.calls" not in counters
    assert set(statsd_daemon.timers()) == {"both.duration", "daemon.duration"}
