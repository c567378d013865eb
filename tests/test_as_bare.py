"""Small programs of which all is measured say what they say without tach."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from measuring import Measuring

ALL = ["timing", "count", "exceptions", "inflight"]
GREEN = ["own", "running", "waiting", "cpu"]
# The module `m`, of which all is measured; the program; further targets in it.
PROGRAMS = {
    "a partial in a class": (
        "import functools\n"
        "def names(*args): return [type(each).__name__ for each in args]\n"
        "class C: p = functools.partial(names, 1)\n",
        "import m, warnings; warnings.simplefilter('ignore'); print(m.C().p(5))",
        ["C.p"],
    ),
    "the documentation of a property": (
        "class C:\n  @property\n  def x(self): 'of the getter'\n  x.__doc__ = 'of the property'\n",
        "import m; print(m.C.x.__doc__)",
        [],
    ),
    "a callable sequence": (
        "class Sequence:\n"
        "  def __call__(self): return 0\n"
        "  def __len__(self): return 2\n"
        "  def __getitem__(self, at): return [10, 20][at]\n"
        "sequence = Sequence()\n",
        "import m; print(list(m.sequence), [*m.sequence], len(m.sequence))",
        ["sequence"],
    ),
    "an operator in place that the function has not": (
        "def f(): return 1\n",
        "import m\n"
        "class Pipe:\n"
        "  def __ror__(self, other): return Pipe()\n"
        "p = m.f; p |= Pipe(); print(type(p).__name__, p is m.f, m.f(), repr(m.f)[:11])\n"
        "try: p = m.f; p += 1\n"
        "except TypeError as error: print(type(error).__name__)\n",
        [],
    ),
    "an operator in place that the object has": (
        "class Sum:\n"
        "  n = 0\n"
        "  def __call__(self): return self.n\n"
        "  def __iadd__(self, more): self.n += more; return self\n"
        "sum_ = Sum()\n",
        "import m; s = m.sum_; s += 5; print(s is m.sum_, m.sum_())",
        ["sum_"],
    ),
    "pickled as copyreg says": (
        "import copyreg, threading\n"
        "class Locked:\n"
        "  def __init__(self): self.lock = threading.Lock()\n"
        "  def __call__(self): return 1\n"
        "def make(): return Locked()\n"
        "copyreg.pickle(Locked, lambda locked: (make, ()))\n"
        "locked = Locked()\n",
        "import m, pickle; print(type(pickle.loads(pickle.dumps(m.locked))).__name__)",
        ["locked"],
    ),
    "an audit hook": (
        "def audit(event, args): pass\n",
        "import m, sys; sys.addaudithook(m.audit); open(__file__).close(); print('open')",
        [],
    ),
    "a module at the end": (
        "import os\n"
        "def f(): return 1\n"
        "class C:\n"
        "  def two(self): return 2\n"
        "  def __del__(self): os.write(1, b'%d %d\\n' % (f(), self.two()))\n"
        "kept = C()\n",
        "import m; print(m.f(), m.kept.two(), flush=True)",
        [],
    ),
}
# These end after the modules of tach do: what is not compiled cannot do without.
LATE = {
    "a hook that keeps the program": (
        "import os, time\n"
        "class C:\n"
        "  def flush(self, slow=0, sleep=time.sleep, write=os.write):\n"
        "    sleep(slow); write(1, b'flushed\\n')\n"
        "  def close(self, write=os.write): write(1, b'closed\\n')\n"
        "  def __del__(self): self.flush(0.05); self.close()\n",
        "import m, sys\n"
        "def hook(*args): sys.__excepthook__(*args)\n"
        "sys.excepthook = hook\n"
        "x = m.C(); x.flush(); print('end', flush=True)\n",
        [],
    ),
    "what the interpreter keeps to its end": (
        "import os\n"
        "class C:\n"
        "  def close(self, write=os.write): write(1, b'closed\\n')\n"
        "  def __del__(self): self.close()\n",
        "import codecs, m\n"
        "m.C().close()\n"
        "class Search(m.C):\n"
        "  def __call__(self, name): return None\n"
        "codecs.register(Search()); print('end', flush=True)\n",
        [],
    ),
}
Case = tuple[str, str, list[str]]


@pytest.fixture
def measuring(run_tach: Any, tmp_path: Path, tach_run_dir: Path) -> Measuring:
    """Programs in a directory of their own."""
    return Measuring(run_tach, tmp_path, tach_run_dir)


@pytest.mark.parametrize("metrics", [ALL, GREEN], ids=["counted", "green"])
@pytest.mark.parametrize("case", PROGRAMS.values(), ids=PROGRAMS)
def test_it_says_the_same(case: Case, metrics: list[str], measuring: Measuring) -> None:
    """Whatever it does with its functions, objects and properties, and however it ends."""
    assert_the_same(case, metrics, measuring)


@pytest.mark.skipif(os.environ.get("TACH_PURE") == "1", reason="not without the compiled probe")
@pytest.mark.parametrize("metrics", [ALL, GREEN], ids=["counted", "green"])
@pytest.mark.parametrize("case", LATE.values(), ids=LATE)
def test_it_ends_the_same(case: Case, metrics: list[str], measuring: Measuring) -> None:
    """What runs when the interpreter is taken apart runs, and does not end it."""
    assert_the_same(case, metrics, measuring)


def assert_the_same(case: Case, metrics: list[str], measuring: Measuring) -> None:
    """Run it with and without."""
    module, program, more = case
    measuring.write(m=module)
    functions = ["*", "*.*", *more]
    targets = {
        f"t{number}": {"function": f"m:{each}", "metrics": metrics}
        for number, each in enumerate(functions)
    }
    measured = measuring.run(program, targets)
    bare = [sys.executable, measuring.directory / "program.py"]
    done = subprocess.run(bare, capture_output=True, text=True, check=True)
    assert measured.stdout == done.stdout
    assert done.stdout
