"""`tach check`: what a configuration means, alone and in a program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import Processes, marked, wait_for, wait_until

PYTHON = sys.executable
CONFIG = """\
prefix: shop.{host}
notifiers:
  statsd: {type: statsd, port: 8126}
  bus: {type: amqp, url: ["amqp://user:sesame@a//", "amqp://user:sesame@b//"], exchange: nova}
targets:
  checkout: shop.orders:checkout
  find: {function: "shop.catalogue:Catalogue.find", metrics: timing, notifiers: statsd}
"""
ORDERS = """\
import functools
import os
from shop.table import register

class Basket:
    def place(self, context, item): pass

    @classmethod
    def load(cls, key="k"): pass

    @staticmethod
    def price(item: str) -> int: pass

    @property
    def size(self): pass

    async def fetch(self): pass

    class Line:
        def total(self): pass

@register
def checkout(basket, *, fast=False): pass

@functools.lru_cache
def tax(country): pass

def lines():
    yield 1

async def feed(): pass

def _hidden(): pass

halve = functools.partial(divmod, 2)
"""
TABLE = """\
ALL = []

def register(function):
    ALL.append(function)
    return function
"""
SERVICE = """\
open("started", "w").close()

class Server:
    async def stream(self, *args, **kwargs):
        yield 1

    @staticmethod
    def handle(request, timeout: float = 1.0) -> int: ...

if True:
    def main(argv=None): ...

main()
"""

Check = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a package and a program."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "orders.py").write_text(ORDERS)
    (tmp_path / "shop" / "table.py").write_text(TABLE)
    (tmp_path / "service.py").write_text(SERVICE)
    return tmp_path


@pytest.fixture
def check(processes: Processes, environment: dict[str, str], place: Path) -> Check:
    """Run `tach check` for these targets and this program; nothing of the program has been run."""

    def run(
        targets: dict[str, Any], *program: str, options: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        (place / "tach.yaml").write_text(json.dumps({"targets": targets}))
        command = [PYTHON, "-m", "tach", "check", *options, "tach.yaml", *program]
        process = processes.start(command, cwd=place, env=environment)
        stdout, stderr = process.communicate(timeout=60)
        assert not (place / "started").exists()
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    return run


def functions(checked: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What `check --json` said: the functions of all targets by series."""
    lines = [json.loads(line) for line in checked.stdout.splitlines()]
    return {each["series"]: each for line in lines for each in line["functions"]}


def test_the_plan_is_shown_without_passwords(tmp_path: Path) -> None:
    """Every notifier and target with all that was decided for it; of URLs, not who logs in."""
    (tmp_path / "tach.yaml").write_text(CONFIG)

    shown = subprocess.run(
        [sys.executable, "-m", "tach", "check", "tach.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert shown == (
        "tach.yaml: 2 targets, every 1 s\n"
        "notifier statsd: statsd port=8126\n"
        "notifier bus: amqp url=amqp://***@a//,amqp://***@b// exchange=nova\n"
        "target shop.{host}.checkout: shop.orders:checkout\n"
        "    timing, count, exceptions -> statsd, bus\n"
        "target shop.{host}.find: shop.catalogue:Catalogue.find\n"
        "    timing -> statsd\n"
    )


def test_a_table_of_functions(check: Check) -> None:
    """Each function with its series, kind, place and signature, one line each; status 0."""
    targets = {
        "place": "shop.orders:Basket.place",
        "price": "shop.orders:Basket.price",
        "off": {"function": "shop.orders:nothing", "enabled": False},
    }

    checked = check(targets, "service.py", "ARG")

    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == (
        "tach.yaml: 2 targets, every 1 s\n"
        "notifier console: console\n"
        "series  kind           where              function                  signature\n"
        "place   method         shop/orders.py:6   shop.orders:Basket.place  "
        "(self, context, item)\n"
        "price   static method  shop/orders.py:11  shop.orders:Basket.price  (item: str) -> int\n"
        "target off: shop.orders:nothing, not enabled\n"
    )


KINDS = {
    "shop.orders:Basket.place": ("method", 6, "(self, context, item)"),
    "shop.orders:Basket.load": ("class method", 8, "(cls, key='k')"),
    "shop.orders:Basket.size": ("property", 14, "(self)"),
    "shop.orders:Basket.fetch": ("coroutine method", 17, "(self)"),
    "shop.orders:Basket.Line.total": ("method", 20, "(self)"),
    "shop.orders:tax": ("cached function", 25, "(country)"),
    "shop.orders:lines": ("generator function", 28, "()"),
    "shop.orders:feed": ("coroutine function", 31, "()"),
    "shop.orders:halve": ("partial function", 0, "(y, /)"),
    "math:sqrt": ("function in C", 0, "(x, /)"),
}


def test_json_has_a_line_for_each_target(check: Check, place: Path) -> None:
    """With --json a line for each target has all that is in the table, for each kind."""
    targets = {f"t{n}": function for n, function in enumerate(KINDS)}

    checked = check(targets, "service.py", options=("--json",))

    lines = [json.loads(line) for line in checked.stdout.splitlines()]
    assert [line["function"] for line in lines] == list(KINDS)
    assert all(line["ok"] and line["config"] == "tach.yaml" for line in lines)
    found = {
        each["function"]: (each["kind"], each["line"], each["signature"])
        for line in lines
        for each in line["functions"]
    }
    assert found == KINDS
    files = {each["file"] for line in lines[:8] for each in line["functions"]}
    assert files == {str(place / "shop" / "orders.py")}


def test_wildcards_are_shown_expanded(check: Check) -> None:
    """Each function of a wildcard with its label; none that is imported, hidden or excluded."""
    targets = {
        "o": {"function": "shop.orders:*", "exclude": ["t*"]},
        "b": "shop.orders:Basket.*",
        "all": "shop.*:*",
    }

    found = functions(check(targets, "service.py", options=("--json",)))

    assert {series: each["label"] for series, each in found.items()} == {
        "o.checkout": "checkout",
        "o.lines": "lines",
        "o.feed": "feed",
        "b.place": "place",
        "b.load": "load",
        "b.price": "price",
        "b.size": "size",
        "b.fetch": "fetch",
        "all.orders.checkout": "orders.checkout",
        "all.orders.tax": "orders.tax",
        "all.orders.lines": "orders.lines",
        "all.orders.feed": "orders.feed",
        "all.table.register": "table.register",
    }


def test_a_wildcard_imports_no_more_than_it_matches(check: Check, place: Path) -> None:
    """Of a package only the matching modules are imported, and never its __main__."""
    (place / "shop" / "other.py").write_text("open('started', 'w')")
    (place / "shop" / "__main__.py").write_text("open('started', 'w')")
    (place / "shop" / "sub").mkdir()
    (place / "shop" / "sub" / "__init__.py").touch()
    (place / "shop" / "sub" / "ordinary.py").write_text("def f(): pass")

    found = functions(
        check({"o": "shop.*ord*:*", "m": "shop.*main*:*"}, "service.py", options=("--json",))
    )

    assert found["o.sub.ordinary.f"]["function"] == "shop.sub.ordinary:f"
    assert "m.f" not in found


@pytest.mark.parametrize("how", ["script", "module", "package", "code"])
def test_the_program_itself_is_looked_up_without_running_it(
    how: str, check: Check, place: Path
) -> None:
    """Functions of `__main__`, or of the module that the program is, come from its source."""
    (place / "pack").mkdir()
    (place / "pack" / "__init__.py").touch()
    (place / "pack" / "__main__.py").write_text(SERVICE)
    program, file, module = {
        "script": (["service.py"], place / "service.py", "service"),
        "module": (["-m", "service"], place / "service.py", "service"),
        "package": (["-m", "pack"], place / "pack" / "__main__.py", "pack.__main__"),
        "code": (["-c", SERVICE], "<string>", "__main__"),
    }[how]
    targets = {
        "main": "__main__:main",
        "handle": f"{module}:Server.handle",
        "stream": "__main__:Server.st*",
        "wrong": "__main__:Server.handel",
    }

    checked = check(targets, *program, options=("--json",))

    lines = [json.loads(line) for line in checked.stdout.splitlines()]
    found = {
        each["series"]: (each["kind"], each["file"], each["line"], each["signature"], each["own"])
        for line in lines
        for each in line["functions"]
    }
    assert found == {
        "main": ("function", str(file), 11, "(argv=None)", True),
        "handle": (
            "static method",
            str(file),
            7,
            "(request, timeout: float=1.0) -> int",
            True,
        ),
        "stream.stream": (
            "async generator method",
            str(file),
            4,
            "(self, *args, **kwargs)",
            True,
        ),
    }
    assert lines[3]["problems"] == ["no 'handel' in class Server; did you mean 'handle'?"]
    assert lines[3]["nearest"] == ["handle"]
    assert checked.returncode == 1


def test_the_program_by_a_name_that_it_does_not_run_by(
    check: Check, place: Path, environment: dict[str, str]
) -> None:
    """A file of a package that is run as a script is not imported; its name would be __main__."""
    environment["PYTHONPATH"] = str(place)
    (place / "shop" / "service.py").write_text(SERVICE)

    checked = check({"main": "shop.service:main"}, "shop/service.py")

    assert checked.returncode == 1
    assert checked.stdout.splitlines()[-1] == (
        "tach.yaml:1: targets.main: the program's own file runs as __main__; write __main__:main"
    )


def test_a_module_that_cannot_be_imported(check: Check, place: Path) -> None:
    """Its exception is shown, and where; what it prints is not. The other targets are looked at."""
    (place / "shop" / "broken.py").write_text("print('noise')\nimport shop.deep\n")
    (place / "shop" / "deep.py").write_text("import sys\nsys.stderr.write('noise')\n\n1 / 0\n")
    (place / "shop" / "wrong.py").write_text("def f(:\n")
    (place / "shop" / "leaves.py").write_text("raise SystemExit('no DISPLAY')\n")
    targets = {
        "broken": "shop.broken:f",
        "wrong": "shop.wrong:f",
        "leaves": "shop.leaves:f",
        "right": "shop.orders:lines",
    }

    checked = check(targets, "service.py")

    assert (checked.returncode, checked.stderr) == (1, "")
    lines = checked.stdout.splitlines()
    assert lines[3].startswith("right ")
    assert lines[4:] == [
        "tach.yaml:1: targets.broken: cannot import 'shop.broken': "
        f"ZeroDivisionError: division by zero ({place}/shop/deep.py:4)",
        "tach.yaml:1: targets.wrong: cannot import 'shop.wrong': "
        f"SyntaxError: invalid syntax (wrong.py, line 1) ({place}/shop/wrong.py:1)",
        "tach.yaml:1: targets.leaves: cannot import 'shop.leaves': "
        f"SystemExit: no DISPLAY ({place}/shop/leaves.py:1)",
    ]


SLOW = """\
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
time.sleep(600)
"""


def test_a_module_that_hangs_is_killed(
    check: Check, place: Path, environment: dict[str, str]
) -> None:
    """After the time limit it is named and killed with its children; the rest is looked at."""
    (place / "shop" / "slow.py").write_text(SLOW)
    began = time.monotonic()

    checked = check(
        {"slow": "shop.slow:f", "right": "shop.orders:lines"},
        "service.py",
        options=("--timeout", "1500ms"),
    )

    assert time.monotonic() - began < 15
    assert checked.returncode == 1
    assert "right   generator function" in checked.stdout
    assert checked.stdout.splitlines()[-1] == (
        "tach.yaml:1: targets.slow: importing 'shop.slow' did not end within 1.5 s and was killed"
    )
    assert marked(f"TACH_RUN_DIR={environment['TACH_RUN_DIR']}") == []


def test_a_check_has_an_end(check: Check, place: Path) -> None:
    """However many modules hang: after three time limits the rest is said not to be looked at."""
    for n in range(5):
        (place / "shop" / f"slow{n}.py").write_text("import time\ntime.sleep(600)\n")
    targets = {f"t{n}": f"shop.slow{n}:f" for n in range(5)}

    checked = check(targets, "service.py", options=("--timeout", "800ms"))

    lines = [line.partition(": targets.")[2] for line in checked.stdout.splitlines()[2:]]
    hangs = "did not end within 0.8 s and was killed"
    assert lines == [
        *(f"t{n}: importing 'shop.slow{n}' {hangs}" for n in range(3)),
        *(f"t{n}: not looked at: the process that looks {hangs}" for n in (3, 4)),
    ]


def test_a_check_that_is_stopped_leaves_nothing(
    processes: Processes, place: Path, environment: dict[str, str]
) -> None:
    """SIGTERM ends the check and the process that it has started."""
    (place / "shop" / "slow.py").write_text(f"open('hangs', 'w').close()\n{SLOW}")
    (place / "tach.yaml").write_text("targets: {slow: 'shop.slow:f'}")
    command = [PYTHON, "-m", "tach", "check", "tach.yaml", "service.py"]
    process = processes.start(command, cwd=place, env=environment)
    wait_until((place / "hangs").exists, "the module to be imported")

    process.send_signal(signal.SIGTERM)

    assert process.wait(20) == 143
    mark = f"TACH_RUN_DIR={environment['TACH_RUN_DIR']}"
    wait_for(lambda: not marked(mark), message="the end of all processes")


def test_a_module_that_ends_the_process(check: Check, place: Path) -> None:
    """What os._exit, a signal or a fork does in a module is told, and only of that module."""
    (place / "shop" / "exits.py").write_text("import os\nos._exit(3)\n")
    (place / "shop" / "dies.py").write_text("import os\nos.kill(os.getpid(), 11)\n")
    (place / "shop" / "forks.py").write_text("import os\nos.fork()\ndef f(): pass\n")
    targets = {
        "exits": "shop.exits:f",
        "dies": "shop.dies:f",
        "forks": "shop.forks:f",
        "right": "shop.orders:lines",
    }

    checked = check(targets, "service.py")

    lines = checked.stdout.splitlines()
    assert [line.split()[0] for line in lines[3:5]] == ["forks", "right"]
    assert lines[5:] == [
        "tach.yaml:1: targets.exits: importing 'shop.exits' ended the process with status 3",
        "tach.yaml:1: targets.dies: importing 'shop.dies' ended the process with SIGSEGV",
    ]


def test_who_holds_a_function_already_is_a_warning(check: Check) -> None:
    """A function in a table of its module is named with the table; `rebind` mends it."""
    targets = {
        "plain": "shop.orders:checkout",
        "bound": {"function": "shop.orders:checkout", "rebind": True},
    }

    checked = check(targets, "service.py")

    assert checked.returncode == 0
    assert checked.stdout.splitlines()[5:] == [
        "tach.yaml:1: targets.plain: warning: checkout is taken by a list shop.table.ALL "
        "before it is measured; rebind: true replaces it there"
    ]


def test_what_cannot_be_patched(check: Check) -> None:
    """The reason is said: a module, a class written in C, something that is not called."""
    targets = {"a": "shop.orders:os", "b": "builtins:list.append", "c": "shop.orders:checkout.x"}

    checked = check(targets, "service.py")

    assert checked.returncode == 1
    assert checked.stdout.splitlines()[2:] == [
        "tach.yaml:1: targets.a: it is a module, which cannot be called",
        "tach.yaml:1: targets.b: its class list cannot be changed",
        "tach.yaml:1: targets.c: 'checkout' is of type builtins.function, not a class",
    ]


def test_modules_are_found_where_the_program_finds_them(check: Check, place: Path) -> None:
    """A script sees its own directory, -m the current one; sys.argv is that of the program."""
    (place / "bin").mkdir()
    module = "import sys\nassert sys.argv[1:] == ['--x', '1']\ndef f(): pass\n"
    (place / "bin" / "beside.py").write_text(module)
    (place / "bin" / "run.py").touch()
    targets = {"beside": "beside:f", "here": "shop.orders:lines"}

    as_script = check(targets, "bin/run.py", "--x", "1", options=("--json",))
    as_module = check(targets, "-m", "service", options=("--json",))
    by_python = check(targets, PYTHON, "-u", "bin/run.py", "--x", "1", options=("--json",))

    assert [*functions(as_script)] == [*functions(by_python)] == ["beside"]
    assert [*functions(as_module)] == ["here"]


def test_the_programs_own_interpreter(check: Check, place: Path) -> None:
    """A script is looked at by the Python of its first line; pip writes a long one otherwise."""
    (place / "own").mkdir()
    (place / "own" / "own.py").write_text("def f(): pass\n")
    link = place / "python3"
    link.write_text(f'#!/bin/sh\nexport PYTHONPATH={place}/own\nexec {PYTHON} "$@"\n')
    link.chmod(0o755)
    for name, head in {
        "direct": f"#!{link}\n",
        "long": f"#!/bin/sh\n'''exec' \"{link}\" \"$0\" \"$@\"\n' '''\n",
    }.items():
        (place / name).write_text(head)
        (place / name).chmod(0o755)

        checked = check({"own": "own:f"}, f"./{name}", options=("--json",))

        assert [*functions(checked)] == ["own"], checked.stderr


def test_an_environment_without_tach(check: Check, place: Path) -> None:
    """One line says what to do, with status 1."""
    venv.create(place / "bare", symlinks=True, with_pip=False)
    python = place / "bare" / "bin" / "python"

    checked = check({"a": "shop.orders:lines"}, str(python), "service.py")

    assert (checked.returncode, checked.stdout) == (1, "")
    assert checked.stderr == (
        f"tach: {python} runs under {python}, which cannot load tach "
        f"(ModuleNotFoundError: No module named 'wrapt'); "
        f"install tach there: {python} -m pip install tach\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "tach: check needs one CONFIG"),
        (["--timeout", "soon", "tach.yaml"], "argument --timeout: expected a duration"),
        (["tach.yaml", "nowhere"], "tach: nowhere: command not found"),
        (["tach.yaml", "-m"], "tach: -m needs a module"),
        (["tach.yaml", PYTHON, "nowhere.py"], "tach: nowhere.py: no such file"),
        (["nowhere.yaml"], "nowhere.yaml: no such file"),
    ],
)
def test_a_wrong_command(arguments: list[str], said: str, place: Path) -> None:
    """Status 2, and what is wrong with it."""
    (place / "tach.yaml").write_text("targets: {a: 'shop.orders:lines'}")

    checked = subprocess.run(
        [PYTHON, "-m", "tach", "check", *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )

    assert (checked.returncode, checked.stdout) == (2, "")
    assert said in checked.stderr
