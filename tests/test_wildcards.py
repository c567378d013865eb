"""Targets that mean several functions: which they are, and what they are called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from measuring import Measuring

DB = """
import functools, json
from json import dumps
from os.path import *
import other
from other import foreign, Foreign

def get(): pass
def get_all(): pass
def put(): pass
def _private(): pass
def _other(): pass
def __dunder__(): pass
@functools.lru_cache
def cached(): pass
async def coroutine(): pass
def generator(): yield 1
small = lambda: None
number = 1

class Table:
    def __init__(self): pass
    def __len__(self): return 0
    def read(self): pass
    def write(self): pass
    def _lock(self): pass
    def __hidden(self): pass
    @classmethod
    def open(cls): pass
    @staticmethod
    def names(): pass
    @property
    def size(self): return 1
    @functools.cached_property
    def width(self): return 1
    constant = 1
    taken = foreign
    class Row:
        def read(self): pass
        class Cell:
            def read(self): pass

class _Hidden:
    def read(self): pass

class Sub(Table):
    def read(self): pass
    def more(self): pass

class Error(Exception):
    def text(self): pass
"""
OTHER = """
def foreign(): pass
class Foreign:
    def method(self): pass
"""
# Calls all that there is, so that what is measured is told by its series.
ALL = """
import asyncio, db, other
for each in (db.get, db.get_all, db.put, db.cached, db.small): each()
for each in (db._private, db._other, db.__dunder__): each()
asyncio.run(db.coroutine()); list(db.generator())
db.foreign(); db.dumps(1); db.Foreign().method(); other.foreign()
for table in (db.Table(), db.Sub()):
    len(table); table.read(); table.write(); table._lock(); table._Table__hidden()
    table.open(); table.names(); table.size; table.width
db.Table.taken()
db.Table.Row().read(); db.Table.Row.Cell().read(); db._Hidden().read()
db.Sub().more(); db.Error().text()
"""
PUBLIC = ["get", "get_all", "put", "cached", "coroutine", "generator", "small"]
OF_TABLE = ["read", "write", "open", "names", "size", "width"]


@pytest.fixture
def measuring(run_tach, tmp_path: Path, tach_run_dir: Path) -> Measuring:
    """Runs programs that may import `db`."""
    found = Measuring(run_tach, tmp_path, tach_run_dir)
    found.write(db=DB, other=OTHER)
    return found


def labels(measuring: Measuring, pattern: str, *exclude: str) -> list[str]:
    """What of `db` the pattern takes, by the label of each."""
    target: dict[str, Any] = {"function": f"db:{pattern}", "metrics": ["count"]}
    if exclude:
        target["exclude"] = list(exclude)
    measured = measuring.run(ALL, {"c": target})
    assert measured.troubles == []
    assert all(name.startswith("c.") for name in measured.series)
    return sorted(name.removeprefix("c.") for name in measured.series)


@pytest.mark.parametrize(
    ("pattern", "exclude", "found"),
    [
        ("*", [], PUBLIC),
        ("get*", [], ["get", "get_all"]),
        ("?et", [], ["get"]),
        ("*", ["get_*", "c*"], ["get", "put", "generator", "small"]),
        ("_*", [], ["_other", "_private"]),
        ("_p*", [], ["_private"]),
        ("Table.*", [], OF_TABLE),
        ("Table._*", [], ["_lock", "_Table__hidden"]),
        ("Table.*", ["write", "Table.open"], ["read", "names", "size", "width"]),
        ("Table.*", ["Sub.*"], OF_TABLE),
        ("Sub.*", [], ["read", "more"]),
        (
            "*.*",
            [],
            [*(f"Table.{name}" for name in OF_TABLE), "Sub.read", "Sub.more", "Error.text"],
        ),
        ("*.re*", ["Sub.read"], ["Table.read"]),
        ("*.read", [], ["Table.read", "Sub.read"]),
        ("_*.*", [], ["_Hidden.read"]),
        ("Table.*.*", [], ["Row.read"]),
        ("Table.Row.*.read", [], ["Cell.read"]),
        ("*.*.*.*", [], ["Table.Row.Cell.read"]),
    ],
)
def test_a_wildcard_takes_what_the_module_defines(
    measuring, pattern: str, exclude: list[str], found: list[str]
) -> None:
    """Public functions, methods of every kind, properties; neither dunders nor what is imported."""
    assert labels(measuring, pattern, *exclude) == sorted(found)


def test_a_wildcard_that_takes_nothing_is_reported(measuring) -> None:
    """The pattern is named where no function matches it."""
    measured = measuring.run("import db", {"c": "db:no_*"})
    assert measured.targets["c"]["state"] == "missing"
    assert "no 'no_*' among the functions of module db" in measured.targets["c"]["reason"]


def test_a_function_that_two_targets_take(measuring) -> None:
    """It is measured for both, each under its own name."""
    targets = {"all": "db:*", "one": "db:get", "some": "db:g?t"}
    measured = measuring.run("import db\ndb.get(); db.put()", targets)
    assert measured.calls == {"all.get": 1, "all.put": 1, "one": 1, "some.get": 1}


@pytest.fixture
def package(measuring) -> Measuring:
    """A package of some modules, beside one of a similar name."""
    files = {
        "nova/__init__.py": "def top(): pass\n",
        "nova/api.py": """
def call(): pass
def _hidden(): pass
class Api:
    def get(self): pass
""",
        "nova/db.py": "from nova.api import call\ndef query(): pass\n",
        "nova/deep/__init__.py": "",
        "nova/deep/api.py": "def call(): pass\n",
        "novac.py": "def call(): pass\n",
    }
    for name, text in files.items():
        file = measuring.directory / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return measuring


CALL_ALL = """
import nova, nova.api, nova.db, nova.deep.api, novac
nova.top(); nova.api.call(); nova.api._hidden(); nova.api.Api().get()
nova.db.query(); nova.db.call(); nova.deep.api.call(); novac.call()
"""


@pytest.mark.parametrize(
    ("function", "found"),
    [
        ("nova.*:*", {"c.api.call": 2, "c.db.query": 1, "c.deep.api.call": 1}),
        ("nova.*:call", {"c.api.call": 2, "c.deep.api.call": 1}),
        ("nova.a*:*", {"c.api.call": 2}),
        ("nova*:call", {"c.nova.api.call": 2, "c.nova.deep.api.call": 1, "c.novac.call": 1}),
        ("*.api:call", {"c.nova.api.call": 2, "c.nova.deep.api.call": 1}),
        ("nova.*:*.*", {"c.api.Api.get": 1}),
        ("nova.api:Api.*", {"c.get": 1}),
    ],
)
def test_wildcards_of_modules(package, function: str, found: dict[str, int]) -> None:
    """Modules of a package as they are imported, packages in it too; their names are labels."""
    target = {"function": function, "metrics": ["count"]}
    measured = package.run(CALL_ALL, {"c": target})
    assert measured.calls == found
    assert measured.troubles == [] or all("had been taken" in each for each in measured.troubles)


LAZY = """
class Lazy:
    @property
    def __class__(self): raise RuntimeError("not ready")
    def __bool__(self): raise RuntimeError("not ready")
    def __call__(self): return 3
lazy = Lazy()
class Some:
    lazy = lazy
    def read(self): return 1
def get(): return 2
"""


@pytest.mark.parametrize("function", ["*", "*.*", "Some.*", "lazy.get", "Some.lazy", "lazy"])
def test_what_is_lazy_is_left_asleep(function: str, measuring: Measuring) -> None:
    """No object of a module is asked what it is: some find that out, and fail where it is early."""
    measuring.write(sleepy=LAZY)
    program = "import sleepy; print(sleepy.get(), sleepy.Some().read(), sleepy.Some.lazy())"
    measured = measuring.run(program, {"x": f"sleepy:{function}"})
    assert measured.stdout == "2 1 3\n"
    assert not any("not ready" in each for each in measured.troubles)


@pytest.mark.parametrize("body", ["raise RuntimeError()", "return False"])
def test_a_module_that_puts_another_object_in_its_place(body: str, measuring: Measuring) -> None:
    """It is what others import then, whatever it says of its truth."""
    other = f"import sys\nclass Other:\n  def __bool__(self): {body}\n  def get(self): return 1\n"
    measuring.write(replaced=f"{other}sys.modules[__name__] = Other()\ndef get(): return 2\n")
    measured = measuring.run("import replaced; print(replaced.get())", {"x": "replaced:get"})
    assert measured.stdout == "1\n"
    assert measured.targets["x"]["state"] == "refused"


def test_a_module_that_is_loaded_again(measuring) -> None:
    """After a reload the new functions are measured, under the same names."""
    program = """
import db, importlib
db.get()
old = db.get
importlib.reload(db)
db.get(); db.put(); old()
"""
    measured = measuring.run(program, {"c": {"function": "db:*", "metrics": ["count"]}})
    assert measured.calls == {"c.get": 3, "c.put": 1}


def test_the_status_says_how_many_functions_it_is(
    measuring, spawn_tach, processes, environment
) -> None:
    """Also when a module has been loaded twice, each is counted once."""
    measuring.write(
        program="import db, importlib, sys\nimportlib.reload(db)\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
    )
    config = measuring.config({"c": "db:*", "t": "db:Table.*", "one": "db:?et"})
    file = measuring.directory / "program.py"
    program = spawn_tach(config, sys.executable, file, stdin=subprocess.PIPE)
    assert program.stdout.readline() == "ready\n"
    command = [sys.executable, "-m", "tach", "status", "--json"]
    asked = processes.start(command, env=environment, cwd=measuring.directory)
    stdout, stderr = asked.communicate(timeout=30)
    assert asked.returncode == 0, stderr
    assert program.communicate("\n", 60)[1] == ""
    [run] = json.loads(stdout)["runs"]
    said = {each["name"]: (each["state"], each["reason"]) for each in run["targets"]}
    assert said == {
        "c": ("patched", f"{len(PUBLIC)} functions"),
        "t": ("patched", f"{len(OF_TABLE)} functions"),
        "one": ("patched", "1 function"),
    }
