"""Functions that others had taken before they were measured: found, told, and replaced."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from measuring import Measuring
from processes import Processes

# `user` takes things of `shop` while `shop` is still being imported: it is patched afterwards.
SHOP = """
def f(): return "f"
class Shop:
    def method(self): return "method"
    @staticmethod
    def static(): return "static"
    @classmethod
    def of_class(cls): return "of class"
{more}
import user
"""


@pytest.fixture
def measuring(run_tach, tmp_path: Path, tach_run_dir: Path) -> Measuring:
    """Runs programs that may import `shop`, which imports `user` at its end."""
    return Measuring(run_tach, tmp_path, tach_run_dir)


def run(measuring: Measuring, user: str, statements: str, more: str = "", **target: Any) -> Any:
    """What is measured of `shop:f` while the program executes the statements."""
    measuring.write(shop=SHOP.format(more=more), user=user)
    target = {"function": "shop:f", "metrics": ["count"], **target}
    return measuring.run(f"import shop, user\n{statements}", {"c": target})


def told(places: str, function: str = "f") -> list[str]:
    """The report about the function in those places."""
    text = f"c: {function} had been taken by {places} before it was measured"
    return [f"{text}; rebind: true replaces it there"]


def test_a_circular_import_takes_it_early(measuring) -> None:
    """`from shop import f` before `shop` is done: named, and its calls are not counted."""
    measured = run(measuring, "from shop import f\n", "user.f(); user.f(); shop.f()")
    assert measured.troubles == told("user.f")
    assert measured.calls == {"c": 1}


def test_nobody_took_it(measuring) -> None:
    """Where nobody did there is nothing to tell, also of methods."""
    for function in ("f", "Shop.method", "Shop.static", "Shop.of_class"):
        measured = run(measuring, "import shop\n", "shop.f()", function=f"shop:{function}")
        assert measured.troubles == []
        (measuring.directory / "report.jsonl").unlink()


def test_another_name(measuring) -> None:
    """The name that it was given is told."""
    measured = run(measuring, "from shop import f as g\n", "user.g()")
    assert measured.troubles == told("user.g")


DECORATOR = """
class Registry:
    handlers = []
    @classmethod
    def handler(cls, function):
        cls.handlers.append(function)
        return function
"""


def test_a_list_of_a_class(measuring) -> None:
    """A decorator that keeps what it decorates in a list of its class: of the same module."""
    more = DECORATOR + "f = Registry.handler(f)"
    measured = run(measuring, "", "shop.Registry.handlers[0]()", more)
    assert measured.troubles == []
    assert measured.calls == {"c": 1}


def test_a_dispatch_table(measuring) -> None:
    """A dict of the module itself, also as pickle looks at it."""
    statements = "shop.table['f'](); import pickle; pickle.loads(pickle.dumps(shop.table))['f']()"
    measured = run(measuring, "", statements, "table = {'f': f}")
    assert measured.troubles == []
    assert measured.calls == {"c": 2}


def test_tuples_in_a_list_of_a_derived_class(measuring) -> None:
    """What a decorator has put into such a list is told of by the list's name."""
    more = "class Worker(Shop):\n    def work(self): return 1\n    tasks = [('work', work)]"
    statements = "shop.Worker.tasks[0][1](shop.Worker()); shop.Worker().work()"
    measured = run(measuring, "", statements, more, function="shop:Worker.work")
    assert measured.calls == {"c": 1}
    assert measured.troubles == told("a tuple in a list shop.Worker.tasks", "work")


ALIASES = """
g = f
class Alias:
    def m(self): return 1
    n = m
"""


@pytest.mark.parametrize(
    ("function", "series", "statements"),
    [
        ("shop:*", "c.f", "assert shop.f is shop.g; shop.g(); shop.f()"),
        (
            "shop:Alias.*",
            "c.m",
            "assert shop.Alias.m is shop.Alias.n; shop.Alias().n(); shop.Alias().m()",
        ),
    ],
)
def test_another_name_in_its_own_module(measuring, function, series, statements) -> None:
    """Two names of one function are one function, also of methods; each call counts once."""
    measured = run(measuring, "", statements, ALIASES, function=function)
    assert measured.calls == {series: 2}
    assert measured.troubles == []


def test_a_closure(measuring) -> None:
    """A function that a decorator has made around it."""
    more = "def wrap(function):\n    return lambda: function()\nwrapped = wrap(f)"
    measured = run(measuring, "", "shop.wrapped(); shop.f()", more)
    assert measured.troubles == told("a closure")
    assert measured.calls == {"c": 1}


def test_a_bound_method(measuring) -> None:
    """A method of an instance that somebody has kept."""
    measured = run(
        measuring, "", "shop.bound()", "bound = Shop().method", function="shop:Shop.method"
    )
    assert measured.troubles == told("a bound method of a Shop", "method")


def test_a_weak_reference(measuring) -> None:
    """Lists of listeners hold them so: of a function, and of a bound method's function."""
    more = "import weakref\nlisteners = [weakref.ref(f), weakref.WeakMethod(Shop().method)]\n"
    for function in ("f", "Shop.method"):
        measured = run(
            measuring, "", "shop.listeners[0]()()", more=more, function=f"shop:{function}"
        )
        assert measured.troubles == told("a weak reference", function.rpartition(".")[2])
        assert measured.calls == {}
        (measuring.directory / "report.jsonl").unlink()


def test_a_partial_and_an_attribute(measuring) -> None:
    """Other holders are told by what they are."""
    more = "import functools\npart = functools.partial(f)\nclass Box: pass\nbox = Box(); box.f = f"
    measured = run(measuring, "", "shop.part()", more)
    [trouble] = measured.troubles
    assert "a partial" in trouble


REBOUND = """
from shop import f, Shop
g = f
listed = [1, f, f]
table = {"f": f, "other": 1}
frozen = (f,)
class Handlers:
    all = [f]
    by_name = {"f": f}
    attribute = f
def call_all():
    for each in [f, g, *listed[1:], table["f"], Handlers.all[0], Handlers.by_name["f"]]:
        assert each() == "f"
"""


def test_rebind_replaces_what_modules_hold(measuring) -> None:
    """Globals of modules, lists and dicts of modules and classes: all measured from then on."""
    measured = run(measuring, REBOUND, "user.call_all()", rebind=True)
    assert measured.calls == {"c": 7}


KEPT = """
from shop import f
class Slots:
    __slots__ = ("empty", "function", "other")
    def __init__(self, function):
        self.function, self.other = function, 1
class Derived(Slots):
    def __init__(self, function):
        super().__init__(function)
        self.also = function
class Frozen:
    def __init__(self, function):
        vars(self)["call"] = function
    def __setattr__(self, name, value):
        raise AttributeError(name)
class Asks:
    def __getattribute__(self, name):
        raise SystemExit(name)
def handler(function):
    def handle():
        return function()
    return handle
asks = Asks()
object.__setattr__(asks, "function", f)
slots, derived, frozen, handle = Slots(f), Derived(f), Frozen(f), handler(f)
def call_all():
    for each in [slots.function, derived.function, derived.also, frozen.call, handle]:
        assert each() == "f"
"""


def test_rebind_replaces_what_objects_and_closures_hold(measuring) -> None:
    """Attributes, slots too, and what a decorator has made around it; no code of theirs runs."""
    measured = run(measuring, KEPT, "user.call_all()", rebind=True)
    assert measured.calls == {"c": 5}
    assert measured.troubles == []


def test_each_gets_its_own(measuring) -> None:
    """Several functions of one module that are kept in the same ways stay apart."""
    user = (
        "from functools import partial\nfrom shop import f, h\n"
        "def handler(function): return lambda: function()\n"
        "class Box:\n    def __init__(self, function): self.function = function\n"
        "closures = handler(f), handler(h)\nboxes = Box(f), Box(h)\n"
        "parts = partial(h), partial(map, f)\n"
    )
    more = "def h(): return 'h'"
    calls = (
        "assert [each() for each in user.closures] == ['f', 'h']\n"
        "assert [each.function() for each in user.boxes] == ['f', 'h']\n"
    )
    measured = run(measuring, user, calls, more, function="shop:*", rebind=True)
    assert measured.calls == {"c.f": 2, "c.h": 2}
    assert [each.split(" before")[0] for each in sorted(measured.troubles)] == [
        f"c: {name} had been taken by a partial" for name in "fh"
    ]


def test_objects_and_closures_are_told_of(measuring) -> None:
    """By their class and the attribute."""
    [trouble] = run(measuring, KEPT, "user.call_all()").troubles
    for each in ("function of a Slots", "also of a Derived", "call of a Frozen", "a closure"):
        assert each in trouble or "and " in trouble
    assert trouble.endswith("rebind: true replaces it there")


def test_uninstall_gives_attributes_and_closures_back(measuring) -> None:
    """They hold the bare function again, and nothing is measured."""
    statements = """
import tach, types
user.call_all()
tach.uninstall()
user.call_all()
held = [user.slots.function, user.derived.function, user.derived.also, user.frozen.call]
held.append(user.handle.__closure__[0].cell_contents)
assert all(each is shop.f and type(each) is types.FunctionType for each in held)
"""
    assert run(measuring, KEPT, statements, rebind=True).calls == {"c": 5}


def test_rebind_leaves_alone_what_it_cannot_replace(measuring) -> None:
    """Tuples stay as they are, and are told of."""
    measured = run(measuring, REBOUND, "user.frozen[0]()", rebind=True)
    [trouble] = measured.troubles
    assert measured.calls == {}
    assert "a tuple user.frozen" in trouble
    assert "user.Handlers.attribute" not in trouble
    assert "rebind" not in trouble
    assert "user.table" not in trouble


def test_rebind_with_two_targets_on_one_function(measuring) -> None:
    """Both are measured through the references too."""
    measuring.write(shop=SHOP.format(more=""), user="from shop import f\n")
    target = {"function": "shop:f", "metrics": ["count"], "rebind": True}
    measured = measuring.run("import shop, user\nuser.f(); shop.f()", {"a": target, "b": target})
    assert measured.calls == {"a": 2, "b": 2}
    assert measured.troubles == []


def test_rebind_of_a_wildcard(measuring) -> None:
    """Each function that a wildcard takes is replaced where it was held."""
    more = "def h(): pass"
    measured = run(
        measuring,
        "from shop import f, h\n",
        "user.f(); user.h()",
        more,
        function="shop:*",
        rebind=True,
    )
    assert measured.calls == {"c.f": 1, "c.h": 1}


def test_uninstall_gives_rebound_references_back(measuring) -> None:
    """Everything is again what it was, and nothing is measured."""
    statements = """
import tach
before = user.f
user.call_all()
tach.uninstall()
assert user.f is user.g is user.listed[1] is user.listed[2] is user.table["f"] is user.frozen[0]
assert user.f is shop.f is user.Handlers.all[0] and before is not user.f
user.call_all(); shop.f(); before()
"""
    measured = run(measuring, REBOUND, statements, rebind=True)
    assert measured.calls == {"c": 7}


def test_status_tells_while_the_program_runs(
    measuring, spawn_tach, processes: Processes, environment: dict[str, str]
) -> None:
    """`tach status` names who holds the function, in words and as JSON."""
    measuring.write(
        shop=SHOP.format(more=""),
        user="from shop import f\n",
        program="import shop, sys\nprint('ready', flush=True)\nsys.stdin.readline()\n",
    )
    config = measuring.config({"c": {"function": "shop:f"}})
    file = measuring.directory / "program.py"
    program = spawn_tach(config, sys.executable, file, stdin=subprocess.PIPE)
    assert program.stdout.readline() == "ready\n"
    for options in ([], ["--json"]):
        command = [sys.executable, "-m", "tach", "status", *options]
        asked = processes.start(command, env=environment, cwd=measuring.directory)
        stdout, stderr = asked.communicate(timeout=30)
        assert asked.returncode == 0, stderr
        assert "c: f had been taken by user.f before it was measured" in stdout
        if options:
            json.loads(stdout)
    assert program.communicate("\n", 60)[1] == ""
