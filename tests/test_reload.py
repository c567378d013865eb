"""A configuration that is changed while the program runs: `reload: true` and `tach reload`."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from processes import wait_for
from reports import Report

from tach.asking import Answer
from tach.reload import ANSWER_WITHIN, RELOAD
from tach.status import STATUS

Json = dict[str, Any]

MODULE = "edited_targets"
METRICS = (
    ["timing", "count", "exceptions"],
    ["count"],
    ["timing", "count", "inflight"],
    ["timing", "count", "running"],
    ["count", "own"],
)
# always there, by their own name
STEADY = ("always", "busy", "failing", "generating", "awaiting", "static", "own")


class EditedRun:
    """Runs edited.py under tach with a configuration that is edited meanwhile."""

    def __init__(self, directory: Path, run_dir: Path, spawn: Callable[..., Any]) -> None:
        self.directory = directory
        self.file = directory / "tach.yaml"
        self.report = Report(directory / "report.jsonl", run_dir)
        self._run_dir = run_dir
        self._spawn = spawn
        self.process: Any = None

    def write(self, config: Json | str) -> None:
        """Put another file in the place of the configuration, as editors do."""
        new = self.directory / "tach.yaml.new"
        new.write_text(
            config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
        )
        os.replace(new, self.file)

    def config(self, targets: Json, **more: Any) -> Json:
        """A configuration that measures those and reports to a file."""
        config = self.report.config(**targets)
        notifiers = {**config["notifiers"], **more.pop("notifiers", {})}
        return {**config, **more, "notifiers": notifiers}

    def start(self, program: Path, config: Json, processes: int = 3, threads: int = 2) -> None:
        """Start the program."""
        self.write(config)
        arguments = [str(self.directory), str(processes), str(threads)]
        command = [sys.executable, "-W", "ignore", program, *arguments]
        self.process = self._spawn(self.file, *command)
        wait_for(lambda: list(self._run_dir.glob("tach-*/run")), message="a run")
        wait_for(lambda: self.status()["targets"][0]["calls"], message="calls")

    @property
    def run(self) -> Path:
        """The run directory."""
        return next(self._run_dir.glob("tach-*"))

    def reload(self) -> Answer:
        """What `tach reload` is answered."""
        answer = RELOAD.ask([str(self.run)], ANSWER_WITHIN)[str(self.run)]
        assert answer is not None
        return answer

    def status(self) -> Answer:
        """What `tach status` is answered."""
        return wait_for(lambda: STATUS.ask([str(self.run)], 3.0)[str(self.run)])

    def taken_up(self) -> bool:
        """Whether every process has taken up the last change."""
        status = self.status()
        last = status["reload"]["generation"]
        return all(each["generation"] == last for each in status["processes"])

    def end(self) -> tuple[Counter[str], list[list[str]]]:
        """End the program: how often it has called what, and which attributes are not raw."""
        (self.directory / "STOP").touch()
        _, errors = self.process.communicate(timeout=60)
        assert (self.process.returncode, errors) == (0, "")
        told = [json.loads(each.read_text()) for each in self.directory.glob("*.counts")]
        counts = sum((Counter(each["counts"]) for each in told), Counter())
        return counts, [each["other"] for each in told]


@pytest.fixture
def edited(tmp_path: Path, tach_run_dir: Path, spawn_tach: Any) -> EditedRun:
    """A program whose configuration may be edited."""
    return EditedRun(tmp_path, tach_run_dir, spawn_tach)


@pytest.fixture
def run_command(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `tach ARGUMENT...`."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tach", *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def steady() -> Json:
    """The targets that are always there."""
    targets = {name: f"{MODULE}:{name}" for name in STEADY[:5]}
    targets["static"] = f"{MODULE}:Derived.static"
    targets["own"] = f"{MODULE}:Derived.own"
    targets["named.{args.kind}"] = f"{MODULE}:named"
    targets["busy"] = {"function": f"{MODULE}:busy", "metrics": ["count", "inflight"]}
    return targets


def edits(number: int) -> Iterator[tuple[Json, Json]]:
    """So many different (targets, more): all that may change, in any combination."""
    chance = random.Random(number)
    for each in range(number):
        targets = steady()
        targets[f"renamed{each % 4}"] = f"{MODULE}:renamed"
        targets["changing"] = {"function": f"{MODULE}:changing", "metrics": METRICS[each % 5]}
        if each % 2:
            targets["flipping"] = f"{MODULE}:flipping"
        for name in ("one", "two"):
            if chance.random() < 0.6:
                targets[f"twice.{name}"] = f"{MODULE}:twice"
        excluded = chance.choice((["wild_a"], ["wild_b"], ["wild_a", "wild_b"]))
        exclude = [*STEADY, "renamed", "changing", "flipping", "twice", "named", *excluded]
        targets["wild"] = {"function": f"{MODULE}:*", "exclude": exclude}
        for name in ("Base", "Derived"):
            if chance.random() < 0.6:
                targets[f"inherited.{name}"] = f"{MODULE}:{name}.inherited"
        more = {"interval": chance.choice(("100ms", "200ms", "1s"))}
        if chance.random() < 0.3:
            more["notifiers"] = {"other": {"type": "statsd", "port": chance.choice((9, 10))}}
        yield targets, more


def assert_exact(calls: dict[str, int], counts: Counter[str]) -> None:
    """Each call of what was always measured is counted once."""
    for name in (*STEADY, "changing", *(f"named.{kind}" for kind in "xyz")):
        assert calls[name] == counts[name], name
    assert sum(calls.get(f"renamed{each}", 0) for each in range(4)) == counts["renamed"]


def test_100_edits_under_load(edited, programs) -> None:
    """Of what is always measured, under whatever name, no call is lost or counted twice.

    What is not measured any more is restored exactly in every process.
    """
    edited.start(
        programs / "edited.py",
        edited.config(
            steady() | {"renamed0": f"{MODULE}:renamed", "changing": f"{MODULE}:changing"}
        ),
    )
    for targets, more in edits(100):
        edited.write(edited.config(targets, **more))
        answer = edited.reload()
        assert (answer["errors"], answer["needs_restart"]) == ([], [])
    last = steady() | {"renamed3": f"{MODULE}:renamed", "changing": f"{MODULE}:changing"}
    edited.write(edited.config(last))
    assert edited.reload()["errors"] == []
    wait_for(edited.taken_up, 20)

    counts, others = edited.end()

    calls = edited.report.calls()
    assert_exact(calls, counts)
    assert others == [[], [], []]  # what it was when the program first saw it
    held = "had been taken by a dict __main__.RAW before it was measured"
    assert [each for each in edited.report.troubles() if held not in each] == []


def test_edits_are_noticed(edited, programs) -> None:
    """With `reload: true` edits are taken up as they come, and a wrong one in between is not."""
    first = steady() | {"renamed0": f"{MODULE}:renamed", "changing": f"{MODULE}:changing"}
    edited.start(programs / "edited.py", edited.config(first, reload=True))
    chance = random.Random(1)
    for number, (targets, more) in enumerate(edits(100)):
        text = yaml.safe_dump(edited.config(targets, reload=True, **more), sort_keys=False)
        if number % 10 == 7:
            text = text[: text.rindex("\n", 0, len(text) // 2)] + "\n  - [wrong"
        if number % 3:
            edited.write(text)
        else:
            edited.file.write_text(text)
        time.sleep(chance.choice((0.02, 0.02, 0.02, 0.7)))
    edited.write(edited.config(first | {"last": f"{MODULE}:twice"}, reload=True))
    wait_for(lambda: "last" in {each["name"] for each in edited.status()["targets"]}, 20)
    wait_for(edited.taken_up, 20)
    assert edited.status()["reload"]["generation"] > 3

    counts, others = edited.end()

    calls = edited.report.calls()
    assert_exact(calls, counts)
    assert 0 < calls["last"] < counts["twice"]
    assert others == [["twice"]] * 3


WRONG = """
reload: true
targets:
  a: edited_targets
  b: {function: 'x:y', metrics: [timin]}
"""


def test_an_error_changes_nothing(edited, programs, run_command) -> None:
    """A file with errors is reported with each of them, by file and line; all goes on as before.

    By `tach reload`, which exits with 2, in the status and in the sender's log. When it is right
    again it is taken up.
    """
    first = {"always": f"{MODULE}:always"}
    edited.start(programs / "edited.py", edited.config(first, reload=True), 1, 1)
    edited.write(WRONG)
    wait_for(lambda: edited.status()["reload"]["errors"], 20)

    done = run_command("reload", str(edited.process.pid))

    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert [line.partition(": ")[0] for line in lines[:2]] == [f"{edited.file}:{n}" for n in (4, 5)]
    assert "did you mean 'timing'" in lines[1]
    status = edited.status()
    assert status["reload"]["errors"] == lines[:2]
    assert [each["name"] for each in status["targets"]] == ["always"]
    assert lines[1] in (edited.run / "sender.log").read_text()
    shown = run_command("status", str(edited.process.pid)).stdout
    assert f"configuration not reloaded: {lines[0]}" in shown
    edited.write(edited.config({**first, "busy": f"{MODULE}:busy"}, reload=True))
    wait_for(lambda: len(edited.status()["targets"]) == 2, 20)
    wait_for(lambda: edited.status()["targets"][1]["calls"], 20)
    assert edited.status()["reload"]["errors"] == []

    counts, _ = edited.end()

    calls = edited.report.calls()
    assert calls["always"] == counts["always"]
    assert 0 < calls["busy"] < counts["busy"]


def test_what_takes_a_restart_is_named(edited, programs, run_command) -> None:
    """What stays as it was is told with its key and line; the rest of the file is taken up."""
    first = {"always": f"{MODULE}:always"}
    edited.start(programs / "edited.py", edited.config(first), 1, 1)
    text = yaml.safe_dump(edited.config({**first, "busy": f"{MODULE}:busy"}))
    edited.write(f"prefix: new\nruntime: true\n{text}  # a comment\n")

    done = run_command("reload")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "targets: 1 added (busy)\n"
        "needs a restart: prefix (line 1)\n"
        "needs a restart: runtime (line 2)\n"
    )
    assert edited.status()["reload"]["needs_restart"] == ["prefix (line 1)", "runtime (line 2)"]
    wait_for(lambda: edited.status()["targets"][1]["calls"], 20)
    edited.end()
    assert {"always", "busy"} <= edited.report.calls().keys()


def test_without_a_run_there_is_nothing_to_reload(run_command) -> None:
    """It says so, and where it has looked, and exits with 1; with 2 for a wrong command."""
    nobody = run_command("reload")

    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert nobody.stderr.startswith("tach: no run")
    assert run_command("reload", "x").returncode == 2


CALLS = """
import sys
import edited_targets
for line in sys.stdin:
    for _ in range(int(line)):
        edited_targets.always()
    print("done", flush=True)
"""


class Receiver:
    """A statsd server that only keeps what it gets."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.notifier = {"type": "statsd", "port": self._socket.getsockname()[1]}
        self._counts: Counter[str] = Counter()

    def close(self) -> None:
        """Let go of the port."""
        self._socket.close()

    def __call__(self, name: str) -> int:
        """The sum of that counter so far."""
        with contextlib.suppress(BlockingIOError):
            while data := self._socket.recv(65536):
                for line in data.decode().splitlines():
                    series, _, value = line.partition(":")
                    if value.endswith("|c"):
                        self._counts[series] += int(value[:-2])
        return self._counts[name]


@pytest.fixture
def receivers() -> Iterator[tuple[Receiver, Receiver]]:
    """Two of them."""
    both = Receiver(), Receiver()
    yield both
    for each in both:
        each.close()


def test_what_is_sent_where_changes(edited, receivers, tmp_path, programs) -> None:
    """Each call is told to those who were to be told of it when it was made, and to no other."""
    program = tmp_path / "program.py"
    program.write_text(CALLS)
    (tmp_path / "edited_targets.py").write_text((programs / "edited_targets.py").read_text())
    one, two = receivers

    def config(*names: str, metrics: tuple[str, ...] = ("count",)) -> Json:
        target = {
            "function": f"{MODULE}:always",
            "notifiers": list(names),
            "metrics": list(metrics),
        }
        notifiers = {"one": one.notifier, "two": two.notifier}
        kept = {name: each for name, each in notifiers.items() if name in names}
        return {"interval": "100ms", "notifiers": kept, "targets": {"always": target}}

    def call(number: int) -> None:
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"

    edited.write(config("one"))
    process = edited.process = edited._spawn(
        edited.file, sys.executable, program, stdin=subprocess.PIPE
    )
    call(10)
    edited.write(config("two"))
    assert edited.reload()["errors"] == []
    call(5)
    wait_for(lambda: two("always.calls") == 5, message="the calls since then")
    assert one("always.calls") == 10
    edited.write(config("one", "two"))
    edited.reload()
    call(3)
    wait_for(lambda: (one("always.calls"), two("always.calls")) == (13, 8))
    edited.write(config("one", metrics=("timing",)))
    edited.reload()
    call(2)
    process.communicate(timeout=30)
    time.sleep(0.3)

    assert (one("always.calls"), two("always.calls")) == (13, 8)


def test_any_way_of_changing_the_file_is_noticed(edited, programs, tmp_path) -> None:
    """A symbolic link that leads elsewhere, an included file, a file that is gone for a while."""
    more = tmp_path / "more.yaml"
    more.write_text(f"targets: {{busy: '{MODULE}:busy'}}")
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        config = edited.config({f"always{number}": f"{MODULE}:always"}, reload=True)
        (tmp_path / str(number) / "tach.yaml").write_text(
            yaml.safe_dump({**config, "include": str(more)})
        )
    (tmp_path / "data").symlink_to("1")
    edited.file.symlink_to("data/tach.yaml")
    edited.write = lambda _: None
    edited.start(programs / "edited.py", {}, 1, 1)

    def has(name: str) -> bool:
        states = {each["name"]: each["state"] for each in edited.status()["targets"]}
        return states.get(name) == "patched"

    wait_for(lambda: has("always1") and has("busy"), 20)
    (tmp_path / "new").symlink_to("2")
    os.replace(tmp_path / "new", tmp_path / "data")
    wait_for(lambda: has("always2"), 20)
    more.write_text(f"targets: {{failing: '{MODULE}:failing'}}")
    wait_for(lambda: has("failing"), 20)
    more.rename(tmp_path / "away")
    wait_for(lambda: edited.status()["reload"]["errors"], 20)
    assert has("failing")
    more.write_text(f"targets: {{renamed: '{MODULE}:renamed'}}")
    wait_for(lambda: has("renamed"), 20)
    edited.end()


def test_a_sender_that_is_killed_meanwhile(edited, programs) -> None:
    """The next one goes on with the changed plan: nothing is lost or counted twice."""
    names = ("always", "renamed", "changing")
    first = {**steady(), "renamed0": f"{MODULE}:renamed", "changing": f"{MODULE}:changing"}
    edited.start(programs / "edited.py", edited.config(first, reload=True))
    for number, (targets, more) in enumerate(edits(12)):
        edited.write(edited.config(targets, reload=True, **more))
        if number % 3 == 1:
            wait_for(lambda: edited.status()["reload"]["loaded"], 20)
            os.kill(edited.status()["sender"]["pid"], signal.SIGKILL)
        time.sleep(0.6)
    wait_for(edited.taken_up, 20)

    counts, _ = edited.end()

    assert_exact(edited.report.calls(), counts)
    assert counts.keys() >= set(names)


PARENT = """
import subprocess, sys
import edited_targets
print("ready", flush=True)
sys.stdin.readline()
import colorsys
edited_targets.busy()
code = "import edited_targets as e; e.busy(); e.always()"
subprocess.run([sys.executable, "-c", code], check=True)
"""


def start_parent(edited, tmp_path, programs) -> subprocess.Popen[str]:
    """The program PARENT under tach, which has imported nothing of its own yet."""
    program = tmp_path / "program.py"
    program.write_text(PARENT)
    (tmp_path / "edited_targets.py").write_text((programs / "edited_targets.py").read_text())
    process = edited._spawn(
        edited.file,
        sys.executable,
        program,
        stdin=subprocess.PIPE,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_imports_and_new_processes_take_it_up(edited, tmp_path, programs) -> None:
    """A program that calls nothing that is measured, at its next import; a new process at once."""
    edited.write(edited.config({"gone": f"{MODULE}:always"}))
    process = start_parent(edited, tmp_path, programs)
    edited.write(edited.config({"busy": f"{MODULE}:busy"}))
    assert edited.reload()["removed"] == ["gone"]

    _, errors = process.communicate("\n", timeout=60)

    assert errors == ""
    assert edited.report.calls() == {"busy": 2}


def test_no_targets_yet(edited, tmp_path, programs) -> None:
    """With `reload: true` a run without targets is one that may have some later."""
    edited.write(edited.config({}, reload=True))
    process = start_parent(edited, tmp_path, programs)
    edited.write(edited.config({"busy": f"{MODULE}:busy"}, reload=True))
    wait_for(lambda: edited.status()["targets"], 20)
    process.communicate("\n", timeout=60)

    assert edited.report.calls() == {"busy": 2}


@pytest.mark.parametrize("seed", range(3))
def test_attributes_are_exactly_what_they_were(seed: int, tmp_path, programs, environment) -> None:
    """After each edit what is measured is patched, and all else is the very object it was.

    Functions, static methods, several targets for one function, inherited methods with and without
    a target for the base.
    """
    path = os.pathsep.join([str(programs), str(Path(__file__).parent.parent)])
    done = subprocess.run(
        [sys.executable, programs / "restored.py", str(seed)],
        env={**environment, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


DROPPING = """
import os, sys
import edited_targets
os.setgid(65534)
os.setuid(65534)
for line in sys.stdin:
    edited_targets.always()
    print("done", flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_who_has_given_up_root_takes_it_up(edited, tmp_path, programs) -> None:
    """A service that became another user may not open the run's files any more, and need not."""
    program = tmp_path / "program.py"
    program.write_text(DROPPING)
    (tmp_path / "edited_targets.py").write_text((programs / "edited_targets.py").read_text())
    edited.write(edited.config({"one": f"{MODULE}:always"}))
    process = edited.process = edited._spawn(
        edited.file, sys.executable, program, stdin=subprocess.PIPE
    )

    def call() -> None:
        process.stdin.write("call\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"

    call()
    edited.write(edited.config({"two": f"{MODULE}:always"}))
    edited.reload()
    call()
    wait_for(edited.taken_up, 20)
    call()
    process.communicate(timeout=60)

    assert edited.report.calls() == {"one": 1, "two": 2}
