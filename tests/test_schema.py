from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from tach import config, config_targets, metrics, notifier_options, notifiers
from tach.config import ConfigErrors, load

ROOT = Path(__file__).parent.parent
SCHEMA = json.loads((ROOT / "tach" / "tach.schema.json").read_text())
SCHEMA_OF_TARGET = SCHEMA["definitions"]["target"]["anyOf"][1]
VALIDATOR = Draft7Validator(SCHEMA)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def parser_accepts(text: str) -> bool:
    """Whether the parser makes a plan of the file."""
    Path("tach.yaml").write_text(text)
    try:
        load("tach.yaml")
    except ConfigErrors:
        return False
    return True


def schema_accepts(text: str) -> bool:
    """Whether an editor finds nothing wrong with the file."""
    return VALIDATOR.is_valid(yaml.safe_load(text))


LOG = "notifiers: {l: {type: log}}\n"
RIGHT = [
    "targets: {}",
    "targets:\nnotifiers:\ndefaults:\nprefix:",
    "x-any: [1, {a: b}]\ntargets: {a: p:f}",
    "x-a: &a {metrics: [count]}\ntargets: {a: {<<: *a, function: 'p.q:C.f'}}",
    "prefix: nova.{host}.{program}-{pid}",
    "prefix: ''",
    "prefix: 12",
    "interval: 500ms",
    "interval: 0.1",
    "interval: '2'",
    "interval: ${TACH_UNSET:-1s}",
    "exit_timeout: 0",
    "exit_timeout: 365d",
    "notifiers: {a: {type: console}}",
    "notifiers: {a: {type: console, every: 10s, format: json, file: out.json}}",
    "notifiers: {a: {type: console, every: null, file: ~}}",
    "notifiers: {a: {type: statsd, host: on, port: 1, timeout: 1.5, max_packet: 1KiB}}",
    "notifiers: {a: {type: statsd, path: /run/s, transport: unix, max_lines: 100}}",
    "notifiers: {a: {type: statsd, port: '${TACH_UNSET:-1}', resolve_every: 5m}}",
    "notifiers: {a: {type: prometheus, port: 0, interval: 15s, buckets: [0.1, 1, 1m]}}",
    "notifiers: {a: {type: prometheus, textfile: a.prom, quantiles: [0.5], labels: {b: 1}}}",
    "notifiers: {a: {type: prometheus, port: 9464, host: '::', strip: 'n.{host}', labels: }}",
    "notifiers: {a: {type: otlp}}",
    "notifiers: {a: {type: otlp, endpoint: 'https://b/c', headers: {d: e}, compression: none}}",
    "notifiers: {a: {type: otlp, temporality: delta, interval: 1m, resource: {b.c: 1}, service: }}",
    "notifiers: {a: {type: statsd, dialect: dogstatsd, tags: {b: c}, distributions: no, strip: d}}",
    "notifiers: {1: {type: console}}\ntargets: {a: {function: 'p:f', notifiers: [1]}}",
    "defaults: {metrics: timing, notifiers: console}",
    "defaults: {metrics: [timing, count, exceptions], notifiers: [console]}",
    "include: celery",
    "include: [oslo-messaging, kombu-stamp]",
    "include:",
    "propagate: true",
    "propagate: '${TACH_UNSET:-no}'",
    "reload: true",
    "reload: '${TACH_UNSET:-no}'",
    "targets: {a: {function: 'p:f', queued: 'args.incoming[0].stopwatch'}}",
    "targets: {a: {function: 'p:f', queued: [args.a, self.b], stamp: 'kwargs.c[d]'}}",
    "targets: {a: {function: 'p:f', metrics: service}}",
    "targets: {a.b-c: 'p.q.r:C.D.f', größe: 'p:größe'}",
    "targets: {a: {function: 'p:f', metrics: count, ignore: KeyError, enabled: false}}",
    "targets: {a: {function: 'p:f', ignore: [StopIteration, 'p.q:C.D'], enabled: yes}}",
    "targets: {a: {function: 'p:f', ignore: [], enabled: '${TACH_UNSET:-no}'}}",
    "targets: {a: '${TACH_UNSET:-p}:f'}",
    "publisher_id: compute.{host}",
    "publisher_id: 1",
    "redact: [ssn, 1]",
    "redact: ssn",
    "redact: []",
    "redact:",
    "spool:",
    "spool: {directory: /var/spool/s, max_size: 1MiB, max_age: 1h, fsync: always}",
    "spool: {max_size: 65536, max_age: 1, fsync: 0}",
    "spool: {fsync: 500ms, max_size: '${TACH_UNSET:-1MiB}', directory: on}",
    "notifiers: {a: {type: log}}",
    "notifiers: {a: {type: log, file: a.log, level: debug, logger: 1}}",
    "notifiers: {a: {type: debug, notifier: {type: statsd, host: b}, file: a.log, level: info}}",
    "notifiers: {a: {type: debug, notifier: {type: debug, notifier: {type: log}}}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events}}",
    LOG + "targets: {a: {function: 'p:f', metrics: [events, usage], event: b.c, period: hour}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, payload: {b: args.c, d: 'args[-1]'}}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, payload: {b: self, d: result.é}}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, payload: {b: 'kwargs[c d].e[0]'}}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, tenant: \"args['c'].d\"}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, payload: , event: 1}}",
]
WRONG = [
    "- a",
    "text",
    "intervall: 1s",
    "interval: fast",
    "interval: 0.05",
    "interval: -1s",
    "interval: [1s]",
    "interval:",
    "interval: 40000000",
    "exit_timeout: -1",
    "exit_timeout: true",
    "prefix: [a]",
    "prefix: a.{hots}",
    "prefix: a..b",
    "prefix: a.",
    "prefix: a}",
    "notifiers: [a]",
    "notifiers: {a: console}",
    "notifiers: {a: }",
    "notifiers: {a: {host: b}}",
    "notifiers: {a: {type: [b]}}",
    "notifiers: {a: {type: console, port: 1}}",
    "notifiers: {a: {type: console, format: xml}}",
    "notifiers: {a: {type: console, every: soon}}",
    "notifiers: {a: {type: console, file: ''}}",
    "notifiers: {a: {type: statsd, host: }}",
    "notifiers: {a: {type: debug}}",
    "notifiers: {a: {type: debug, notifier: statsd}}",
    "notifiers: {a: {type: debug, notifier: {host: b}}}",
    "notifiers: {a: {type: debug, notifier: {type: console}}}",
    "notifiers: {a: {type: debug, notifier: {type: statsd, file: b}}}",
    "notifiers: {a: {type: debug, notifier: {type: statsd}, level: loud}}",
    "notifiers: {a: {type: statsd, host: [b]}}",
    "notifiers: {a: {type: statsd, port: '8125'}}",
    "notifiers: {a: {type: statsd, port: 70000}}",
    "notifiers: {a: {type: statsd, port: 1.5}}",
    "notifiers: {a: {type: statsd, transport: smtp}}",
    "notifiers: {a: {type: statsd, max_packet: 1Kilo}}",
    "notifiers: {a: {type: statsd, hots: b}}",
    "notifiers: {a: {type: prometheus}}",
    "notifiers: {a: {type: prometheus, port: -1}}",
    "notifiers: {a: {type: prometheus, textfile: a.txt}}",
    "notifiers: {a: {type: prometheus, port: 0, buckets: [1, 1]}}",
    "notifiers: {a: {type: prometheus, port: 0, quantiles: [99]}}",
    "notifiers: {a: {type: prometheus, port: 0, labels: {le: b}}}",
    "notifiers: {a: {type: prometheus, port: 0, labels: {b-c: d}}}",
    "notifiers: {a: {type: otlp, endpoint: 'b:4318'}}",
    "notifiers: {a: {type: otlp, headers: {b c: d}}}",
    "notifiers: {a: {type: otlp, temporality: sum}}",
    "notifiers: {a: {type: otlp, interval: 0}}",
    "notifiers: {a: {type: statsd, dialect: datadog}}",
    "notifiers: {a: {type: statsd, dialect: dogstatsd, tags: {target: b}}}",
    "notifiers: {a: {type: statsd, dialect: dogstatsd, distributions: 1}}",
    "defaults: [timing]",
    "defaults: {enabled: true}",
    "defaults: {metrics: []}",
    "defaults: {metrics: {timing: 1}}",
    "targets: [p:f]",
    "targets: {a: }",
    "targets: {a: [p:f]}",
    "targets: {a: 1}",
    "targets: {a: p.f}",
    "targets: {a: 'p*q:'}",
    "targets: {a: 'p:'}",
    "targets: {a: '1p:f'}",
    "targets: {a..b: 'p:f'}",
    "targets: {'': 'p:f'}",
    "targets: {'a.{arg.b}': 'p:f'}",
    "targets: {a: {metrics: [timing]}}",
    "include: {celery: 1}",
    "include: [[celery]]",
    "include: oslo",
    "propagate: 1",
    "propagate: always",
    "reload: 1",
    "reload: often",
    "targets: {a: {function: 'p:f', queued: result.a}}",
    "targets: {a: {function: 'p:f', queued: []}}",
    "targets: {a: {function: 'p:f', queued: sent}}",
    "targets: {a: {function: 'p:f', queued: {a: args.b}}}",
    "targets: {a: {function: 'p:f', stamp: kwargs.headers}}",
    "targets: {a: {function: 'p:f', stamp: result.a.b}}",
    "targets: {a: {function: 'p:f', stamp: [args.a.b]}}",
    "targets: {a: {function: }}",
    "targets: {a: {function: 'p:f', metrics: }}",
    "targets: {a: {function: 'p:f', metrics: []}}",
    "targets: {a: {function: 'p:f', metrics: [[timing]]}}",
    "targets: {a: {function: 'p:f', notifiers: []}}",
    "targets: {a: {function: 'p:f', ignore: p.C}}",
    "targets: {a: {function: 'p:f', ignore: [1]}}",
    "targets: {a: {function: 'p:f', enabled: 1}}",
    "targets: {a: {function: 'p:f', enabled: 'true'}}",
    "publisher_id: ''",
    "publisher_id: a.{pid}",
    "publisher_id:",
    "redact: {a: b}",
    "redact: [[a]]",
    "spool: [a]",
    "spool: {size: 1MiB}",
    "spool: {directory: ''}",
    "spool: {directory: }",
    "spool: {max_size: 1KiB2}",
    "spool: {max_size: 65535}",
    "spool: {max_age: 0}",
    "spool: {fsync: -1}",
    "spool: {fsync: often}",
    "spool: {fsync: [always]}",
    "notifiers: {a: {type: log, file: ''}}",
    "notifiers: {a: {type: log, level: error}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, event: b c}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, event: b.}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, event: }}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, payload: [a]}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, payload: {b: }}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, payload: {b: args}}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, payload: {b: arg.c}}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, payload: {b: args.c()}}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, payload: {b: 'args[]'}}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, payload: {b: 'args.1'}}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, payload: {duration: args.c}}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, tenant: [args.c]}}",
    LOG + "targets: {a: {function: 'p:f', metrics: events, period: week}}",
]
# What takes more than a schema: other entries of the file, the machine, or what is installed.
ONLY_THE_PARSER_KNOWS = [
    "targets: {a: 'p:f', a: 'p:g'}",
    "include: ./nowhere.yaml",
    "targets: {a: {function: 'p:f', metrics: queued}}",
    "targets: {a: {function: 'p:f', queued: args.b, increment: 1}}",
    "targets: {a b: 'p:f', a_b: 'p:g'}",
    "targets: {a: {function: 'p:f', metrics: timming}}",
    "targets: {a: {function: 'p:f', notifiers: nobody}}",
    "targets: {a: {function: 'p:f', ignore: KeyErorr}}",
    "targets: {a: '${TACH_UNSET}:f'}",
    "targets: {a: {function: 'p:f', event: b}}",
    "targets: {a: {function: 'p:f', payload: {b: args.c}}}",
    LOG + "targets: {a: {function: 'p:f', metrics: usage}}",
    "targets: {a: {function: 'p:f', metrics: events}}",
    f"{LOG}targets: {{a: {{function: 'p:f', metrics: events, event: {'x' * 201}}}}}",
    "notifiers: {a: {type: statd}}",
    "notifiers: {a: {type: statsd, transport: unix}}",
    "notifiers: {a: {type: prometheus, port: 0, buckets: [2, 1]}}",
    "notifiers: {a: {type: prometheus, port: , textfile: }}",
    "notifiers: {a: {type: statsd, tags: {b: c}}}",
    "notifiers: {a: {type: statsd, port: '${TACH_UNSET:-high}'}}",
]


@pytest.mark.parametrize("text", RIGHT)
def test_what_is_right_is_right_for_both(text: str) -> None:
    """The parser and the schema accept the same files."""
    assert (parser_accepts(text), schema_accepts(text)) == (True, True)


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_wrong_for_both(text: str) -> None:
    """The parser and the schema refuse the same files."""
    assert (parser_accepts(text), schema_accepts(text)) == (False, False)


@pytest.mark.parametrize("text", ONLY_THE_PARSER_KNOWS)
def test_the_schema_is_never_stricter_than_it_can_know(text: str) -> None:
    """What depends on more than the shape of the file is left to the parser."""
    assert (parser_accepts(text), schema_accepts(text)) == (False, True)


def test_the_schema_is_a_schema() -> None:
    """An editor can use it."""
    Draft7Validator.check_schema(SCHEMA)


def test_the_example_fits_the_schema() -> None:
    """The example that names the schema is right by it, and names it by a path that exists."""
    text = (ROOT / "tach.yaml.example").read_text()
    first = text.splitlines()[0]

    assert schema_accepts(text)
    assert (ROOT / first.partition("$schema=")[2]).samefile(ROOT / "tach" / "tach.schema.json")


def test_the_schema_has_the_keys_of_the_parser() -> None:
    """A key that the parser knows is in the schema, and no other."""
    assert set(SCHEMA["properties"]) == set(config.KEYS)
    assert set(SCHEMA["properties"]["defaults"]["properties"]) == set(config_targets.DEFAULTS_KEYS)
    assert set(SCHEMA_OF_TARGET["properties"]) == set(config_targets.TARGET_KEYS)


def test_the_schema_has_the_built_in_types() -> None:
    """Editors can complete the metric types and the notifier types."""
    definitions = SCHEMA["definitions"]
    types = definitions["notifier"]["properties"]["type"]["anyOf"][0]["enum"]

    assert set(definitions["metric"]["anyOf"][0]["enum"]) == set(metrics.BUILTIN)
    assert set(types) == set(notifiers.BUILTIN)


@pytest.mark.parametrize("name", notifiers.BUILTIN)
def test_the_schema_has_the_options_of_the_notifiers(name: str) -> None:
    """The options of a built-in notifier are the keyword arguments of its class."""
    options, _ = notifier_options.parameters(notifiers.load(name))

    assert set(SCHEMA["definitions"][name]["properties"]) == {"type", *options}


def test_the_example_shows_every_key_and_option() -> None:
    """Whatever the schema allows stands in the example, if only in a comment."""
    text = (ROOT / "tach.yaml.example").read_text()
    keys = [*SCHEMA["properties"], *SCHEMA_OF_TARGET["properties"]]
    keys += [key for name in notifiers.BUILTIN for key in SCHEMA["definitions"][name]["properties"]]

    assert [key for key in keys if f"{key}:" not in text] == []


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    """One of some right and wrong values."""
    return st.sampled_from(values)


NAMES = one_of("timing", ["count"], ["timing", "exceptions"], [], None, {}, [["count"]])
TARGETS = st.fixed_dictionaries(
    {},
    optional={
        "function": one_of(
            "p:f", "p.q:C.f", "p.f", "p:*", "p.*:C.?*", "${TACH_UNSET:-p}:f", None, [], 1
        ),
        "metrics": NAMES,
        "notifiers": one_of("n", ["n"], [], None, {"n": 1}),
        "ignore": one_of("KeyError", ["p:C", "OSError"], [], "p.C", 1, None, {}),
        "enabled": one_of(True, False, "true", 1, None, []),
        "increment": one_of(1, -2.5, "x", None, [], "${TACH_UNSET:-1}"),
        "value": one_of(
            "len(result)", "args.n", "len(n)", {"of": "result.n", "as": "gauge"}, {"as": "x"}, None
        ),
        "outermost": one_of(True, "x"),
        "queued": one_of("args.a", ["args.a", "self"], "result.a", [], None, 1),
        "stamp": one_of("args.a.b", "args.a", "self.a[b]", ["args.a.b"], None),
        "rebind": one_of(False, 1),
    },
)
NOTIFIERS = st.fixed_dictionaries(
    {"type": one_of("console", "statsd")},
    optional={
        "every": one_of(1, "10s", "1.5h", None, "x", []),
        "format": one_of("json", "table", "xml", None, 1),
        "host": one_of("a", 1, True, None, []),
        "port": one_of(1, 65535, 0, "1", 1.5, None, {}),
        "timeout": one_of(1, "500ms", "x", None, [1]),
        "max_packet": one_of(1432, "1KiB", "1KB", "1K", 1.5, None),
    },
)
FILES = st.fixed_dictionaries(
    {"notifiers": st.fixed_dictionaries({"n": NOTIFIERS | one_of({"type": "console"})})},
    optional={
        "prefix": one_of("a", "a.{host}", "{pid}", "", "a.", "{x}", "{", None, 1, []),
        "interval": one_of(1, 0.1, 0.01, "1s", "5x", None, True, []),
        "exit_timeout": one_of(0, "0s", -1, "1d", None, {}),
        "defaults": st.fixed_dictionaries({}, optional={"metrics": NAMES}) | one_of(None, [], 1),
        "targets": st.dictionaries(
            one_of("a", "b.c", "d e", "f..g", "{h}"),
            TARGETS | one_of("p:f", "p", None, []),
            max_size=2,
        ),
        "x-y": one_of(1, None),
        "propagate": one_of(True, False, 1, None),
        "reload": one_of(True, False, 1, None),
        "include": one_of("celery", ["nameko"], "oslo", None, [], {}),
        "publisher_id": one_of("a.{host}", "{pid}", "", 1, None),
        "redact": one_of("a", ["a", 1], [], None, {}),
        "spool": one_of({"max_size": "1MiB"}, {"fsync": "always"}, {"fsync": "x"}, None, 1),
        "event": one_of("a"),
    },
)


@settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(FILES)
def test_parser_and_schema_agree(file: dict[str, Any]) -> None:
    """Whatever is put together from right and wrong pieces, both say the same."""
    text = yaml.safe_dump(file)

    assert parser_accepts(text) == schema_accepts(text), text


def test_the_reference_is_that_of_the_schema() -> None:
    """docs/configuration.md is what tools/reference.py makes of the schema."""
    import reference

    assert (ROOT / "docs/configuration.md").read_text() == reference.page(SCHEMA)
