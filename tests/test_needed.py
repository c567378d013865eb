"""Functions that the agent itself calls: a target may mean them, and the program works."""

from __future__ import annotations

import ast
import builtins
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from measuring import Measuring

import tach
from tach.agent.kinds import NEEDED

PACKAGE = Path(tach.__file__).parent
AGENT = [*PACKAGE.glob("agent/**/*.py"), *map(PACKAGE.joinpath, ("layout.py", "names.py"))]
# Called before or beside the measuring, where it may be counted but does no harm.
ASIDE = {"compile", "exec", "open"}
IMPLIED = {"__build_class__", "__import__"}  # by statements
PROGRAM = """\
import json, os, re
class Some: value = [len("abc"), max(1, 2), repr(os.getpid() > 0)]
print(json.dumps(Some.value), re.sub("b", "c", "abc"), sorted(globals()) == sorted(locals()))
print(eval("Some.value[0]"), os.stat(".").st_size > 0, isinstance(Some(), Some))
"""


@pytest.fixture
def measuring(run_tach: Any, tmp_path: Path, tach_run_dir: Path) -> Measuring:
    """Programs in a directory of their own."""
    return Measuring(run_tach, tmp_path, tach_run_dir)


def called(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The module and the name of each function that is looked up there when it is called."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    modules = {each.asname or each.name: each.name for node in imports for each in node.names}
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Name(name)) if callable(getattr(builtins, name, None)):
                if not isinstance(getattr(builtins, name), type):
                    yield "builtins", name
            case ast.Call(ast.Attribute(ast.Name(module), name)) if module in modules:
                yield modules[module], name


def test_all_are_known() -> None:
    """What the agent calls of the interpreter's own modules is refused as a target, no more."""
    found: dict[str, set[str]] = {module: set() for module in NEEDED}
    own = set(sys.builtin_module_names) - {"itertools"}  # of which only classes are called
    for file in AGENT:
        for module, name in called(ast.parse(file.read_text())):
            if module in own:
                found.setdefault(module, set()).add(name)
    found["builtins"] = found["builtins"] - ASIDE | IMPLIED

    assert found == NEEDED


@pytest.mark.parametrize("target", ["builtins:*", "posix:*", "sys:*", "*:*"])
def test_all_at_once(target: str, measuring: Measuring) -> None:
    """A program of whose interpreter everything is measured says what it says without that."""
    measured = measuring.run(PROGRAM, {"x": {"function": target}})
    bare = [sys.executable, measuring.directory / "program.py"]
    assert measured.stdout == subprocess.run(bare, capture_output=True, text=True).stdout


@pytest.mark.parametrize("target", ["builtins:len", "posix:getpid", "sys:_getframe"])
def test_each_is_refused(target: str, measuring: Measuring) -> None:
    """Whoever names one of them is told why it is not measured."""
    measured = measuring.run(PROGRAM, {"x": target})
    assert measured.calls == {}
    assert measured.targets["x"]["state"] == "refused"
    assert measured.targets["x"]["reason"] == "it is what tach itself needs to measure"
