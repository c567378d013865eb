"""wrapt's proxy type is had without the modules that wrapt brings along."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

LOOK = """
import sys
bare = set(sys.modules)
{before}
from tach.agent import proxy
found = proxy.object_proxy()
new = {{name.partition('.')[0] for name in set(sys.modules) - bare}}
wanted = {{'asyncio', 'logging', 'socket', 'ssl', 'threading', 'wrapt'}}
print(sorted(new & wanted))
def function(): return 7
class Probe(found):
    __slots__ = ()
    def __call__(self): return self.__wrapped__() + 1
print(Probe(function)(), Probe(function).__name__)
{after}
"""
# wrapt as a program uses it
USE = """
import wrapt
@wrapt.decorator
def double(wrapped, instance, args, kwargs):
    return 2 * wrapped(*args, **kwargs)
class Thing:
    @double
    def method(self, number): return number
assert Thing().method(4) == 8
assert isinstance(wrapt.ObjectProxy([]), wrapt.ObjectProxy)
assert isinstance(wrapt.ObjectProxy([]), list)
assert wrapt.FunctionWrapper(Probe(function), lambda w, i, a, k: w(*a, **k) + 1)() == 9
print('works', sys.modules['wrapt'] is wrapt)
"""
IS_WRAPTS = "print(found in (wrapt.ObjectProxy, getattr(wrapt, 'BaseObjectProxy', None)))"


@pytest.fixture
def look(environment: dict[str, str]) -> Any:
    """Run LOOK with code before and after, and return its lines."""

    def look(before: str = "", after: str = "", **variables: str) -> list[str]:
        code = LOOK.format(before=before, after=after)
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env={**environment, "WRAPT_DISABLE_EXTENSIONS": "", **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.stderr == ""
        return ended.stdout.splitlines()

    return look


def has_extension() -> bool:
    """Whether the installed wrapt has its extension module."""
    from importlib.util import find_spec

    return find_spec("wrapt._wrappers") is not None


@pytest.mark.skipif(not has_extension(), reason="the wrapt that is installed has no extension")
def test_only_the_extension_is_loaded(look: Any) -> None:
    """The proxy type comes without wrapt in sys.modules, and without what wrapt imports."""
    new, probe = look()

    assert (new, probe) == ("[]", "8 function")


def test_a_program_that_imports_wrapt_later_gets_it_whole(look: Any) -> None:
    """Decorators, proxies and wrappers of wrapt work, around a probe too."""
    assert look(after=USE)[-1] == "works True"


def test_the_wrapt_of_the_program_is_used(look: Any) -> None:
    """Where wrapt has been imported, its own type is taken."""
    assert look("import wrapt", USE + IS_WRAPTS)[-2:] == ["works True", "True"]


def test_with_threads_wrapt_is_imported_whole(look: Any) -> None:
    """While other threads run nobody may see a stand-in for wrapt."""
    before = """
import _thread, time
lock = _thread.allocate_lock(); lock.acquire()
_thread.start_new_thread(lock.acquire, ())
while not _thread._count(): time.sleep(0.001)
"""
    new, probe, last = look(before, USE + "lock.release()")

    assert "'wrapt'" in new
    assert (probe, last) == ("8 function", "works True")


def test_who_wants_no_extensions_gets_none(look: Any) -> None:
    """WRAPT_DISABLE_EXTENSIONS holds for tach as for wrapt itself."""
    _, *lines = look(after=USE + IS_WRAPTS, WRAPT_DISABLE_EXTENSIONS="1")

    assert lines == ["8 function", "works True", "True"]
