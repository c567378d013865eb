from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tach import notifiers, yaml_nodes
from tach.config import ConfigErrors, load
from tach.config_events import HIDDEN
from tach.names import sanitise
from tach.plan import NotifierPlan, Plan, SpoolPlan, TargetPlan

ROOT = Path(__file__).parent.parent
DEFAULT_METRICS = ("timing", "count", "exceptions")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plan_of(text: str | bytes) -> Plan:
    """The plan of a configuration file with this content."""
    Path("tach.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return load("tach.yaml")


def errors_of(text: str | bytes) -> list[str]:
    """The errors of a configuration file with this content, without the name of the file."""
    with pytest.raises(ConfigErrors) as caught:
        plan_of(text)
    assert str(caught.value) == "\n".join(caught.value.errors)
    assert all("\n" not in each and each.startswith("tach.yaml:") for each in caught.value.errors)
    return [each.removeprefix("tach.yaml:") for each in caught.value.errors]


def target(text: str) -> TargetPlan:
    """The only target of a configuration."""
    (found,) = plan_of(text).targets
    return found


# What a configuration means


def test_a_whole_configuration_becomes_a_plan() -> None:
    """Every key arrives in the plan, with units converted and the lines of the entries."""
    plan = plan_of(
        """\
prefix: nova.{host}
interval: 500ms
exit_timeout: 2
publisher_id: shop.{host}
redact: [ssn]
spool: {directory: /var/spool/s, max_size: 1MiB, max_age: 1h, fsync: always}
notifiers:
  statsd: {type: statsd, port: 8126, timeout: 500ms}
  table: {type: console}
  bus: {type: log}
defaults:
  metrics: [timing, count]
  notifiers: [statsd]
targets:
  compute.build: nova.compute.manager:ComputeManager.build
  compute.reboot:
    function: nova.compute.manager:ComputeManager.reboot
    metrics: exceptions
    notifiers: [table, statsd]
    ignore: [StopIteration, "pkg.mod:Outer.Gone"]
  pay:
    function: shop.payments:Gateway.pay
    metrics: [events, usage]
    notifiers: bus
    event: shop.payment
    tenant: args.context.project_id
    period: month
    payload:
      order: args.order.id
      limit: kwargs[limit]
      first: args[0]['a b']
      answer: result
  refund: {function: "shop.payments:refund", metrics: [events], notifiers: [bus]}
"""
    )

    assert plan == Plan(
        file="tach.yaml",
        prefix="nova.{host}",
        interval=0.5,
        exit_timeout=2.0,
        notifiers=(
            NotifierPlan("statsd", "statsd", {"port": 8126, "timeout": 0.5}, 8),
            NotifierPlan("table", "console", {}, 9),
            NotifierPlan("bus", "log", {}, 10, delivers=True),
        ),
        targets=(
            TargetPlan(
                name="compute.build",
                module="nova.compute.manager",
                qualname="ComputeManager.build",
                metrics=("timing", "count"),
                notifiers=("statsd",),
                ignore=(),
                line=15,
            ),
            TargetPlan(
                name="compute.reboot",
                module="nova.compute.manager",
                qualname="ComputeManager.reboot",
                metrics=("exceptions",),
                notifiers=("table", "statsd"),
                ignore=("StopIteration", "pkg.mod:Outer.Gone"),
                line=16,
            ),
            TargetPlan(
                name="pay",
                module="shop.payments",
                qualname="Gateway.pay",
                metrics=("events", "usage"),
                notifiers=("bus",),
                ignore=(),
                line=21,
                event="shop.payment",
                payload={
                    "order": ("args", (0, "order"), (0, "id")),
                    "limit": ("kwargs", (1, "limit")),
                    "first": ("args", (1, 0), (1, "a b")),
                    "answer": ("result",),
                },
                tenant=("args", (0, "context"), (0, "project_id")),
                period="month",
            ),
            TargetPlan(
                name="refund",
                module="shop.payments",
                qualname="refund",
                metrics=("events",),
                notifiers=("bus",),
                ignore=(),
                line=33,
                event="refund",
            ),
        ),
        publisher_id="shop.{host}",
        hide=(*HIDDEN, "ssn"),
        spool=SpoolPlan("/var/spool/s", 1 << 20, 3600.0, 0.0),
        lines=(
            ("prefix", 1),
            ("interval", 2),
            ("exit_timeout", 3),
            ("publisher_id", 4),
            ("redact", 5),
            ("spool", 6),
            ("notifiers", 7),
            ("defaults", 11),
            ("targets", 14),
        ),
    )
    assert Plan.from_json(plan.to_json()) == plan


def test_what_is_not_said_has_a_default() -> None:
    """Without notifiers there is a console; a target has three metrics and every notifier."""
    plan = plan_of("targets: {a: pkg:f}")

    assert plan.prefix == ""
    assert (plan.interval, plan.exit_timeout) == (1.0, 1.0)
    assert plan.notifiers == (NotifierPlan("console", "console", {}, 0),)
    assert plan.targets[0].metrics == DEFAULT_METRICS
    assert plan.targets[0].notifiers == ("console",)
    assert (plan.targets[0].event, plan.targets[0].payload) == ("", {})
    assert (plan.publisher_id, plan.hide) == ("{program}.{host}", HIDDEN)
    assert plan.spool == SpoolPlan("", 1 << 30, 7 * 86400.0, 1.0)

    plan = plan_of("notifiers: {b: {type: statsd}, a: {type: console}}\ntargets: {a: pkg:f}")
    assert plan.targets[0].notifiers == ("b", "a")


@pytest.mark.parametrize("text", ["targets: {}", "targets:", "interval: 2s", "x-nothing: 1"])
def test_no_targets_is_a_way_to_switch_off(text: str) -> None:
    """A configuration without targets is right."""
    assert plan_of(text).targets == ()


def test_a_disabled_target_is_left_out() -> None:
    """`enabled: false` leaves a target out, also from the check for equal names."""
    text = (
        "targets:\n  a b: {function: 'p:f', enabled: false}\n  a_b: {function: 'p:g', enabled: on}"
    )

    assert target(text).function == "p:g"


def test_merge_keys_and_aliases_work() -> None:
    """`<<` gives what the mapping does not say itself; of several, the first wins."""
    text = """\
x-one: &one {metrics: [count], ignore: [KeyError]}
x-two: &two {metrics: [timing], enabled: true}
x-names: &names [console]
targets:
  a:
    <<: [*one, *two]
    function: p:f
    ignore: ValueError
    notifiers: *names
"""
    found = target(text)

    assert (found.metrics, found.ignore, found.notifiers) == (
        ("count",),
        ("ValueError",),
        ("console",),
    )


@pytest.mark.parametrize("name", ["on", "1", "null", "1.5", "2001-01-01", "~", "0x10"])
def test_a_name_is_its_text(name: str) -> None:
    """What YAML would read as a boolean, a number or nothing is a name where a name is expected."""
    assert target(f"targets: {{{name}: 'p:f'}}").name == sanitise(name)
    assert plan_of(f"notifiers: {{{name}: {{type: console}}}}").notifiers[0].name == name
    if name not in ("null", "~"):
        assert plan_of(f"notifiers: {{s: {{type: statsd, host: {name}}}}}").notifiers[
            0
        ].options == {"host": name}


@pytest.mark.parametrize(
    ("name", "series"),
    [
        ("compute.build", "compute.build"),
        ("a b/c:d", "a_b_c_d"),
        ("größe.ß", "gr__e._"),
        ("a-b_C9", "a-b_C9"),
        ("a..b", "a._.b"),
        ("", "_"),
        ("x" * 300, "x" * 200),
        ("x" * 199 + ".y", "x" * 199),
    ],
)
def test_names_are_sanitised_by_one_rule(name: str, series: str) -> None:
    """Letters, digits, - and _ stay, everything else becomes _, components and 200 bytes remain."""
    assert sanitise(name) == series
    assert sanitise(series) == series


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("3ms", None),
        ("10s", 10.0),
        ("1.5s", 1.5),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("1d", 86400.0),
        ("2", 2.0),
        ("0.25", 0.25),
        ("'7'", 7.0),
        ("365d", 31536000.0),
    ],
)
def test_durations_have_units(text: str, seconds: float | None) -> None:
    """A duration is a number with a unit; without one it is seconds."""
    assert plan_of(f"exit_timeout: {text}").exit_timeout == (0.003 if seconds is None else seconds)


def test_variables_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """`${NAME}` and `${NAME:-default}` stand for variables in any value, not in keys."""
    monkeypatch.setenv("STATSD", "stats.example.org")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)
    plan = plan_of(
        """\
prefix: "${EMPTY:-a}.${UNSET:-b}"
interval: ${UNSET:-2s}
notifiers:
  s: {type: statsd, host: "${STATSD}", port: "${UNSET:-8126}"}
targets:
  f: {function: "${EMPTY}p:f", metrics: ["${UNSET:-count}"], enabled: "${UNSET:-true}"}
"""
    )

    assert plan.prefix == "a.b"
    assert plan.interval == 2.0
    assert plan.notifiers[0].options == {"host": "stats.example.org", "port": 8126}
    assert (plan.targets[0].function, plan.targets[0].metrics) == ("p:f", ("count",))
    options = plan_of("notifiers: {c: {type: console, file: 'a$${X}$b'}}").notifiers[0].options
    assert options == {"file": "a${X}$b"}


def test_the_example_is_right() -> None:
    """`tach.yaml.example` holds every key and every option, and is accepted."""
    plan = load(str(ROOT / "tach.yaml.example"))

    types = ["console", "statsd", "statsd", "graphite", "prometheus", "log"]
    assert [each.type for each in plan.notifiers] == types
    assert [each.name for each in plan.targets if not each.file] == [
        "checkout",
        "catalogue.find",
        "checkout.pay",
        "inventory",
        "rpc.{args.method}",
        "jobs",
        "jobs.send",
        "page",
        "cart.add",
    ]


# What is wrong with a configuration


def test_all_errors_are_said_at_once_in_file_order() -> None:
    """Each error is one line: file, line, place, what is wrong, what would be right."""
    text = """\
prefix: nova.{hots}.x
intervall: 2s
interval: 10ms
notifiers:
  statsd: {type: statsd, hots: a}
  other: {type: statd}
defaults:
  metrics: [timing, timming]
  metrics: count
targets:
  compute.build: nova.compute.ComputeManager.build
  a b: pkg.mod:f
  a_b:
    function: pkg.mod:g
    notifiers: [statds]
    metrcs: [count]
"""
    assert errors_of(text) == [
        "1: prefix: unknown placeholder '{hots}'; did you mean '{host}'?",
        "2: top level: unknown key 'intervall'; did you mean 'interval'?",
        "3: interval: must be at least 100ms",
        "5: notifiers.statsd: unknown key 'hots'; did you mean 'host'?",
        "6: notifiers.other: unknown notifier type 'statd'; did you mean 'statsd'?",
        "8: defaults: unknown metric 'timming'; did you mean 'timing'?",
        "9: defaults: duplicate key 'metrics'; the first one is on line 8, remove one of them",
        "11: targets.compute.build: malformed function 'nova.compute.ComputeManager.build'; "
        "did you mean 'nova.compute:ComputeManager.build'?",
        "13: targets.a_b: its series 'a_b' is also that of 'a b' on line 12; rename one of them",
        "15: targets.a_b: unknown notifier 'statds'; did you mean 'statsd'?",
        "16: targets.a_b: unknown key 'metrcs'; did you mean 'metrics'?",
    ]


FUNCTION = "package.module:Class.method"


def event_target(keys: str) -> str:
    """A configuration with one target that has events, and these keys, on line 2."""
    target = f"{{function: 'p:f', metrics: events, {keys}}}"
    return f"notifiers: {{l: {{type: log}}}}\ntargets: {{a: {target}}}"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "interval: fast",
            "1: interval: expected a duration such as 500ms, 10s, 5m, 1h or 1d, got 'fast'",
        ),
        (
            "interval: [1]",
            "1: interval: expected a duration such as 500ms, 10s, 5m, 1h or 1d, got a list",
        ),
        (
            "interval:",
            "1: interval: expected a duration such as 500ms, 10s, 5m, 1h or 1d, got nothing",
        ),
        (
            "interval: .inf",
            "1: interval: expected a duration such as 500ms, 10s, 5m, 1h or 1d, got '.inf'",
        ),
        ("interval: 0", "1: interval: must be at least 100ms"),
        ("interval: 366d", "1: interval: must be at most 365d, got '366d'"),
        ("exit_timeout: -1s", "1: exit_timeout: must not be negative; 0 is not to wait"),
        (
            "prefix: a..b",
            "1: prefix: 'a..b' has an empty component; remove a dot, or put a name beside it",
        ),
        ("prefix: 'a{host'", "1: prefix: unknown placeholder '{'; known: {host}, {program}, {pid}"),
        ("notifiers: [statsd]", "1: notifiers: expected a mapping, got a list"),
        (
            "notifiers: {s: statsd}",
            "1: notifiers.s: expected a mapping such as {type: console}, got 'statsd'",
        ),
        (
            "notifiers: {s: }",
            "1: notifiers.s: the key 'type' is missing; "
            "known: amqp, console, debug, graphite, log, otlp, profile, prometheus, statsd",
        ),
        (
            "notifiers: {s: {type: [a]}}",
            "1: notifiers.s.type: expected a notifier type, got a list",
        ),
        ("defaults: 1", "1: defaults: expected a mapping, got '1'"),
        (
            "defaults: {enabled: no}",
            "1: defaults: unknown key 'enabled'; known: metrics, notifiers",
        ),
        ("targets: x", "1: targets: expected a mapping, got 'x'"),
        (
            "targets: {a: }",
            f"1: targets.a: the key 'function' is missing; add function: {FUNCTION}",
        ),
        (
            "targets: {a: [b]}",
            f"1: targets.a: expected a function such as {FUNCTION} or a mapping, got a list",
        ),
        (
            "targets: {a: {function: {}}}",
            f"1: targets.a.function: expected a function such as {FUNCTION}, got a mapping",
        ),
        (
            "targets: {a: {function: 'p:f', enabled: 2}}",
            "1: targets.a.enabled: expected true or false, got '2'",
        ),
        (
            "targets: {a: {function: 'p:f', enabled: 'true'}}",
            "1: targets.a.enabled: expected true or false, got 'true'",
        ),
        (
            "targets: {a: {function: 'p:f', metrics: {}}}",
            "1: targets.a.metrics: expected a list of metric names, got a mapping",
        ),
        (
            "targets: {a: {function: 'p:f', metrics: [[]]}}",
            "1: targets.a.metrics: expected a metric name, got a list",
        ),
        (
            "targets: {a: {function: 'p:f', metrics: []}}",
            "1: targets.a: an empty list of metrics; "
            "leave the key out for the defaults, or say enabled: false in a target",
        ),
        (
            "targets: {a: {function: 'p:f', metrics: zzz}}",
            "1: targets.a: unknown metric 'zzz'; known: count, cpu, debug, events, exceptions, "
            "increment, inflight, max_run, own, queued, running, service, ...",
        ),
        (
            "targets: {a: {function: 'p:f', notifiers: zzz}}",
            "1: targets.a: unknown notifier 'zzz'; known: console",
        ),
        (
            "targets: {a: {function: 'p:f', ignore: StopIteraton}}",
            "1: targets.a.ignore: 'StopIteraton' is no built-in exception, others are "
            "package.module:Class; did you mean 'StopIteration'?",
        ),
        (
            "targets: {a: {function: 'p:f', ignore: p.Gone}}",
            "1: targets.a.ignore: malformed exception 'p.Gone'; did you mean 'p:Gone'?",
        ),
        ("publisher_id: ''", "1: publisher_id: must not be empty; leave it out"),
        (
            "publisher_id: nova.{hots}",
            "1: publisher_id: unknown placeholder '{hots}'; did you mean '{host}'?",
        ),
        ("redact: {a: b}", "1: redact: expected a list of words, got a mapping"),
        (
            "spool: {max_sise: 1MiB}",
            "1: spool: unknown key 'max_sise'; did you mean 'max_size'?",
        ),
        ("spool: {max_size: 1KiB}", "1: spool.max_size: must be at least 64KiB"),
        (
            "spool: {max_size: much}",
            "1: spool.max_size: expected a whole number or a size such as 64KiB, 1MiB or 1GB, "
            "got 'much'",
        ),
        ("spool: {max_age: 0}", "1: spool.max_age: must be at least 1s"),
        ("spool: {fsync: -1s}", "1: spool.fsync: must be at least 0s"),
        (
            "spool: {fsync: allways}",
            "1: spool.fsync: expected a duration such as 500ms, 10s, 5m, 1h or 1d, or always, "
            "got 'allways'",
        ),
        ("spool: {directory: ''}", "1: spool.directory: must not be empty; leave the key out"),
        (
            "notifiers: {l: {type: log, file: ''}}",
            "1: notifiers.l: file must not be empty; leave it out for the sender's log",
        ),
        (
            event_target("payload: {b: arg.uuid}"),
            "2: targets.a.payload.b: malformed path 'arg.uuid'; did you mean 'args.uuid'?",
        ),
        (
            event_target("payload: {b: args.c()}"),
            "2: targets.a.payload.b: malformed path 'args.c()'; write it as args.instance.uuid",
        ),
        (
            event_target("payload: {b: args}"),
            "2: targets.a.payload.b: malformed path 'args'; write it as args.instance.uuid",
        ),
        (
            event_target("payload: {b: }"),
            "2: targets.a.payload.b: expected a path such as args.instance.uuid, got nothing",
        ),
        (
            event_target("payload: [args.b]"),
            "2: targets.a.payload: expected a mapping, got a list",
        ),
        (
            event_target("payload: {duration: args.b}"),
            "2: targets.a.payload: 'duration' is what tach itself tells; choose another name",
        ),
        (
            event_target("tenant: context.project_id"),
            "2: targets.a.tenant: malformed path 'context.project_id'; "
            "known: args, kwargs, self, result",
        ),
        (
            event_target("period: days"),
            "2: targets.a.period: unknown period 'days'; did you mean 'day'?",
        ),
        (
            event_target("event: shop order"),
            "2: targets.a.event: malformed event type 'shop order'; write it as shop_order",
        ),
        (
            "targets: {a: {function: 'p:f', metrics: events}}",
            "1: targets.a: its events go nowhere: none of its notifiers can deliver events; "
            "add one that can, such as log",
        ),
        (
            "targets: {a: {function: 'p:f', metrics: [count, usage]}}",
            "1: targets.a: usage sums up what events report, and there are none; "
            "add events to its metrics",
        ),
        (
            "targets: {a: {function: 'p:f', payload: {b: args.c}}}",
            "1: targets.a: 'payload' is about events, and there are none; "
            "add events to its metrics",
        ),
        (
            "targets: {a.: 'p:f'}",
            "1: targets.a.: the name 'a.' has an empty component; "
            "remove a dot, or put a name beside it",
        ),
        (
            "targets: {'a.{arg.x}': 'p:f'}",
            "1: targets.a.{arg.x}: malformed placeholder {arg.x}; did you mean '{args.x}'?",
        ),
        (
            "targets: {'a.{args.x': 'p:f'}",
            "1: targets.a.{args.x: unbalanced braces in 'a.{args.x'; "
            "write placeholders as {args.method}",
        ),
        (
            "targets: {a: {function: 'p:f', exclude: b}}",
            "1: targets.a: 'exclude' subtracts from a wildcard, and there is none; remove it",
        ),
        (
            "targets: {a: {function: 'p:f', max_series: 5}}",
            "1: targets.a: 'max_series' limits names made of calls, and there are none; remove it",
        ),
        (
            "targets: {'a.{args.b}': {function: 'p:f', max_series: 0}}",
            "1: targets.a.{args.b}.max_series: expected a whole number from 1 to 100000, got '0'",
        ),
        (
            "targets: {'a.{args.b}': {function: 'p:f', helper: 'p:h'}}",
            "1: targets.a.{args.b}: a name with placeholders and 'helper' both name its calls; "
            "keep one of them",
        ),
        (
            "targets: {'a.{result.b}': {function: 'p:f', metrics: inflight}}",
            "1: targets.a.{result.b}: inflight needs a name that is known when a call begins; "
            "make the name of arguments only, or drop inflight",
        ),
        (
            "notifiers: {n: {type: log}}\n"
            "targets: {'a.{args.b}': {function: 'p:f', metrics: events}}",
            "2: targets.a.{args.b}: its events need a type: a name with placeholders is none; "
            "add event: such as compute.instance.reboot",
        ),
        (
            "targets: {a: {function: 'p:f', metrics: value}}",
            "1: targets.a: the metric value needs to know what of; add value: len(result)",
        ),
        (
            "targets: {a: {function: 'p:f', metrics: [timing, increment]}}",
            "1: targets.a: the metric increment needs to know what of; add increment: 1",
        ),
        (
            "targets: {a: {function: 'p:f', increment: much}}",
            "1: targets.a.increment: expected a number, got 'much'",
        ),
        (
            "targets: {a: {function: 'p:f', value: {of: result.n, as: gaug}}}",
            "1: targets.a.value.as: unknown kind 'gaug'; did you mean 'gauge'?",
        ),
        (
            "targets: {a: {function: 'p:f', value: len(n)}}",
            "1: targets.a.value: malformed value 'len(n)'; write it as len(args.items)",
        ),
        (
            "targets: {a: {function: 'p:f', value: {as: gauge}}}",
            "1: targets.a.value: the key 'of' is missing; add of: len(result)",
        ),
        (
            "targets: {a: {function: 'p:f', helper: 'no colon'}}",
            "1: targets.a.helper: malformed helper 'no colon'; "
            "write it as package.module:Class.method",
        ),
        (
            "targets: {a: {<<: {}, function: 'p:f', <<: {}}}",
            "1: targets.a: duplicate key '<<'; the first one is on line 1, remove one of them",
        ),
        ("targets: {? [a] : 'p:f'}", "1: targets: expected a name as key, got a list"),
        (
            "targets: {a: {<<: 1, function: 'p:f'}}",
            "1: targets.a: expected a mapping (or a list of them) after <<, got '1'",
        ),
        (
            "targets: {a: !!python/name:os.system 'p:f'}",
            "1: targets.a.function: the tag '!!python/name:os.system' has no meaning here; "
            "remove it",
        ),
        (
            "targets: {a: '${TACH_UNSET}'}",
            "1: targets.a.function: the environment variable TACH_UNSET is not set; "
            "set it, or write ${TACH_UNSET:-default}",
        ),
        (
            "prefix: ${A",
            "1: prefix: '${' without a name and a '}'; write ${NAME}, or $${ for the text ${",
        ),
    ],
)
def test_an_error_says_where_and_what_and_what_to_do(text: str, error: str) -> None:
    """One mistake makes one error, which names the place, the value and the remedy."""
    assert errors_of(text) == [error]


@pytest.mark.parametrize(
    ("function", "meant"),
    [
        ("pkg.mod.Class.method", "pkg.mod:Class.method"),
        ("pkg.mod.function", "pkg.mod:function"),
        ("pkg/mod.py:f", "pkg.mod:f"),
        ("pkg.mod:f()", "pkg.mod:f"),
        ("pkg.mod:Class:method", "pkg.mod:Class.method"),
        ("pkg.mod::f", "pkg.mod:f"),
        ("pkg.mod:.f", "pkg.mod:f"),
        ("Class.method", None),
        ("pkg.mod:", None),
        (":f", None),
        ("pkg-mod:f", None),
        ("p:f.<locals>.g", None),
    ],
)
def test_a_malformed_function_is_guessed(function: str, meant: str | None) -> None:
    """Of a wrong shape it is said what was probably meant, else what the shape is."""
    advice = f"did you mean {meant!r}?" if meant else f"write it as {FUNCTION}"

    assert errors_of(f"targets: {{a: '{function}'}}") == [
        f"1: targets.a: malformed function {function!r}; {advice}"
    ]


def test_unknown_notifiers_are_not_reported_twice() -> None:
    """A notifier with an error is still known by its name to the targets."""
    text = "notifiers: {s: {type: statd}}\ntargets: {a: {function: 'p:f', notifiers: s}}"
    assert [each[:1] for each in errors_of(text)] == ["1"]

    text = "notifiers: 1\ntargets: {a: {function: 'p:f', notifiers: s}}"
    assert errors_of(text) == ["1: notifiers: expected a mapping, got '1'"]


def test_an_endless_list_of_errors_ends() -> None:
    """After 200 errors it is said that there may be more."""
    errors = errors_of("".join(f"k{number}: 1\n" for number in range(5000)))

    assert len(errors) == 201
    assert errors[-1] == " only the first 200 errors are shown; there may be more"


# Files that are no configuration


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", " is empty; see tach.yaml.example for what a configuration looks like"),
        (
            b"# nothing\n---\n",
            " is empty; see tach.yaml.example for what a configuration looks like",
        ),
        (
            b"- a",
            "1: expected a mapping, got a list; "
            "see tach.yaml.example for what a configuration looks like",
        ),
        (
            b"hello",
            "1: expected a mapping, got 'hello'; "
            "see tach.yaml.example for what a configuration looks like",
        ),
        (b"a: 1\nb: \xff", "2: byte 0xff is not UTF-8; save the file as UTF-8 text"),
        ("a: ü".encode("utf-16"), "1: byte 0xff is not UTF-8; save the file as UTF-8 text"),
        (b"\n\x7fELF\x01", "2: the character '\\x7f' cannot stand in YAML; remove it"),
        (b"a: 1\n" * 300_000, " is larger than 1 MiB; is it a configuration of tach?"),
        (
            b"a: &a [*a]",
            "1: YAML syntax: the alias *a stands inside what it names; write out what is meant",
        ),
        (
            b"[" * 50_000,
            "1: YAML syntax: nested more than 32 levels deep, with the aliases written out; "
            "a configuration needs five",
        ),
        (b"a: &a {b: *c}", "1: YAML syntax: "),
        (b"targets:\n\ta: 1", "2: YAML syntax: "),
        (b"targets: {a", "YAML syntax: "),
        (b"targets: {}\n---\ntargets: {}", "2: YAML syntax: "),
    ],
    ids=lambda value: repr(value)[:30],
)
@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_what_is_no_configuration_is_refused_in_one_line(
    content: bytes, error: str, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the file holds, there is one line about it, with libyaml and without."""
    if not hasattr(yaml, loader):
        pytest.skip("PyYAML was built without libyaml; its wheels from PyPI have it")
    monkeypatch.setattr(yaml_nodes, "LOADER", getattr(yaml, loader))

    (found,) = errors_of(content)
    assert found == error or (error.endswith("syntax: ") and error in found)


def test_a_bomb_is_refused_by_what_it_would_become() -> None:
    """Aliases of aliases are counted, not written out; so are deep chains of them."""
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    (error,) = errors_of(bomb)
    assert error.startswith(
        "6: YAML syntax: more than 100000 values, with the aliases written out;"
    )

    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60))
    (error,) = errors_of(chain)
    assert error.startswith("32: YAML syntax: nested more than 32 levels deep")


def test_a_tab_is_named_as_the_culprit() -> None:
    """Of a line that is indented with a tab, the tab is what is wrong."""
    (error,) = errors_of("targets:\n\ta: p:f\n")

    assert error.startswith("2: YAML syntax: ")
    assert error.endswith("; indent with spaces, not with tabs")


def test_a_file_that_cannot_be_read() -> None:
    """No file, a directory, no directory, no permission: one line, the name as it was typed."""
    Path("nova.yml").touch()
    os.mkfifo("pipe")
    expected = {
        "nova.yaml": "nova.yaml: no such file; did you mean 'nova.yml'?",
        "./zzz": "./zzz: no such file; see tach.yaml.example for what a configuration looks like",
        ".": ".: is a directory; name the YAML file in it",
        "no/x": "no/x: no such file; there is no directory 'no' to read either",
        "nova.yml/x": "nova.yml/x: cannot be read: Not a directory; check its path and permissions",
        "a\nb": "a\\nb: no such file; see tach.yaml.example for what a configuration looks like",
        "a\0b": "a\\x00b: cannot be read: embedded null byte; check its path",
    }
    for path, error in expected.items():
        with pytest.raises(ConfigErrors) as caught:
            load(path)
        assert caught.value.errors == [error]


# Options of notifiers


class Pager:
    """A notifier as somebody else would write it."""

    def __init__(
        self,
        to: str,
        /,
        url: str,
        level: Literal["low", "high"] = "low",
        wait: float | None = None,
        buffer: int = 0,
        *,
        secure: bool = True,
        topics: list[str] | None = None,
        labels: dict[str, int] | None = None,
        limit: int | str = 0,
        extra: Any = None,
    ) -> None:
        raise AssertionError("the configuration must not make one: that could open connections")

    @classmethod
    def check(cls, **options: Any) -> None:
        """Refuse one url."""
        if options["url"] == "bad":
            raise ValueError("the url\nis bad")
        if options["url"] == "worse":
            raise RuntimeError("no idea")


class Open:
    """A notifier that takes any option, and has no check."""

    def __init__(self, first: UnknownType = 1, **options: object) -> None:  # type: ignore[name-defined]  # noqa: F821
        raise AssertionError


class Bare:
    """A notifier without a constructor."""


@pytest.fixture
def _pager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_notifier.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "pager", SimpleNamespace(Pager=Pager, Open=Open, Bare=Bare))
    for name, spec in {
        "pager": "pager:Pager",
        "open": "pager:Open",
        "bare": "pager:Bare",
        "broken": "broken_notifier:Notifier",
    }.items():
        monkeypatch.setitem(notifiers.BUILTIN, name, spec)


def options_of(options: str, kind: str = "pager") -> dict[str, Any]:
    """The options of the only notifier."""
    (found,) = plan_of(f"notifiers: {{n: {{type: {kind}{options}}}}}").notifiers
    return found.options


@pytest.mark.usefixtures("_pager")
def test_options_are_converted_as_the_annotations_say() -> None:
    """The keyword arguments of the constructor are the options; their annotations the types."""
    options = options_of(
        ", url: on, level: high, wait: 500ms, buffer: 64KiB, secure: no, topics: [1, a], "
        "labels: {a: 1, b: 2kB}, limit: none, extra: {a: [1, 2.5, true, x, '1', ~]}"
    )

    assert options == {
        "url": "on",
        "level": "high",
        "wait": 0.5,
        "buffer": 65536,
        "secure": False,
        "topics": ["1", "a"],
        "labels": {"a": 1, "b": 2000},
        "limit": "none",
        "extra": {"a": [1, 2.5, True, "x", "1", None]},
    }
    assert options_of(", url: x, wait: null, topics: ~") == {
        "url": "x",
        "wait": None,
        "topics": None,
    }
    assert options_of(", url: x, wait: 90000000, limit: 3") == {"url": "x", "wait": 9e7, "limit": 3}
    assert options_of(", first: 5s, second: 2", "open") == {"first": "5s", "second": 2}
    assert options_of("", "bare") == {}


@pytest.mark.usefixtures("_pager")
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("", "1: notifiers.n: the option 'url' is missing; add it"),
        (
            ", url: x, to: a",
            "1: notifiers.n: unknown key 'to'; "
            "known: url, level, wait, buffer, secure, topics, labels, limit, extra",
        ),
        (", url: x, levl: low", "1: notifiers.n: unknown key 'levl'; did you mean 'level'?"),
        (", url: ", "1: notifiers.n.url: expected a text, got nothing"),
        (", url: []", "1: notifiers.n.url: expected a text, got a list"),
        (
            ", url: x, level: hihg",
            "1: notifiers.n.level: expected one of 'low', 'high', got 'hihg'; did you mean 'high'?",
        ),
        (
            ", url: x, wait: soon",
            "1: notifiers.n.wait: expected a number or a duration such as 500ms, 10s, 5m, 1h or "
            "1d, got 'soon'",
        ),
        (
            ", url: x, wait: '5'",
            "1: notifiers.n.wait: expected a number or a duration such as 500ms, 10s, 5m, 1h or "
            "1d, got '5'; leave the quotes out",
        ),
        (
            ", url: x, buffer: 1.5",
            "1: notifiers.n.buffer: expected a whole number or a size such as 64KiB, 1MiB or 1GB, "
            "got '1.5'",
        ),
        (", url: x, secure: 1", "1: notifiers.n.secure: expected true or false, got '1'"),
        (", url: x, topics: a", "1: notifiers.n.topics: expected a list, got 'a'"),
        (
            ", url: x, labels: {a: b}",
            "1: notifiers.n.labels.a: expected a whole number or a size such as 64KiB, 1MiB or "
            "1GB, got 'b'",
        ),
        (", url: bad", "1: notifiers.n: the url is bad"),
        (", url: worse", "1: notifiers.n: RuntimeError: no idea"),
    ],
)
def test_a_wrong_option_is_an_error(options: str, error: str) -> None:
    """Unknown, missing and unfit options are errors, and what the class's own check refuses."""
    with pytest.raises(ConfigErrors) as caught:
        options_of(options)

    assert caught.value.errors == [f"tach.yaml:{error}"]


@pytest.mark.usefixtures("_pager")
def test_a_notifier_that_cannot_be_loaded_is_an_error() -> None:
    """A plug-in that fails to import is reported at its line."""
    (error,) = errors_of("notifiers:\n  n: {type: broken}")

    assert error == (
        "2: notifiers.n: the notifier type 'broken' cannot be loaded: ModuleNotFoundError: "
        "No module named 'no_such_module_anywhere'; install what it needs"
    )


def test_the_check_of_a_built_in_notifier_is_asked() -> None:
    """What statsd refuses is an error at the line of the notifier."""
    (error,) = errors_of("notifiers:\n  n: {type: statsd, port: 70000}")

    assert error.startswith("2: notifiers.n: port 70000")


# Rules that hold for every file


def test_reading_a_configuration_imports_little() -> None:
    """The launcher needs neither difflib, inspect nor the entry points for a right file."""
    Path("tach.yaml").write_text("notifiers: {c: {type: console}}\ntargets: {a: 'p:f'}")
    program = "import sys; import tach.config; tach.config.load('tach.yaml'); print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {program}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    unwanted = {"asyncio", "dataclasses", "difflib", "importlib.metadata", "inspect", "socket"}
    assert set(found.stdout.split()) & unwanted == set()


KEYS = st.sampled_from(
    [
        "prefix",
        "interval",
        "exit_timeout",
        "notifiers",
        "defaults",
        "targets",
        "metrics",
        "type",
        "function",
        "ignore",
        "enabled",
        "statsd",
        "console",
        "<<",
        "x-a",
        "host",
        "port",
        "every",
    ]
) | st.text(max_size=5)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.binary(max_size=4)
    | st.sampled_from(
        ["statsd", "console", "timing", "p:f", "10s", "${A", "${HOME}", "1:30", "{pid}"]
    )
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


def accepts_or_explains(content: bytes) -> None:
    """The file makes a plan, or errors of one line each; no other exception."""
    Path("tach.yaml").write_bytes(content)
    plan, errors = None, []
    try:
        plan = load("tach.yaml")
    except ConfigErrors as error:
        errors = error.errors
    assert (plan is None) == bool(errors)
    assert all(each.isprintable() and each.startswith("tach.yaml:") for each in errors)
    assert plan is None or Plan.from_json(plan.to_json()) == plan


relaxed = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@relaxed
@given(st.binary(max_size=200))
def test_any_bytes_make_a_plan_or_errors(content: bytes) -> None:
    """Random bytes never make anything but ConfigErrors."""
    accepts_or_explains(content)


@relaxed
@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`?,#<~ \n\t$\\.0", max_size=60))
def test_any_syntax_makes_a_plan_or_errors(text: str) -> None:
    """Random YAML punctuation never makes anything but ConfigErrors."""
    accepts_or_explains(text.encode())


@relaxed
@given(st.dictionaries(KEYS, TREES, max_size=6))
def test_any_structure_makes_a_plan_or_errors(tree: dict[str, Any]) -> None:
    """Random YAML structures never make anything but ConfigErrors."""
    accepts_or_explains(yaml.safe_dump(tree, allow_unicode=True).encode())
