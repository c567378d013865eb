from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tach import compiled, config_includes
from tach.config import ConfigErrors, load
from tach.plan import Plan

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plan_of(text: str) -> Plan:
    """The plan that a configuration makes."""
    Path("tach.yaml").write_text(text)
    return load("tach.yaml")


def errors_of(text: str) -> list[str]:
    """All that is wrong with a configuration, paths from here."""
    with pytest.raises(ConfigErrors) as raised:
        plan_of(text)
    return [each.replace(f"{os.getcwd()}/", "") for each in raised.value.errors]


@pytest.mark.parametrize("name", config_includes.names())
def test_what_tach_brings_along_is_right(name: str) -> None:
    """Each can be included alone; its targets know their file and line, and survive the run."""
    plan = plan_of(f"include: {name}")

    file = Path(config_includes.DIRECTORY, f"{name}.yaml")
    lines = file.read_text().splitlines()
    assert plan.targets
    assert plan.included == (str(file),)
    for target in plan.targets:
        assert target.file == str(file)
        assert target.function in lines[target.line]
    assert Plan.from_json(plan.to_json()) == plan


def test_all_of_it_can_be_included_at_once() -> None:
    """No two of them are in each other's way."""
    names = config_includes.names()

    assert names == ["celery", "kombu-stamp", "nameko", "oslo-messaging"]
    assert len(plan_of(f"include: {names}").included) == 4


def test_the_package_has_them() -> None:
    """They are among the data of the installed package."""
    pytest.importorskip("setuptools")
    root = Path(__file__).parent.parent
    code = "import setuptools; setuptools.setup = lambda **given: print(given['package_data'])"
    command = [sys.executable, "-c", f"{code}; import runpy; runpy.run_path('setup.py')"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)

    assert "includes/*.yaml" in yaml.safe_load(done.stdout)["tach"], done.stderr


def test_an_rpc_server_measures_its_queue() -> None:
    """The targets have the keys that their file gives them, and the metrics that those ask for."""
    [target] = [
        each for each in plan_of("include: oslo-messaging").targets if "rpc.server" in each.name
    ]

    assert target.function == "oslo_messaging.rpc.server:RPCServer._process_incoming"
    assert target.queued == (("args", (0, "incoming"), (1, 0), (0, "stopwatch")),)
    assert target.metrics == ("timing", "count", "exceptions", "queued", "service", "total")
    assert target.max_series == 1000


def test_the_defaults_apply() -> None:
    """Included targets are measured and sent as the configuration says for all."""
    text = """
notifiers: {a: {type: console}, b: {type: console}}
defaults: {metrics: [count], notifiers: [b]}
include: [kombu-stamp]
"""
    [target] = plan_of(text).targets

    assert (target.metrics, target.notifiers) == (("count",), ("b",))


def test_an_own_target_takes_the_place_of_one_of_the_same_name() -> None:
    """It can be measured otherwise, or left out, without a word about the included one."""
    text = """
include: [kombu-stamp, celery]
targets:
  kombu.publish: {function: 'kombu.messaging:Producer._publish', metrics: [count]}
  task.sent: {function: 'celery.app.base:Celery.send_task', enabled: false}
"""
    plan = plan_of(text)

    names = [each.name for each in plan.targets]
    assert names[0] == "kombu.publish"
    assert names.count("kombu.publish") == 1
    assert plan.targets[0].stamp == ()
    assert plan.targets[0].file == ""
    assert "task.sent" not in names
    assert [name for name, _, _ in plan.disabled] == ["task.sent"]


def test_a_file_of_ones_own() -> None:
    """Its path, and those of helpers in it, are relative to the file that names them."""
    Path("sub").mkdir()
    Path("sub/more.yaml").write_text(
        "x-all: &all {metrics: [count]}\n"
        "targets:\n  b: p:g\n  c: {<<: *all, function: 'p:h', helper: './names.py:name'}\n"
    )
    Path("sub/names.py").write_text("def name(): pass\n")

    plan = plan_of("targets: {a: 'p:f'}\ninclude: [sub/more.yaml]")

    assert [(each.name, each.line) for each in plan.targets] == [("a", 1), ("b", 3), ("c", 4)]
    assert plan.targets[2].helper == f"{os.getcwd()}/sub/names.py:name"
    assert plan.included == (f"{os.getcwd()}/sub/more.yaml",)


def test_errors_of_all_files_come_at_once_and_name_theirs() -> None:
    """Each error has the file and the line that it is in, whatever else is wrong elsewhere."""
    Path("more.yaml").write_text(
        "targets:\n  b: {function: 'p:g', metrics: [timming]}\nprefix: a\n"
    )
    Path("other.yaml").write_text("targets: [\n")
    Path("empty.yaml").write_text("x-a: 1\n")

    text = (
        "intervall: 1s\ninclude: [oslo-mesaging, ./more.yaml, ./other.yaml, none.yaml, empty.yaml]"
    )
    errors = errors_of(text)

    syntax = [each for each in errors if each.startswith("other.yaml:")]
    assert len(syntax) == 1
    assert "YAML syntax" in syntax[0]
    assert [each for each in errors if each not in syntax] == [
        "tach.yaml:1: top level: unknown key 'intervall'; did you mean 'interval'?",
        "tach.yaml:2: include: unknown include 'oslo-mesaging'; did you mean 'oslo-messaging'?",
        "tach.yaml:2: include: there is no file 'none.yaml'; "
        "the path is relative to this configuration",
        "more.yaml:2: targets.b: unknown metric 'timming'; did you mean 'timing'?",
        "more.yaml:3: top level: unknown key 'prefix'; known: targets",
        "empty.yaml: top level: there are no targets in it; add targets:",
    ]


def test_two_files_with_the_same_series() -> None:
    """Of included files none comes before the other: the second one is an error, which says so."""
    Path("one.yaml").write_text("targets: {b: 'p:g'}\n")
    Path("two.yaml").write_text("\ntargets: {b: 'p:h'}\n")

    [error] = errors_of("include: [./one.yaml, ./two.yaml]")

    assert error == (
        "two.yaml:2: targets.b: its series 'b' is also that of 'b' on line 1 of one.yaml; "
        "rename one of them"
    )


@pytest.mark.parametrize("value", ["", "[]", "~"])
def test_nothing_to_include(value: str) -> None:
    """An empty key is as good as none."""
    assert plan_of(f"include: {value}").included == ()


@pytest.mark.parametrize("value", ["{a: b}", "[[a]]", "[~]"])
def test_what_is_no_name(value: str) -> None:
    """Only texts can name files."""
    [error] = errors_of(f"include: {value}")

    assert error.startswith("tach.yaml:1: include: expected ")


def test_check_shows_what_is_included(run_tach: Run) -> None:
    """`tach check` lists the targets as if they stood in the file."""
    done = run_tach("include: [celery, kombu-stamp]", options=["check"])

    assert done.returncode == 0, done.stderr
    assert "target task.{args.task}: celery.app.trace:fast_trace_task\n" in done.stdout
    assert "    timing, count, exceptions, queued, service, total -> console\n" in done.stdout
    assert "target kombu.publish: kombu.messaging:Producer._publish\n" in done.stdout


def test_a_kept_configuration_knows_when_an_included_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the launcher has kept counts only while all the files are as they were."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    more, config = Path("more.yaml"), Path("tach.yaml")
    more.write_text("targets: {b: 'p:g'}\n")
    config.write_text("include: ./more.yaml\n")
    for file in (more, config):
        os.utime(file, (1_000_000_000, 1_000_000_000))

    assert list(compiled.load("tach.yaml").agent["targets"]) == ["p"]
    monkeypatch.setattr("tach.config.load", None)
    assert list(compiled.load("tach.yaml").agent["targets"]) == ["p"]  # kept
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    more.write_text("targets: {b: 'q:g'}\n")

    assert list(compiled.load("tach.yaml").agent["targets"]) == ["q"]


def test_secrets_of_an_included_file_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the configuration itself, values of the environment never reach the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("more.yaml").write_text("targets: {b: '${MODULE:-p}:g'}\n")
    Path("tach.yaml").write_text("include: ./more.yaml\n")
    for file in ("more.yaml", "tach.yaml"):
        os.utime(file, (1_000_000_000, 1_000_000_000))

    compiled.load("tach.yaml")

    assert not list(tmp_path.glob("cache/tach/*"))
