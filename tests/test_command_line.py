"""What a user of a terminal expects of every command: pipes that close, interrupts, near words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from processes import Processes, wait_for

TACH = [sys.executable, "-m", "tach"]
CONFIG = "targets: {hello: 'shop:hello'}\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with an application and its configuration."""
    (tmp_path / "shop.py").write_text("def hello(): pass\n")
    (tmp_path / "tach.yaml").write_text(CONFIG)
    return tmp_path


def ran(
    *arguments: str, place: Path, environment: Mapping[str, str], **more: Any
) -> subprocess.CompletedProcess[str]:
    """A command of tach, run to its end."""
    options = {"capture_output": True, "text": True, "timeout": 60, "check": False, **more}
    command = [*TACH, *arguments]
    return subprocess.run(command, cwd=place, env={**environment}, **options)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--schema"], ["metrics"], ["status", "--help"], ["check", "tach.yaml"]],
)
def test_who_reads_may_have_enough(
    arguments: list[str], place: Path, environment: Mapping[str, str]
) -> None:
    """A pipe that is closed ends a command without a word, as it ends others."""
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        [*TACH, *arguments], cwd=place, env={**environment}, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["status"], 1), (["status", "--help"], 0), (["check", "tach.yaml"], 0), (["metrics"], 0)],
)
def test_output_that_is_closed(
    arguments: list[str], status: int, place: Path, environment: Mapping[str, str]
) -> None:
    """Without a standard output the exit status tells."""
    shell = ["sh", "-c", '"$@" >&-', "sh", *TACH, *arguments]
    done = subprocess.run(
        shell, cwd=place, env={**environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_an_interrupt(place: Path, environment: Mapping[str, str], processes: Processes) -> None:
    """Ctrl-C ends `tach check` without a word."""
    (place / "shop.py").write_text("import time; open('there', 'w'); time.sleep(60)\n")
    command = [*TACH, "check", "tach.yaml", sys.executable, "-c", "pass"]
    process = processes.start(command, cwd=place, env={**environment})
    wait_for((place / "there").exists, 30)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 128 + signal.SIGINT


@pytest.mark.parametrize(
    ("arguments", "meant"), [(["chek", "tach.yaml"], "check"), (["statsu"], "status")]
)
def test_a_misspelled_command(
    arguments: list[str], meant: str, place: Path, environment: Mapping[str, str]
) -> None:
    """The nearest word is named."""
    done = ran(*arguments, place=place, environment=environment)
    assert done.returncode == 2
    assert f"tach: did you mean the sub-command {meant!r}?\n" in done.stderr


@pytest.mark.parametrize("arguments", [["shop:app"], ["--chdir", "apps", "shop2:app"]])
def test_check_finds_what_such_a_server_finds(
    arguments: list[str], place: Path, environment: Mapping[str, str]
) -> None:
    """Some programs look for the application where they are called, or where an option says."""
    (place / "apps").mkdir()
    (place / "apps" / "shop2.py").write_text("def hello(): pass\n")
    server = place / "gunicorn"
    server.write_text(f"#!{sys.executable}\n")
    server.chmod(0o755)
    module = arguments[-1].partition(":")[0]
    (place / "tach.yaml").write_text(f"targets: {{hello: '{module}:hello'}}\n")
    done = ran("check", "tach.yaml", str(server), *arguments, place=place, environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{module}:hello" in done.stdout


def test_check_shows_series_as_they_are_sent(place: Path, environment: Mapping[str, str]) -> None:
    """The prefix is sanitised as it will be, and its placeholders are shown."""
    (place / "tach.yaml").write_text("prefix: a/b.{host}-ü\n" + CONFIG)
    done = ran("check", "tach.yaml", place=place, environment=environment)
    assert "target a_b.{host}-_.hello: shop:hello\n" in done.stdout


def test_check_shows_no_secrets(place: Path, environment: Mapping[str, str]) -> None:
    """Neither in an option of that name nor in one within another."""
    otlp = "{type: otlp, headers: {api-key: hidden, Authorization: hidden too, x-scope: shop}}"
    (place / "tach.yaml").write_text(f"notifiers: {{o: {otlp}}}\n{CONFIG}")
    done = ran("check", "tach.yaml", place=place, environment=environment)
    assert "hidden" not in done.stdout
    assert "headers=(api-key=*** Authorization=*** x-scope=shop)" in done.stdout


def test_a_profile_that_cannot_be_saved(place: Path, environment: Mapping[str, str]) -> None:
    """It is shown once, and said to be nowhere else."""
    (place / "work.py").write_text("def f(): pass\nf()\n")
    arguments = ("profile", "--save", "/nowhere/at/all.json", sys.executable, "work.py")
    done = ran(*arguments, place=place, environment=environment)
    assert done.returncode == 0
    assert done.stderr.count("tach profile: ") == 1
    assert "tach: cannot write /nowhere/at/all.json: No such file or directory\n" in done.stderr


def test_the_report_tells_what_only_the_end_has_shown(
    place: Path, environment: Mapping[str, str]
) -> None:
    """A receiver whose only batch is the last one, and failed, is named."""
    (place / "work.py").write_text("import shop; shop.hello()\n")
    file = "{type: prometheus, textfile: /nowhere/at/all.prom}"
    (place / "tach.yaml").write_text(f"notifiers: {{c: {{type: console}}, p: {file}}}\n{CONFIG}")
    for _ in range(3):
        done = ran("tach.yaml", sys.executable, "work.py", place=place, environment=environment)
        assert done.returncode == 0
        assert "notifier p: " in done.stderr


def test_the_locale_stays_unset(place: Path, environment: Mapping[str, str]) -> None:
    """What Python sets for itself where no locale is set is not passed on to the program."""
    variables = {k: v for k, v in environment.items() if not k.startswith(("LC_", "LANG"))}
    show = ("sh", "-c", "echo ${LC_CTYPE-unset}")
    for more, shown in (({}, "unset\n"), ({"LC_CTYPE": "C.UTF-8"}, "C.UTF-8\n")):
        done = ran("tach.yaml", *show, place=place, environment={**variables, **more})
        assert done.stdout == shown


def test_all_options_out_of_bounds_are_told(place: Path, environment: Mapping[str, str]) -> None:
    """One after the other would be a start for each."""
    statsd = "{type: statsd, port: 99999, timeout: 0, max_packet: 1, max_lines: 1}"
    (place / "tach.yaml").write_text(f"notifiers: {{s: {statsd}}}\n{CONFIG}")
    done = ran("check", "tach.yaml", place=place, environment=environment)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "tach.yaml:1: notifiers.s: port 99999 must be from 1 to 65535",
        "tach.yaml:1: notifiers.s: timeout 0.0 must be from 0.001 to 3600",
        "tach.yaml:1: notifiers.s: max_packet 1 must be from 64 to 65507",
        "tach.yaml:1: notifiers.s: max_lines 1 must be from 64 to 1e+06",
    ]
