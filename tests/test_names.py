"""Series named after the arguments of their calls, after results, and by helpers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from measuring import Measuring
from processes import wait_for

RPC = """
import asyncio

class Message:
    def __init__(self, method, **fields):
        self.method = method
        self.__dict__.update(fields)

class Server:
    def __init__(self, host):
        self.host = host

    def dispatch(self, message, *rest, priority="low", **more):
        return Message("done", status=getattr(message, "status", 200))

    @classmethod
    def of_class(cls, name="nobody"):
        return name

    @staticmethod
    def static(name, *, kind="plain"):
        return name

def call(name, number=7, *rest, **more):
    if isinstance(name, BaseException):
        raise name
    return name

async def coroutine(name):
    await asyncio.sleep(0)
    return name

def generator(name):
    yield name
"""


@pytest.fixture
def measuring(run_tach, tmp_path: Path, tach_run_dir: Path) -> Measuring:
    """Runs programs that may import `rpc`."""
    found = Measuring(run_tach, tmp_path, tach_run_dir)
    found.write(rpc=RPC)
    return found


def named(measuring: Measuring, name: str, statements: str, function: str = "call") -> Any:
    """What is measured of `rpc`'s function while the program executes the statements."""
    program = f"import contextlib, rpc\nfrom rpc import Message, Server\n{statements}\n"
    return measuring.run(program, {name: {"function": f"rpc:{function}"}})


@pytest.mark.parametrize(
    ("name", "statements", "function", "calls"),
    [
        (
            "c.{args.name}",
            "rpc.call('a'); rpc.call(name='b'); rpc.call('a')",
            "call",
            {"c.a": 2, "c.b": 1},
        ),
        ("c.{args[0]}", "rpc.call('a'); rpc.call('b', 2)", "call", {"c.a": 1, "c.b": 1}),
        ("c.{args[-1]}", "rpc.call('a'); rpc.call('b', 2)", "call", {"c.a": 1, "c.2": 1}),
        (
            "c.{args.number}",
            "rpc.call('a'); rpc.call('b', 9); rpc.call('c', 7)",
            "call",
            {"c.7": 2, "c.9": 1},
        ),
        (
            "c.{kwargs.k}",
            "rpc.call('a', k='x'); rpc.call('a', k='y')",
            "call",
            {"c.x": 1, "c.y": 1},
        ),
        ("c.{kwargs[k]}", "rpc.call('a', k='x')", "call", {"c.x": 1}),
        ("c.{args.k}", "rpc.call('a', k='x')", "call", {"c.x": 1}),
        (
            "c.{args.message.method}",
            "Server('h').dispatch(Message('get')); Server('h').dispatch(message=Message('put'))",
            "Server.dispatch",
            {"c.get": 1, "c.put": 1},
        ),
        (
            "c.{args.priority}",
            "s = Server('h'); s.dispatch(Message('get')); s.dispatch(1, priority='high')",
            "Server.dispatch",
            {"c.low": 1, "c.high": 1},
        ),
        (
            "c.{self.host}",
            "Server('one').dispatch(1); Server('two').dispatch(1); Server('two').dispatch(1)",
            "Server.dispatch",
            {"c.one": 1, "c.two": 2},
        ),
        (
            "c.{result.status}",
            "s = Server('h'); s.dispatch(1); s.dispatch(Message('get', status=404))",
            "Server.dispatch",
            {"c.200": 1, "c.404": 1},
        ),
        (
            "c.{args.name}",
            "Server.of_class(); Server.of_class('x'); Server('h').of_class('x')",
            "Server.of_class",
            {"c.nobody": 1, "c.x": 2},
        ),
        (
            "c.{args.kind}",
            "Server.static(1); Server('h').static(1, kind='k')",
            "Server.static",
            {"c.plain": 1, "c.k": 1},
        ),
        (
            "c.{exception}",
            "rpc.call(1)\nfor each in (KeyError(1), KeyError(2), OSError()):\n"
            "    with contextlib.suppress(Exception): rpc.call(each)",
            "call",
            {"c.none": 1, "c.KeyError": 2, "c.OSError": 1},
        ),
        (
            "c.{args.name}",
            "import asyncio; asyncio.run(rpc.coroutine('a')); asyncio.run(rpc.coroutine('b'))",
            "coroutine",
            {"c.a": 1, "c.b": 1},
        ),
        ("c.{result}", "import asyncio; asyncio.run(rpc.coroutine('a'))", "coroutine", {"c.a": 1}),
        ("c.{args.name}", "list(rpc.generator('a')); rpc.generator('b')", "generator", {"c.a": 1}),
    ],
)
def test_a_placeholder_names_the_series_of_its_value(
    measuring, name: str, statements: str, function: str, calls: dict[str, int]
) -> None:
    """Each form of placeholder: one series for each value, whose calls are exact."""
    measured = named(measuring, name, statements, function)
    assert measured.calls == calls
    assert measured.troubles == []


def test_several_placeholders_stand_where_they_are_written(measuring) -> None:
    """Text and placeholders may follow one another in any way."""
    statements = "rpc.call('a', 1); rpc.call('a', 2); rpc.call('a', 1)"
    measured = named(measuring, "x-{args.name}{args[1]}.of.{exception}", statements)
    assert measured.calls == {"x-a1.of.none": 2, "x-a2.of.none": 1}


@pytest.mark.parametrize("name", ["c.{args.nothing}", "c.{args[3]}", "c.{kwargs.k}", "c.{self.x}"])
def test_what_is_not_there_is_unknown(measuring, name: str) -> None:
    """A call without the value is counted as `unknown`, and the report says what is missing."""
    measured = named(measuring, name, "rpc.call('a')\nrpc.call('b')")
    [trouble] = measured.troubles
    assert measured.calls == {"c.unknown": 2}
    assert "a name has 'unknown' in it: no " in trouble


def test_a_result_that_never_came_is_unknown(measuring) -> None:
    """A call that raised has no result to be named after."""
    statements = "rpc.call('a')\nwith contextlib.suppress(KeyError): rpc.call(KeyError(1))"
    assert named(measuring, "c.{result}", statements).calls == {"c.a": 1, "c.unknown": 1}


ODD = """
import enum, http, sys
class Raises:
    def __str__(self): raise KeyError("no")
class Mute(Exception):
    def __str__(self): raise self
class RaisesMute:
    def __str__(self): raise Mute
class NoText:
    def __str__(self): return 7
class Plain: pass
class Text(str):
    def __str__(self): return "lies"
    def __hash__(self): raise ValueError
    def __eq__(self, other): raise ValueError
    def __getitem__(self, item): raise ValueError
class Lies:
    def __str__(self): return Text("lied")
class Endless:
    def __str__(self): return str(self)
class Liar(type):
    @property
    def __name__(cls): raise OSError
class Odd(Exception, metaclass=Liar): pass
class Colour(enum.Enum): RED = 1
class Named(str, enum.Enum): BLUE = "blue"
odd = [Raises(), RaisesMute(), NoText(), Endless(), 10**5000,
    Plain(), Text("text"), Lies(), Colour.RED, Named.BLUE, http.HTTPStatus(404),
    "a.b/c d", "naïve", "", "x" * 10_000, None, True, 1.5, -3, b"bytes", b"\\xff", [1], {}]
"""


def test_odd_values_become_plain_names(measuring) -> None:
    """Objects with an odd text, dots, other letters, long texts: one component each, no error."""
    statements = ODD + "for each in odd: assert rpc.call(each) is each"
    measured = named(measuring, "c.{args.name}", statements)
    plain = ["Plain", "text", "lied", "Colour_RED", "blue", "404", "None", "True", "1_5", "-3"]
    names = [*plain, "a_b_c_d", "na_ve", "bytes", "_1_", "__"]
    expected = {f"c.{name}": 1 for name in names}
    expected["c.unknown"] = 5
    expected["c._"] = 2  # of nothing, and of what is no UTF-8
    expected["c." + "x" * 198] = 1
    assert measured.calls == expected
    assert any("KeyError: 'no'" in trouble for trouble in measured.troubles)
    assert any("Mute: it cannot say why" in trouble for trouble in measured.troubles)


def test_an_exception_whose_class_will_not_say_its_name(measuring) -> None:
    """A metaclass that raises where the class is named does not reach the program."""
    statements = ODD + "with contextlib.suppress(Odd): rpc.call(Odd())"
    assert named(measuring, "c.{exception}", statements).calls == {"c.Odd": 1}


def test_an_attribute_is_read_once_a_call(measuring) -> None:
    """Properties of the program run once for each call, whatever they give."""
    statements = """
class Counted:
    reads = 0
    @property
    def kind(self):
        Counted.reads += 1
        return Counted.reads % 3
for _ in range(9): rpc.call(Counted())
print(Counted.reads)
"""
    measured = named(measuring, "c.{args.name.kind}", statements)
    assert measured.stdout == "9\n"
    assert measured.calls == {"c.0": 3, "c.1": 3, "c.2": 3}


def test_beyond_max_series_calls_are_other(measuring) -> None:
    """The first names keep their series, all the rest are `other`: every call in one of them."""
    program = "import rpc\nfor each in range(100): rpc.call(f'n{each}')\nrpc.call('n3')"
    target = {"function": "rpc:call", "max_series": 10}
    calls = measuring.run(program, {"c.{args.name}.x": target}).calls
    assert calls == {**{f"c.n{each}.x": 1 for each in range(10)}, "c.n3.x": 2, "c.other.x": 90}


def test_max_series_counts_over_all_processes(measuring) -> None:
    """Processes with names of their own have no more series together than one may have."""
    program = """
import os, rpc
for child in range(4):
    if os.fork() == 0:
        for each in range(10): rpc.call(f"p{child}-{each}")
        os._exit(0)
for _ in range(4): os.wait()
"""
    target = {"function": "rpc:call", "max_series": 15}
    calls = measuring.run(program, {"c.{args.name}": target}).calls
    assert len(calls) == 16
    assert calls.pop("c.other") == 25
    assert set(calls.values()) == {1}


def test_a_value_that_is_called_other_is_no_trouble(measuring) -> None:
    """Calls named `other` add up with those that are one too many."""
    program = "import rpc\nfor each in ('other', 'a', 'b', 'c', 'other'): rpc.call(each)"
    target = {"function": "rpc:call", "max_series": 2}
    calls = measuring.run(program, {"c.{args.name}": target}).calls
    assert calls == {"c.other": 4, "c.a": 1}


def test_names_of_a_wildcard_s_functions(measuring) -> None:
    """Each function's label follows the name, and `max_series` is for them all together."""
    measuring.write(db="def get(table): pass\ndef put(table): pass\n")
    program = "import db\nfor each in 'abcd': db.get(each); db.put(each)"
    target = {"function": "db:*", "max_series": 3}
    calls = measuring.run(program, {"db.{args.table}": target}).calls
    assert calls == {"db.a.get": 1, "db.a.put": 1, "db.b.get": 1, "db.other": 5}


HELPERS = """
import time
def name(value, *rest, **more):
    return f"h.{value}"
def nothing(*args, **kwargs):
    return None
def old(*args, **kwargs):
    return args, kwargs, "h.old"
def raises(*args, **kwargs):
    raise KeyError("broken")
def sleeps(*args, **kwargs):
    time.sleep(0.05)
    return "h.slept"
def number(*args):
    return 7
def unhashable(*args, **kwargs):
    return [1]
def empty(*args, **kwargs):
    return ""
def odd(*args, **kwargs):
    return "a b..c\\n:1|c"
def wrong_arguments():
    return "never"
class Text(str):
    def __hash__(self): raise ValueError
    def __str__(self): raise ValueError
def text(*args, **kwargs):
    return Text("h.text")
class Nested:
    @staticmethod
    def helper(*args):
        return "h.nested"
def after(result, error, *args, **kwargs):
    return f"h.{type(error).__name__ if error else result}"
"""


@pytest.mark.parametrize("place", ["./helpers.py", "helpers"])
@pytest.mark.parametrize(
    ("helper", "calls"),
    [
        ("name", {"h.a": 2, "h.b": 1}),
        ("nothing", {"c": 3}),
        ("old", {"h.old": 3}),
        ("text", {"h.text": 3}),
        ("odd", {"a_b._.c__1_c": 3}),
        ("empty", {"_": 3}),
    ],
)
def test_a_helper_names_the_calls(measuring, place: str, helper: str, calls: Any) -> None:
    """As a file beside the configuration, or as a module: it is asked for each call's name."""
    measuring.write(helpers=HELPERS)
    program = "import rpc\nfor each in 'aba': assert rpc.call(each, k=1) == each"
    target = {"function": "rpc:call", "helper": f"{place}:{helper}"}
    measured = measuring.run(program, {"c": target})
    assert (measured.calls, measured.troubles) == (calls, [])


@pytest.mark.parametrize(
    ("helper", "reason"),
    [
        ("raises", "KeyError: 'broken'"),
        ("number", "TypeError: it returned int, not a name"),
        ("unhashable", "TypeError: it returned list, not a name"),
        ("wrong_arguments", "TypeError: wrong_arguments() takes 0 positional arguments but 1 was"),
    ],
)
def test_a_helper_that_fails_is_told_and_harmless(measuring, helper: str, reason: str) -> None:
    """The call goes on and is counted as `unknown`; the report says why, once."""
    measuring.write(helpers=HELPERS)
    program = "import rpc\nfor each in range(50): assert rpc.call(each) == each"
    target = {"function": "rpc:call", "helper": f"helpers:{helper}"}
    measured = measuring.run(program, {"c": target})
    [trouble] = measured.troubles
    assert measured.calls == {"c.unknown": 50}
    assert trouble.startswith(f"helper helpers:{helper}: {reason}")


def test_a_helper_that_cannot_be_loaded_is_not_looked_for_at_every_call(measuring) -> None:
    """Its module is tried some times, then given up: a program of many calls is not slowed."""
    measuring.write(broken="print('tried')\nraise RuntimeError('not today')\n")
    program = "import rpc\nfor each in range(1000): rpc.call(each)"
    measured = measuring.run(program, {"c": {"function": "rpc:call", "helper": "broken:name"}})
    [trouble] = measured.troubles
    assert measured.calls == {"c.unknown": 1000}
    assert trouble == "helper broken:name: RuntimeError: not today"
    assert measured.stdout == "tried\n" * 10


def test_a_helper_s_own_time_is_not_the_call_s(measuring) -> None:
    """What a helper takes is not in the duration."""
    measuring.write(helpers=HELPERS)
    target = {"function": "rpc:call", "helper": "helpers:sleeps"}
    [line] = measuring.run("import rpc; rpc.call(1)", {"c": target}).series.values()
    assert (line["series"], line["calls"]) == ("h.slept", 1)
    assert line["max_ms"] < 40


def test_a_helper_s_dict_is_the_payload_of_the_event(measuring) -> None:
    """A dict goes into the notification of the call, which keeps the target's own name."""
    measuring.write(helpers="def fill(value): return {'order': value, 'password': 'x'}\n")
    target = {
        "function": "rpc:call",
        "helper": "helpers:fill",
        "metrics": ["timing", "events"],
        "notifiers": ["report", "journal"],
    }
    log = str(measuring.directory / "events.log")
    measured = measuring.run(
        "import rpc; rpc.call('o1')", {"c": target}, journal={"type": "log", "file": log}
    )
    text = Path(log).read_text()
    assert measured.calls == {"c": 1}
    assert text.count('"order": "o1"') + text.count('"order":"o1"') == 2  # start and end
    assert '"x"' not in text


def test_after_names_calls_by_what_came_of_them(measuring) -> None:
    """`after` is given the result, what was raised, and the arguments; its series are exact."""
    measuring.write(helpers=HELPERS)
    program = """
import contextlib, rpc
rpc.call("good", k=1); rpc.call("good")
with contextlib.suppress(KeyError): rpc.call(KeyError(1))
"""
    measured = measuring.run(
        program, {"c": {"function": "rpc:call", "after": "./helpers.py:after"}}
    )
    assert measured.calls == {"h.good": 2, "h.KeyError": 1}
    assert measured.series["h.KeyError"]["errors_by_type"] == {"KeyError": 1}


def test_helper_names_are_bounded_too(measuring) -> None:
    """`max_series` holds for what helpers return; the rest are the target's `other`."""
    measuring.write(helpers=HELPERS)
    program = "import rpc\nfor each in range(100): rpc.call(each)"
    target = {"function": "rpc:call", "helper": "helpers:name", "max_series": 5}
    calls = measuring.run(program, {"c": target}).calls
    assert calls == {**{f"h.{each}": 1 for each in range(5)}, "c.other": 95}


MILLION = """
import os, sys, rpc
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
for each in range(200_000): rpc.call("a-distinct-name-" + str(each))
print(resident()); sys.stdout.flush(); sys.stdin.readline()
for each in range(200_000, 1_000_000): rpc.call("a-distinct-name-" + str(each))
print(resident()); sys.stdout.flush(); sys.stdin.readline()
"""


def test_a_million_names_take_no_more_memory_than_a_few(
    measuring, spawn_tach, tach_run_dir: Path
) -> None:
    """With 10^6 distinct names program and sender stay as large as they are; the sums are exact."""
    measuring.write(program=MILLION)
    config = measuring.config({"c.{args.name}": {"function": "rpc:call"}})
    file = measuring.directory / "program.py"
    program = spawn_tach(config, sys.executable, file, stdin=-1, env={"PYTHONMALLOC": "malloc"})
    sizes = []
    for _ in range(2):
        own = int(program.stdout.readline())
        sizes.append((own, _sender_size(tach_run_dir)))
        program.stdin.write("\n")
        program.stdin.flush()
    _, stderr = program.communicate(timeout=60)
    calls = measuring.report.calls()

    assert (program.returncode, stderr) == (0, "")
    assert len(calls) == 1001
    assert calls["c.other"] == 999_000
    assert sum(calls.values()) == 1_000_000
    assert sizes[1][0] - sizes[0][0] < 4 << 20, sizes
    assert sizes[1][1] - sizes[0][1] < 8 << 20, sizes


def _sender_size(run_dir: Path) -> int:
    """The resident bytes of the sender that serves the run."""

    def find() -> int:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "comm").read_text().strip()
                    maps = (entry / "maps").read_text()
                except OSError:
                    continue
                if command == "tach-sender" and str(run_dir) in maps:
                    return int((entry / "statm").read_text().split()[1]) * 4096
        return 0

    return wait_for(find, message="the sender maps the program's segment")
