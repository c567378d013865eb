from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tach import metrics, notifiers
from tach.histogram import Histogram
from tach.samples import Activity, Notifier

REGISTRIES = pytest.mark.parametrize("registry", [metrics, notifiers], ids=["metrics", "notifiers"])
NOTHING = Activity(Histogram(), 0, 0, 0, {})
BUSY = Activity(
    Histogram.of([1_000_000, 2_000_000, 6_000_000]),
    errors=2,
    cancelled=1,
    ignored=4,
    errors_by_type={"KeyError": 1, "ValueError": 1},
)


def measured(metric: str, activity: Activity) -> dict[str, tuple[str, object]]:
    """What a metric type reports, by suffix."""
    found = metrics.load(metric)().measurements(activity)
    return {suffix: (kind, value) for suffix, kind, value in found}


def test_timing_is_a_histogram_in_milliseconds() -> None:
    """`timing` reports the durations as `.duration`, in milliseconds."""
    [(suffix, kind, durations)] = metrics.load("timing")().measurements(BUSY)
    assert (suffix, kind) == ("duration", "histogram")
    assert isinstance(durations, Histogram)
    assert durations.count == 3
    assert durations.sum == pytest.approx(9.0)
    assert durations.max == pytest.approx(6.0)


def test_timing_of_no_call_is_an_empty_distribution() -> None:
    """Where no call ended, `.duration` is a histogram of nothing."""
    kind, durations = measured("timing", NOTHING)["duration"]
    assert (kind, durations.count) == ("histogram", 0)


def test_count_is_the_calls_that_ended() -> None:
    """`count` reports every call that ended as `.calls`, 0 included."""
    assert measured("count", BUSY) == {"calls": ("counter", 3)}
    assert measured("count", NOTHING) == {"calls": ("counter", 0)}


def test_exceptions_are_counted_in_all_and_by_class() -> None:
    """`exceptions` reports errors, the errors of each class, cancelled and ignored calls."""
    assert measured("exceptions", BUSY) == {
        "errors": ("counter", 2),
        "errors.by_type.KeyError": ("counter", 1),
        "errors.by_type.ValueError": ("counter", 1),
        "cancelled": ("counter", 1),
        "ignored": ("counter", 4),
    }


def test_no_exception_is_zero() -> None:
    """`exceptions` reports zeros too; only classes that were never raised are absent."""
    assert measured("exceptions", NOTHING) == {
        "errors": ("counter", 0),
        "cancelled": ("counter", 0),
        "ignored": ("counter", 0),
    }


@REGISTRIES
def test_every_built_in_name_loads_a_documented_class(registry) -> None:
    """A built-in name gives a class whose docstring begins with a sentence in one line."""
    for name in registry.BUILTIN:
        lines = registry.load(name).__doc__.splitlines()
        assert lines[0].endswith(".")
        assert lines[1:2] in ([], [""])


def test_every_built_in_notifier_keeps_the_contract() -> None:
    """With no more options than it needs each is a `Notifier`, and they pass its own check."""
    needed = {
        "amqp": {"url": "amqp://127.0.0.1", "exchange": "nova"},
        "debug": {"notifier": {"type": "log"}},
        "prometheus": {"port": 0},
    }
    for name in notifiers.BUILTIN:
        kind, options = notifiers.load(name), needed.get(name, {})
        assert isinstance(kind(**options), Notifier)
        kind.check(**options)


@REGISTRIES
def test_names_are_sorted_and_hold_the_built_in_ones(registry) -> None:
    """`names` lists all that can be used, in order, each once."""
    names = registry.names()
    assert names == sorted(set(names))
    assert set(registry.BUILTIN) <= set(names)


@REGISTRIES
def test_an_unknown_name_is_a_key_error(registry) -> None:
    """What is neither built in nor an entry point is a KeyError."""
    with pytest.raises(KeyError):
        registry.load("no-such-plug-in")


@REGISTRIES
def test_an_entry_point_of_another_package_is_found(registry, tmp_path, monkeypatch) -> None:
    """An installed distribution's entry point is listed and loaded like a built-in name."""
    (tmp_path / "their_plugin.py").write_text("class Theirs:\n    'Theirs.'\n")
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\ntheirs = their_plugin:Theirs\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "theirs" in registry.names()
    assert registry.load("theirs").__name__ == "Theirs"


@REGISTRIES
def test_the_list_of_built_in_names_can_be_read_alone(registry) -> None:
    """setup.py reads BUILTIN by running the file, where nothing of tach can be imported."""
    program = f"import runpy; print(runpy.run_path({registry.__file__!r})['BUILTIN'])"
    found = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(registry.BUILTIN)
    assert runpy.run_path(str(Path(registry.__file__)))["BUILTIN"] == registry.BUILTIN


def test_loading_a_built_in_name_imports_just_its_module() -> None:
    """Start-up is quick: neither importlib.metadata nor the other plug-ins are imported."""
    program = (
        "import sys, tach.metrics, tach.notifiers;"
        "tach.metrics.load('count'); tach.notifiers.load('console');"
        "print(*sorted(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=Path(metrics.__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(found.stdout.split())
    assert {"tach.metrics.count", "tach.notifiers.console"} <= modules
    unwanted = {"importlib.metadata", "rich", "statsd", "tach.metrics.timing"}
    assert modules.isdisjoint(unwanted)
