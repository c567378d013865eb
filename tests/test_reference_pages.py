"""The reference is complete: each metric, each series, each key, each sub-command has its place."""

from __future__ import annotations

import re

import pytest
from pages import ROOT

from tach import cli, config, config_targets, help, metrics, notifiers, registry
from tach.histogram import Histogram
from tach.samples import Activity, Quantity, Running

METRICS_PAGE = (ROOT / "docs" / "metrics.md").read_text()
REFERENCE = (ROOT / "docs" / "configuration.md").read_text()
README = (ROOT / "README.md").read_text()


def rows(text: str) -> str:
    """The first cells of all tables."""
    return "\n".join(re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE))


@pytest.mark.parametrize("name", metrics.BUILTIN)
def test_each_metric_is_in_the_reference(name: str) -> None:
    """It has a row in the table of docs/metrics.md, a heading there, and a row in the README."""
    headings = "\n".join(re.findall(r"^## (.+)$", METRICS_PAGE, re.MULTILINE))

    assert f"`{name}`" in rows(METRICS_PAGE)
    assert re.search(rf"\b{name}\b", headings)
    assert f"`{name}`" in rows(README)


@pytest.mark.parametrize("name", metrics.BUILTIN)
def test_each_series_is_in_the_reference(name: str) -> None:
    """Whatever suffix a metric type makes is in docs/metrics.md."""
    some = Quantity(Histogram.of([1]))
    numbers = dict.fromkeys(
        ("cpu", "running", "waiting", "max_run", "yields", "own", "queued"), some
    )
    numbers |= dict.fromkeys(("service", "total", "value", "increment"), some)
    activity = Activity(
        Histogram.of([1]), 1, 1, 1, {"Boom": 1}, aborted=1, quantities=numbers, running=Running(1)
    )
    loaded = registry.load(metrics.GROUP, metrics.BUILTIN, name)
    try:
        metric = loaded()
    except TypeError:
        pytest.skip("it needs the options of a target")
    made = [suffix.replace(".Boom", ".<Class>") for suffix, _, _ in metric.measurements(activity)]

    assert [suffix for suffix in made if f"`.{suffix}`" not in rows_of_series()] == []


def rows_of_series() -> str:
    """The second cells of the table of metric types."""
    table = METRICS_PAGE.partition("| type | series | kind |\n")[2].partition("\n\n")[0]
    return "\n".join(row.split("|")[2] for row in table.splitlines())


@pytest.mark.parametrize("name", notifiers.BUILTIN)
def test_each_notifier_is_in_the_readme(name: str) -> None:
    """It has a row in the table of the README; docs/notifiers.md has a test of its own."""
    assert f"`{name}`" in rows(README)


@pytest.mark.parametrize("name", cli.SUBCOMMANDS)
def test_each_subcommand_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is in the usage of tach, and its help ends with examples of just that sub-command."""
    assert re.search(rf"^       tach (\w+ \| )?{name}\b", cli.USAGE, re.MULTILINE)
    assert cli.main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    examples = re.findall(r"^  (tach .+)$", shown.partition("\nexamples:\n")[2], re.MULTILINE)

    assert shown.startswith("usage: tach")
    assert any(example.split()[1] == name for example in examples)
    options = {option for example in examples for option in re.findall(r" (--[\w-]+)", example)}
    explained = shown.partition("\nexamples:\n")[0]
    assert options <= set(re.findall(r"(--[\w-]+)", explained)) | {"--save"}


def test_each_example_of_the_help_belongs_to_a_subcommand() -> None:
    """None is left of a sub-command that is no more."""
    assert help.EXAMPLES.keys() == cli.SUBCOMMANDS.keys()


@pytest.mark.parametrize("key", [*config.KEYS, *config_targets.TARGET_KEYS])
def test_each_key_is_explained(key: str) -> None:
    """Beside its row in the reference, made of the schema, some page says what it is for."""
    pages_of_prose = {*(ROOT / "docs").glob("*.md")} - {ROOT / "docs" / "configuration.md"}

    assert any(re.search(rf"\b{key}:|`{key}`", page.read_text()) for page in pages_of_prose)


def test_each_row_of_the_reference_says_something() -> None:
    """No key and no option stands there by its name alone."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| *(.*) \|$", REFERENCE, re.MULTILINE)

    assert [name for name, says in rows if not re.sub(r"One of .*", "", says)] == []
    assert len(rows) > 100


def test_the_schema_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`tach --schema` prints the file that the package holds, for an editor."""
    assert cli.main(["--schema"]) == 0
    assert capsys.readouterr().out == (ROOT / "tach" / "tach.schema.json").read_text()


def test_the_package_and_the_tools_support_the_same_pythons() -> None:
    """The classifiers are those that `make test` looks for."""
    import pythons

    found = re.findall(
        r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "setup.py").read_text()
    )
    assert tuple(found) == pythons.SUPPORTED
