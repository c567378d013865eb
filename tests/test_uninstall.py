"""`tach.uninstall()`: everything is again what it was, or at least measures no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from measuring import Measuring

SHOP = """
import functools
def f(): return "f"
class Base:
    def method(self): return "method"
class Shop(Base):
    def own(self): return "own"
    @staticmethod
    def static(): return "static"
    @classmethod
    def of_class(cls): return "of class"
    @property
    def value(self): return "value"
    @functools.cached_property
    def cached(self): return "cached"
    def generator(self):
        yield 1
        yield 2
    async def coroutine(self): return "coroutine"
"""
NAMES = ["own", "static", "of_class", "value", "cached", "generator", "coroutine"]


@pytest.fixture
def measuring(run_tach, tmp_path: Path, tach_run_dir: Path) -> Measuring:
    """Runs programs that may import `shop`."""
    found = Measuring(run_tach, tmp_path, tach_run_dir)
    found.write(shop=SHOP)
    return found


def targets(*names: str) -> dict[str, str]:
    """A target for each of the functions."""
    return {name: f"shop:{name}" for name in names}


def test_raw_attributes_are_exactly_what_they_were(measuring) -> None:
    """Of functions, methods of every kind, properties: the very same object is back."""
    program = f"""
import tach
class Finder:
    def find_spec(self, name, path, target=None): return None
# what they were before: another copy of the module tells the kinds, this one the objects
import builtins, sys
original = builtins.__build_class__
raw = {{}}
def build(function, name, *bases, **keywords):
    cls = original(function, name, *bases, **keywords)
    raw.setdefault(name, dict(vars(cls)))
    return cls
builtins.__build_class__ = build
import shop
builtins.__build_class__ = original
for name in {NAMES}:
    assert vars(shop.Shop)[name] is not raw["Shop"][name], name
assert "method" in vars(shop.Shop)
tach.uninstall()
for name in {NAMES}:
    assert vars(shop.Shop)[name] is raw["Shop"][name], name
assert "method" not in vars(shop.Shop)
assert vars(shop.Base)["method"] is raw["Base"]["method"]
assert type(shop.f) is type(lambda: 0)
"""
    names = [*(f"Shop.{name}" for name in NAMES), "Shop.method", "f"]
    assert measuring.run(program, targets(*names)).calls == {}


def test_what_was_taken_in_between_measures_no_more(measuring) -> None:
    """A probe that somebody holds, or is inside of another wrapper, calls and does not count."""
    program = """
import functools, tach, shop
from shop import f
bound = shop.Shop().own
inner = shop.Shop.own
@functools.wraps(inner)
def wrapper(self): return "wrapped " + inner(self)
f(); bound()
shop.Shop.own = wrapper
assert shop.Shop().own() == "wrapped own"
tach.uninstall()
assert shop.Shop.own is wrapper and shop.Shop().own() == "wrapped own"
assert f() == "f" and bound() == "own" and shop.f() == "f"
"""
    measured = measuring.run(program, targets("f", "Shop.own"))
    assert measured.calls == {"f": 1, "Shop.own": 2}


def test_two_targets_on_one_function(measuring) -> None:
    """Both probes go, in whatever order they came."""
    program = """
import tach, shop
shop.f()
tach.uninstall()
assert type(shop.f) is type(lambda: 0) and shop.f() == "f"
"""
    assert measuring.run(program, {"a": "shop:f", "b": "shop:f"}).calls == {"a": 1, "b": 1}


def test_modules_that_come_later_are_left_alone(measuring) -> None:
    """No import is watched any more, in the program and in what it forks."""
    program = """
import os, sys, tach
tach.uninstall()
import shop
assert type(shop.f) is type(lambda: 0)
assert not [each for each in sys.meta_path if type(each).__module__.startswith("tach")]
if os.fork() == 0:
    shop.f(); os._exit(0)
os.wait()
"""
    assert measuring.run(program, targets("f")).calls == {}


def test_a_call_that_runs_meanwhile_is_counted(measuring) -> None:
    """It ends as it would have; a generator that had begun too."""
    measuring.write(outer="def call(then): return then()\n")
    program = """
import outer, shop, tach
generator = shop.Shop().generator()
assert next(generator) == 1
assert outer.call(tach.uninstall) is None
assert list(generator) == [2]
assert list(shop.Shop().generator()) == [1, 2]
outer.call(int)
"""
    measured = measuring.run(program, {**targets("Shop.generator"), "outer": "outer:call"})
    assert measured.calls == {"Shop.generator": 1, "outer": 1}


def test_twice_is_once(measuring) -> None:
    """A second `uninstall` does nothing."""
    program = "import tach, shop\nshop.f()\ntach.uninstall()\ntach.uninstall()\nshop.f()"
    assert measuring.run(program, targets("f")).calls == {"f": 1}
