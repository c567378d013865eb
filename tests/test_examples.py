"""Each example, started by the command of its README, does its work and reports exact numbers.

What a README asks with curl is among what the test asks.
"""

from __future__ import annotations

import http.client
import re
import shlex
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pages
import pytest
from processes import Processes, wait_for

EXAMPLES = Path(__file__).parent.parent / "examples"
CONFIG = Path("tach.yaml")
HOST = "127.0.0.1"
AT_A_TIME = 4
ORDERS = [f"/orders/{number}" for number in range(50)]

Counts = dict[str, tuple[str, str]]


class Example:
    """An example in its directory. `commands` are those of its README, without `tach CONFIG`."""

    def __init__(
        self,
        name: str,
        spawn_tach: Callable[..., subprocess.Popen[str]],
        log: Path,
        environment: dict[str, str],
    ) -> None:
        self.directory = EXAMPLES / name
        page = self.directory / "README.md"
        found = pages.commands_in(page, "tach")
        assert all(each.startswith(f"tach {CONFIG} ") for each in found)
        self.commands = [shlex.split(each)[2:] for each in found]
        self._asked = [shlex.split(each) for each in pages.commands_in(page, "curl")]
        self.log = log
        self._spawn_tach = spawn_tach
        self._environment = environment

    def asks_only(self, method: str, paths: Iterable[str]) -> bool:
        """Whether each `curl` of its README is one of these requests."""
        asked = {
            (*each[1:-1], each[-1].removeprefix(f"http://{HOST}:8000")) for each in self._asked
        }
        options = () if method == "GET" else ("-X", method)
        return bool(asked) and asked <= {(*options, path) for path in paths}

    def start(self, command: list[str], **variables: str) -> subprocess.Popen[str]:
        """Start it under tach; what it says goes to the log."""
        with self.log.open("w") as file:
            return self._spawn_tach(
                CONFIG, *command, cwd=self.directory, env=variables, stdout=file, stderr=file
            )

    def start_script(
        self, name: str, processes: Processes, **variables: str
    ) -> subprocess.Popen[str]:
        """Start a shell script of its directory; what it says goes to the log."""
        environment = {**self._environment, **variables}
        with self.log.open("w") as file:
            return processes.start(
                ["sh", name], cwd=self.directory, env=environment, stdout=file, stderr=file
            )

    def says(self, pattern: str, times: int = 1) -> list[str]:
        """Wait until it has said that so often; returns what the first group of each matches."""
        what = f"{times} of {pattern}"
        wait_for(lambda: len(re.findall(pattern, self.log.read_text())) >= times, 60, what)
        return re.findall(pattern, self.log.read_text())

    def over(self) -> None:
        """Wait until its run has left nothing behind."""
        run_dir = Path(self._environment["TACH_RUN_DIR"])
        wait_for(lambda: not list(run_dir.iterdir()), 20, "the end of the run")


@pytest.fixture
def example(
    spawn_tach: Callable[..., subprocess.Popen[str]], tmp_path: Path, environment: dict[str, str]
) -> Callable[[str], Example]:
    """Make an `Example` of a directory below examples/."""
    return lambda name: Example(name, spawn_tach, tmp_path / "log", environment)


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """Where statsd's packets arrive."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((HOST, 0))
        receiver.settimeout(0)
        yield receiver


def require(*modules: str) -> None:
    """Skip the test where one of them is not installed."""
    missing = [each for each in modules if find_spec(each) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install '.[examples]'")


def table(text: str) -> Counts:
    """Calls and errors of each row of the last table in the text."""
    lines = [line.split() for line in text.splitlines()]
    header = max(place for place, words in enumerate(lines) if words[:2] == ["target", "calls"])
    found = {}
    for name, *cells in filter(None, lines[header + 1 :]):
        if name.endswith(":") or not cells[0].isdigit():
            break
        found[name] = (cells[0], cells[1])
    return found


def statuses(port: int, method: str, paths: Iterable[str]) -> Counter[int]:
    """How often each status was answered."""

    def ask(path: str) -> int:
        connection = http.client.HTTPConnection(HOST, port, timeout=30)
        try:
            connection.request(method, path)
            return connection.getresponse().status
        finally:
            connection.close()

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return Counter(pool.map(ask, paths))


def test_threads(example: Callable[[str], Example]) -> None:
    """Calls of eight threads: one row for each target, and the numbers taken from them."""
    threads = example("threads")
    assert threads.start(*threads.commands).wait(60) == 0
    threads.over()
    said = threads.log.read_text()

    assert "190 of 200 thumbnails\n" in said
    assert table(said) == {
        "thumbnail": ("200", "10"),
        "load": ("200", "10"),
        "shrink.in": ("190", "-"),
        "shrink.out": ("190", "-"),
    }
    assert "\nshrink.out: value 190000\n" in said
    assert "\nload: 10 BrokenImage\n" in said
    assert re.search(r"^thumbnail: inflight_max [2-8]$", said, re.MULTILINE)


def test_cron(example: Callable[[str], Example], receiver: socket.socket) -> None:
    """A job that is over before the first interval: all has been sent, its status is its own."""
    cron = example("cron")
    process = cron.start(cron.commands[0], STATSD_PORT=str(receiver.getsockname()[1]))
    assert process.wait(60) == 1
    cron.over()
    lines = [line for packet in packets(receiver) for line in packet.decode().splitlines()]
    counters = dict(re.findall(r"^jobs\.expire\.(.+):(\d+)\|c$", "\n".join(lines), re.MULTILINE))

    assert cron.log.read_text() == ""
    assert {name: count for name, count in counters.items() if name.startswith(("r", "c"))} == {
        "run.calls": "1",
        "cancel.calls": "10",
        "cancel.errors": "2",
        "cancel.errors.by_type.Paid": "2",
    }


def packets(receiver: socket.socket) -> Iterator[bytes]:
    """All that have arrived."""
    with suppress(BlockingIOError):
        while True:
            yield receiver.recv(1 << 16)


@pytest.mark.parametrize("kind", ["sync", "eventlet", "gevent"])
def test_gunicorn(kind: str, example: Callable[[str], Example]) -> None:
    """50 orders of Flask, five of them sold out, and a list, with each class of workers."""
    require("gunicorn", "flask", *({kind} - {"sync"}))
    gunicorn = example("gunicorn")
    command = [kind if word == "sync" else word for word in gunicorn.commands[0]]
    process, port = serve(gunicorn, command)
    posted = statuses(port, "POST", ORDERS)
    listed = statuses(port, "GET", ["/orders"])
    stop(gunicorn, process)

    assert gunicorn.asks_only("POST", ORDERS)
    assert (posted, listed) == ({201: 45, 409: 5}, {200: 1})
    assert table(gunicorn.log.read_text()) == {
        "request": ("51", "-"),
        "order.place": ("50", "5"),
        "order.charge": ("50", "-"),
        "order.list": ("1", "-"),
    }


def test_django(example: Callable[[str], Example]) -> None:
    """50 requests of Django, five of them 404, and two queries for each of the others."""
    require("gunicorn", "django")
    django = example("django")
    process, port = serve(django, django.commands[0])
    paths = [f"/stock/{number}" for number in range(50)]
    got = statuses(port, "GET", paths)
    stop(django, process)
    said = django.log.read_text()

    assert django.asks_only("GET", paths)
    assert got == {200: 45, 404: 5}
    assert table(said) == {
        "request": ("50", "-"),
        "view.Stock": ("50", "-"),
        "stock.get": ("50", "5"),
        "sql": ("90", "-"),
    }
    assert "\nview.Stock: 5 ignored\n" in said


def serve(example: Example, command: list[str]) -> tuple[subprocess.Popen[str], int]:
    """Start gunicorn, on a port that it chooses; returns it and the port when it serves."""
    # A worker that is told to stop while it still starts does not hear it.
    options = f"--bind {HOST}:0 --graceful-timeout 3"
    process = example.start(command, GUNICORN_CMD_ARGS=options)
    example.says("Booting worker", times=2)
    return process, int(example.says(rf"Listening at: http://{HOST}:(\d+)")[0])


def stop(example: Example, process: subprocess.Popen[str]) -> None:
    """End it as a service manager does."""
    process.terminate()
    assert process.wait(30) == 0, example.log.read_text()
    example.over()


def test_fastapi(example: Callable[[str], Example]) -> None:
    """50 requests of FastAPI, five refused: coroutines and asynchronous generators are calls."""
    require("fastapi", "uvicorn")
    fastapi = example("fastapi")
    process = fastapi.start(fastapi.commands[0], UVICORN_PORT="0")
    port = int(fastapi.says(rf"running on http://{HOST}:(\d+)")[0])
    got = statuses(port, "POST", ORDERS)
    process.terminate()
    assert process.wait(30) == -15, fastapi.log.read_text()  # uvicorn's own way to end
    fastapi.over()

    assert fastapi.asks_only("POST", ORDERS)
    assert got == {201: 45, 409: 5}
    assert table(fastapi.log.read_text()) == {
        "asgi": ("51", "-"),
        "orders": ("50", "5"),
        "warehouse.ship": ("50", "5"),
        "warehouse.reserve": ("50", "5"),
        "warehouse.parcels": ("45", "-"),
    }


def test_fastapi_as_process_1(example: Callable[[str], Example], processes: Processes) -> None:
    """The script for containers passes SIGTERM on and stays until the last numbers are sent."""
    require("fastapi", "uvicorn")
    fastapi = example("fastapi")
    process = fastapi.start_script("entrypoint.sh", processes, UVICORN_PORT="0")
    port = int(fastapi.says(rf"running on http://{HOST}:(\d+)")[0])
    got = statuses(port, "POST", ["/orders/1"])
    process.terminate()
    assert process.wait(30) == 143, fastapi.log.read_text()

    assert got == {201: 1}
    assert table(fastapi.log.read_text())["warehouse.ship"] == ("1", "-")


def test_celery(
    example: Callable[[str], Example],
    run_tach: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    """40 tasks by name in two processes of a worker, and in their sender 40 that were sent."""
    require("celery")
    celery = example("celery")
    data = {"SHOP_DATA": str(tmp_path / "shop")}
    worker, sender = celery.commands
    process = celery.start(worker, **data)
    celery.says(r"celery@\S+ ready")
    sent = run_tach(CONFIG, *sender, cwd=celery.directory, env=data, timeout=120)
    process.terminate()
    assert process.wait(60) == 0, celery.log.read_text()
    celery.over()

    assert sent.stdout == "2 of 40 failed\n", sent.stderr
    assert table(sent.stderr) == {"task.sent": ("40", "-")}
    assert table(celery.log.read_text()) == {
        "task.resize": ("20", "-"),
        "task.notify": ("20", "-"),
        "resize": ("20", "2"),
        "task.received": ("40", "-"),
    }


def test_each_example_is_listed() -> None:
    """Every directory below examples/ is in the list, and those with a README are linked."""
    listed = (EXAMPLES / "README.md").read_text()
    linked = set(re.findall(r"\]\((\w+)(?:/README\.md)?\)", listed))
    present = {path.parent.name for path in EXAMPLES.glob("*/*") if path.suffix != ".pyc"}

    assert linked == present - {"__pycache__"}
