"""The notifier of docs/writing-a-notifier.md, installed as its package says, with a server."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pages
import pytest
from processes import Processes, wait_for

from tach import samples

PAGE = pages.ROOT / "docs" / "writing-a-notifier.md"
EXAMPLE = pages.ROOT / "examples" / "custom_notifier"


class Database(HTTPServer):
    """Keeps what is posted to it; the first time it is not ready."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refused = 0
        self.posted: list[str] = []
        self.paths: set[str] = set()


class Handler(BaseHTTPRequestHandler):
    """Answers as InfluxDB does."""

    server: Database

    def do_POST(self) -> None:
        """Take lines."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        ready = self.server.refused > 0
        self.server.refused += not ready
        if ready:
            self.server.posted += body.splitlines()
            self.server.paths.add(self.path)
        self.send_response(204 if ready else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def database() -> Iterator[Database]:
    """The server, in a thread."""
    with Database() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def installed(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of programs for which the package has been installed."""
    site = tmp_path / "site"
    info = site / "tach_influx-1.0.dist-info"
    info.mkdir(parents=True)
    project = (EXAMPLE / "pyproject.toml").read_text()
    points = re.search(r'entry-points\."([\w.]+)"\]\n(\w+) = "(\S+)"', project)
    assert points is not None
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tach-influx\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{points[1]}]\n{points[2]} = {points[3]}\n")
    shutil.copy(EXAMPLE / "tach_influx.py", site)
    environment["PYTHONPATH"] = str(site)
    return environment


def test_the_example_posts_what_was_measured(
    processes: Processes, installed: dict[str, str], database: Database, tach_run_dir: Path
) -> None:
    """All of it, once, though the server was not ready at first."""
    (command,) = pages.commands_in(PAGE, "tach")
    address = f"http://127.0.0.1:{database.server_port}"
    environment = {**installed, "INFLUX_URL": address}
    process = processes.start(shlex.split(command), env=environment, cwd=EXAMPLE)
    stdout, stderr = process.communicate(timeout=60)
    wait_for(lambda: not list(tach_run_dir.iterdir()), 30, "the end of the run")

    assert (process.returncode, stdout, stderr) == (0, "100 orders\n", "")
    assert database.refused == 1
    assert database.paths == {"/api/v2/write?bucket=metrics&org=&precision=ns"}
    sums: Counter[str] = Counter()
    for line in database.posted:
        name, fields, when = line.rsplit(" ", 2)
        assert when.isdigit()
        sums[name] += int(float(re.findall(r"(?:count|value)=([\d.]+)", fields)[0]))
    assert {name: count for name, count in sums.items() if ".tach" not in name} == {
        "calls,series=shop.order": 100,
        "errors,series=shop.order": 10,
        "errors.by_type.ValueError,series=shop.order": 10,
        "duration,series=shop.order": 100,
    }


def test_tach_knows_it(installed: dict[str, str], tmp_path: Path) -> None:
    """`tach notifiers` lists it, and a wrong option is an error with its line."""

    def tach(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tach", *arguments]
        return subprocess.run(
            command, env=installed, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    assert "\ninflux       Posts to the API of InfluxDB 2." in tach("notifiers").stdout
    (tmp_path / "tach.yaml").write_text(
        "notifiers:\n  a: {type: influx, url: ftp://b, bucket: c, tmeout: 1s}\n"
        "  b: {type: influx, url: ftp://b, bucket: c}\n"
    )
    assert tach("check", "tach.yaml").stderr == (
        "tach.yaml:2: notifiers.a: unknown key 'tmeout'; did you mean 'timeout'?\n"
        "tach.yaml:3: notifiers.b: url 'ftp://b' must begin with http:// or https://\n"
    )


def test_the_page_tells_the_whole_contract() -> None:
    """Each attribute that `Notifier` describes, and each member of a sample, is explained."""
    text = PAGE.read_text()
    described = set(re.findall(r"`(\w+)`?(?:\(\w*\)`)?", samples.Notifier.__doc__ or ""))
    wanted = described - {"send", "RunInfo", "type", "Event"} | set(samples.Sample._fields)
    assert {word for word in wanted if not re.search(rf"`[^`]*\b{word}\b", text)} == set()
    assert {"aligned", "wraps", "deliver", "slot"} <= wanted
