"""Whoever imports a target's module and however: the program sees no difference, calls count."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import Processes
from reports import Report

PYTHON = sys.executable
UNTIL_3_11 = sys.version_info < (3, 12)
DEBUG_BUILD = hasattr(sys, "gettotalrefcount")
MODULE = "def function():\n    return 1\n"
# prints what a program could look at, under whatever name `module` was imported
LOOK = """
import inspect
print(type(module.__loader__), type(module.__spec__.loader), module.__spec__.name)
print(module.__loader__ is module.__spec__.loader, inspect.getsource(module.function))
"""


class Ended(subprocess.CompletedProcess[str]):
    """How a run under tach ended, just as the bare one; with the calls of each series."""

    calls: dict[str, int]
    states: dict[str, str]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The directory that the programs run in."""
    place = tmp_path / "place"
    place.mkdir()
    return place


@pytest.fixture
def run(
    processes: Processes,
    environment: dict[str, str],
    place: Path,
    tmp_path: Path,
    tach_run_dir: Path,
) -> Callable[..., Ended]:
    """Run the command bare and under tach: both must print and end the same."""
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    report = Report(tmp_path / "report.json", tach_run_dir)

    def end(command: list[str]) -> subprocess.CompletedProcess[str]:
        process = processes.start(command, cwd=place, env=environment)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def run(*arguments: str, **targets: str) -> Ended:
        import yaml

        config = tmp_path / "tach.yaml"
        config.write_text(yaml.safe_dump(report.config(**targets)))
        bare = end([PYTHON, *arguments])
        measured = end([PYTHON, "-m", "tach", str(config), PYTHON, *arguments])
        assert measured.stderr == bare.stderr
        assert measured.stdout == bare.stdout
        assert measured.returncode == bare.returncode
        ended = Ended(arguments, bare.returncode, bare.stdout, bare.stderr)
        lines = report.lines()
        ended.calls = {line["series"]: line["calls"] for line in lines if "series" in line}
        ended.states = {
            line["target"]: f"{line['state']}: {line['reason']}"
            for line in lines
            if "target" in line
        }
        return ended

    return run


def write(place: Path, **files: str) -> None:
    """Modules of these names (`__` between package and submodule) and texts."""
    for name, text in files.items():
        file = place / (name.replace("__", "/") + ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


WAYS = {
    "import": "import target as module",
    "from import": "from target import function; import target as module",
    "import_module": "import importlib; module = importlib.import_module('target')",
    "__import__": "module = __import__('target')",
    "in a thread": """
import threading
thread = threading.Thread(target=lambda: __import__('target')); thread.start(); thread.join()
import target as module""",
    "made by hand": """
import importlib.util, sys
spec = importlib.util.find_spec('target')
print(spec.origin, spec.loader.path, spec.loader.get_source('target'), isinstance(spec.loader,
    importlib.machinery.SourceFileLoader), spec.loader.is_package('target'))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)""",
    "lazily": """
import importlib.util, sys
spec = importlib.util.find_spec('target')
spec.loader = importlib.util.LazyLoader(spec.loader)
module = sys.modules['target'] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(type(module).__name__)
module.function
print(type(module).__name__)""",
    "through pkgutil": """
import pkgutil, importlib
for found in pkgutil.walk_packages(['.']): print(found.name)
print(pkgutil.get_data('target', 'target.py'), pkgutil.resolve_name('target:function').__name__)
import target as module""",
    "after a finder was put first": """
import sys, importlib.abc
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        print('asked for', name) if name == 'target' else None
sys.meta_path.insert(0, Finder())
import target as module""",
    "past a hook of wrapt": """
import wrapt
seen = []
wrapt.register_post_import_hook(seen.append, 'target')
import target as module
print(seen == [module], type(module.__loader__))""",
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_import_a_module_is_seen_and_leaves_no_trace(
    way: str, run: Callable[..., Ended], place: Path
) -> None:
    """However a module is imported: its functions are measured, its loader and spec its own."""
    write(place, target=MODULE)
    look = "" if "wrapt" in way else LOOK

    ended = run("-c", f"{WAYS[way]}\n{look}\nmodule.function()", t="target:function")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.calls == {"t": 1}


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="load_module is no more")
def test_a_loader_from_before_exec_module_is_watched_too(
    run: Callable[..., Ended], place: Path
) -> None:
    """A loader that has load_module alone loads as it does bare, and its module is measured."""
    write(place, target=MODULE)
    program = """
import sys, types, importlib.util, warnings
class Loader:
    def load_module(self, name):
        module = sys.modules[name] = types.ModuleType(name)
        exec(open(name + '.py').read(), vars(module))
        return module
class Finder:
    def find_spec(self, name, path, target=None):
        if name == 'target':
            return importlib.util.spec_from_loader(name, Loader())
warnings.simplefilter('ignore')
sys.meta_path.insert(1, Finder())
import target
print(type(target.__loader__), type(target.__spec__.loader), target.__name__)
target.function()
"""

    assert run("-c", program, t="target:function").calls == {"t": 1}


@pytest.mark.skipif(not UNTIL_3_11, reason="find_module is no more")
def test_a_finder_from_before_find_spec_is_asked_in_its_turn(
    run: Callable[..., Ended], place: Path
) -> None:
    """A finder that has find_module alone is asked before those behind it, as it is bare."""
    write(place, target="def function(): print('another')\n")
    program = """
import sys, types, warnings
class Finder:
    def find_module(self, name, path=None):
        return self if name == 'target' else None
    def load_module(self, name):
        module = sys.modules[name] = types.ModuleType(name)
        module.function = eval("lambda: print('the one')")
        return module
warnings.simplefilter('ignore')
sys.meta_path.insert(1, Finder())
import target
target.function()
"""

    assert run("-c", program, t="target:function").calls == {"t": 1}


def test_a_finder_that_hides_modules_from_tach_is_caught_up_with(
    run: Callable[..., Ended], place: Path
) -> None:
    """A finder put first that finds the target itself delays the measuring to the next import."""
    write(place, target=MODULE, other="")
    program = """
import sys
from importlib.machinery import PathFinder
class Finder:
    def find_spec(self, name, path=None, target=None):
        return PathFinder.find_spec(name, path) if name == 'target' else None
sys.meta_path.insert(0, Finder())
import target
import other
target.function()
"""

    assert run("-c", program, t="target:function").calls == {"t": 1}


def test_a_reloaded_module_keeps_its_series(run: Callable[..., Ended], place: Path) -> None:
    """After importlib.reload the new function is measured, once a call, in the same series."""
    write(place, target="def function():\n    return 1\nother = function\n")
    program = """
import importlib, target
old = target.function
old()
for _ in range(3):
    importlib.reload(target)
    target.function()
print(old is not target.function)
old()
"""

    ended = run("-c", program, t="target:function", same="target:function")

    assert ended.calls == {"t": 5, "same": 5}


def test_packages_and_their_submodules(run: Callable[..., Ended], place: Path) -> None:
    """The __init__ of a package, its submodules and those of a namespace package are measured."""
    inner = "from . import sub\ndef function(): return sub.function()\n"
    write(place, pack____init__="", space__sub=MODULE)
    (place / "pack").mkdir(exist_ok=True)
    (place / "pack" / "__init__.py").write_text(inner)
    (place / "pack" / "sub.py").write_text(MODULE)
    program = """
import pack, space.sub
print(pack.__path__, pack.sub.__package__, list(space.__path__), type(space.__loader__))
pack.function(); pack.sub.function(); space.sub.function()
"""

    ended = run(
        "-c", program, init="pack:function", sub="pack.sub:function", space="space.sub:function"
    )

    assert ended.calls == {"init": 1, "sub": 2, "space": 1}


def test_resources_of_a_measured_package_are_found(run: Callable[..., Ended], place: Path) -> None:
    """importlib.resources and pkgutil.get_data work with a package that is a target."""
    (place / "pack").mkdir()
    (place / "pack" / "__init__.py").write_text(MODULE)
    (place / "pack" / "data.txt").write_text("data")
    program = """
import importlib.resources, pkgutil
print(pkgutil.get_data('pack', 'data.txt'))
print(importlib.resources.files('pack').joinpath('data.txt').read_text())
import pack; pack.function()
"""

    assert run("-c", program, t="pack:function").calls == {"t": 1}


def test_circular_imports(run: Callable[..., Ended], place: Path) -> None:
    """Two modules that import each other are both measured, from the end of their execution on."""
    write(
        place,
        one="import two\ndef function(): return two.late()\ntwo.function()\n",
        two="import one\ndef function(): return 1\ndef late(): return 2\n",
    )

    ended = run(
        "-c", "import one; one.function()", a="one:function", b="two:function", c="two:late"
    )

    assert ended.calls == {"a": 1, "b": 1, "c": 1}


def test_modules_in_a_zip_file(run: Callable[..., Ended], place: Path) -> None:
    """Modules of a zip file are measured, also where the program is one (python app.zip)."""
    with zipfile.ZipFile(place / "app.zip", "w") as archive:
        archive.writestr("__main__.py", f"import target as module\n{LOOK}\nmodule.function()\n")
        archive.writestr("target.py", MODULE)

    assert run("app.zip", t="target:function").calls == {"t": 1}


@pytest.mark.parametrize("how", ["-m", "runpy"])
def test_a_package_that_is_run(how: str, run: Callable[..., Ended], place: Path) -> None:
    """`python -m package` has its own spec as __main__; the submodules it imports are measured."""
    (place / "pack").mkdir()
    (place / "pack" / "__init__.py").write_text("")
    (place / "pack" / "sub.py").write_text(MODULE)
    (place / "pack" / "__main__.py").write_text(
        "from pack import sub\nsub.function()\n"
        "print(__name__, __spec__.name, type(__spec__.loader), type(__loader__), __package__)\n"
    )
    command = ["-m", "pack"]
    if how == "runpy":
        command = ["-c", "import runpy; runpy.run_module('pack', run_name='__main__')"]

    assert run(*command, t="pack.sub:function").calls == {"t": 1}


def test_the_target_itself_is_run(run: Callable[..., Ended], place: Path) -> None:
    """`python -m target` leaves no trace of tach in the spec and loader of __main__."""
    text = f"{MODULE}\nif __name__ == '__main__':\n"
    text += "    print(__spec__.name, type(__spec__.loader), type(__loader__), __loader__.path)\n"
    write(place, target=text)

    assert run("-m", "target", t="target:function").returncode == 0


def test_a_module_that_puts_an_object_in_its_place(run: Callable[..., Ended], place: Path) -> None:
    """A module that replaces itself is measured as the module it put there, or refused."""
    write(
        place,
        target="import sys, types\nnew = types.ModuleType('new')\n"
        "new.function = eval('lambda: 1')\nsys.modules[__name__] = new\n",
        thing="import sys\nclass Thing:\n    def function(self): return 1\n"
        "sys.modules[__name__] = Thing()\n",
    )

    ended = run(
        "-c",
        "import target, thing; print(target.function(), thing.function())",
        t="target:function",
        thing="thing:function",
    )

    assert ended.calls == {"t": 1}
    assert ended.states == {
        "thing": "refused: the module has put an object of type thing.Thing in its place"
    }


def test_modules_imported_before_the_program(
    run: Callable[..., Ended], place: Path, environment: dict[str, str]
) -> None:
    """What the program's own sitecustomize imports is measured too."""
    write(place, target=MODULE, sitecustomize="import target\ntarget.function()\n")
    environment["PYTHONPATH"] = str(place)

    ended = run("-c", "import target; target.function()", t="target:function")

    assert ended.calls == {"t": 2}


FAILURES = {
    "ValueError": "raise ValueError('broken')\n",
    "ImportError": "import no_such_module\n",
    "SyntaxError": "def f(:\n",
    "SystemExit": "raise SystemExit(3)\n",
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_import_fails_as_it_does_bare(
    failure: str, run: Callable[..., Ended], place: Path
) -> None:
    """Exception, printed traceback and exit status of a target's failing import are the same."""
    write(place, target=FAILURES[failure])

    ended = run("-c", "import target", t="target:function")

    assert ended.returncode == (3 if failure == "SystemExit" else 1)
    assert ended.calls == {}


def test_an_import_that_works_at_the_second_try(run: Callable[..., Ended], place: Path) -> None:
    """After a failed import a later one, successful, is measured."""
    write(place, target=f"import sys\nif not sys.argv[1:]: raise ValueError('not yet')\n{MODULE}")
    program = """
import sys
try:
    import target
except ValueError as error:
    print(error, 'target' in sys.modules)
sys.argv.append('now')
import target
target.function()
"""

    assert run("-c", program, t="target:function").calls == {"t": 1}


FUNCTIONS = 40
# a handler that raises at whatever moment of an import, and of what tach does within it
INTERRUPTED = f"""
import signal, sys
class Timeout(Exception): pass
raised, caught, ignored = [], [], []
def raise_timeout(*_):
    raised.append(1)
    raise Timeout
signal.signal(signal.SIGALRM, raise_timeout)
sys.unraisablehook = ignored.append
for each in range(400):
    sys.modules.pop("module", None)
    try:
        signal.setitimer(signal.ITIMER_REAL, (1 + each % 80) * 1e-4)
        import module
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Timeout:
        caught.append(1)
sys.modules.pop("module", None)
import module
for each in range({FUNCTIONS}):
    getattr(module, f"function_{{each}}")()
print(len(raised) > 0, len(raised) - len(caught) - len(ignored))
"""


@pytest.mark.skipif(DEBUG_BUILD, reason="it ends where a handler raises in the middle of int * int")
def test_what_a_handler_raises_within_an_import_comes_through(
    run: Callable[..., Ended], place: Path
) -> None:
    """It is not lost where tach was at work just then, and the next import is measured."""
    functions = [f"def function_{each}(): pass" for each in range(FUNCTIONS)]
    (place / "module.py").write_text("\n".join(functions))

    ended = run("-c", INTERRUPTED, all="module:*")

    assert ended.stdout == "True 0\n"
    assert ended.calls == {f"all.function_{each}": 1 for each in range(FUNCTIONS)}


# as deep as an import still goes, and deeper than all that tach would like to do within it
DEEP = """
import sys
def depth():
    frame, found = sys._getframe(), 0
    while frame is not None:
        frame, found = frame.f_back, found + 1
    return found
def go_down(by):
    if by > 0:
        return go_down(by - 1)
    import module
    return module
print(go_down(sys.getrecursionlimit() - depth() - 30).function())
"""


def test_an_import_in_the_depth_of_a_recursion(run: Callable[..., Ended], place: Path) -> None:
    """It succeeds as without tach, also where nothing can be measured so deep; that is told."""
    (place / "module.py").write_text(MODULE)

    ended = run("-c", DEEP, function="module:function")

    assert ended.stdout == "1\n"
    assert ended.states["function"].startswith("refused: RecursionError")


def test_warnings_at_import_name_the_importer(run: Callable[..., Ended], place: Path) -> None:
    """A module that warns of itself with stacklevel=2 still blames who imports it."""
    write(
        place,
        target=f"import warnings\nwarnings.warn('old', DeprecationWarning, stacklevel=2)\n{MODULE}",
        program="import target\ntarget.function()\n",
    )

    ended = run("program.py", t="target:function")

    assert "program.py:1: DeprecationWarning: old" in ended.stderr
    assert ended.calls == {"t": 1}


def test_the_finder_is_one_object_that_finds_nothing_by_itself(
    run: Callable[..., Ended], place: Path
) -> None:
    """Modules that are no targets keep their very own loaders even before they are executed."""
    write(place, target=MODULE, other=MODULE)
    program = """
import importlib.util
spec = importlib.util.find_spec('other')
print(type(spec.loader), type(spec.loader).__module__)
print(importlib.util.find_spec('no_such_module'))
"""

    assert run("-c", program, t="target:function").calls == {}
