"""`tach profile` and `tach diff`: where a program's time goes, without a configuration."""

from __future__ import annotations

import html.parser
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import look_at
from processes import wait_for

from tach import profile_targets
from tach.notifiers import profile_rows, profile_suggestion, profile_table
from tach.notifiers.profile_rows import Profile

PROGRAM = """\
import sys, time
import helper
from pack import work

class Shop:
    def sell(self): helper.pause(0.02)
    def _count(self): return work.count(3)

def open_shop():
    shop = Shop()
    shop.sell()
    shop.sell()
    shop._count()

if __name__ == "__main__":
    open_shop()
    print("done")
    exec("".join(sys.argv[1:]))
"""
CALLS = {
    "__main__.Shop._count": 1,
    "__main__.Shop.sell": 2,
    "__main__.open_shop": 1,
    "helper.pause": 2,
    "pack.work.count": 1,
}


@pytest.fixture
def tach(
    tmp_path: Path, environment: dict[str, str], processes: Any
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `tach` with arguments in tmp_path, where the program lies."""
    (tmp_path / "pack").mkdir()
    (tmp_path / "prog.py").write_text(PROGRAM)
    (tmp_path / "helper.py").write_text("import time\ndef pause(seconds): time.sleep(seconds)\n")
    (tmp_path / "pack/__init__.py").write_text("")
    (tmp_path / "pack/work.py").write_text("def count(number): return number\n")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tach", *arguments]
        process = processes.start(command, env=environment, cwd=tmp_path)
        stdout, stderr = process.communicate(timeout=60)
        wait_for(lambda: not os.listdir(environment["TACH_RUN_DIR"]), message="the end of the run")
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    return run


def functions(path: Path) -> dict[str, dict[str, Any]]:
    """What `--save` has kept of each function."""
    return {each["name"]: each for each in json.loads(path.read_text())["functions"]}


def in_prog(calls: dict[str, int]) -> dict[str, int]:
    """The functions of the file alone, as those of module prog."""
    return {
        name.replace("__main__", "prog"): count
        for name, count in calls.items()
        if name.startswith("__main__")
    }


@pytest.mark.parametrize(
    ("command", "own"), [(["prog.py"], CALLS), (["-m", "prog"], in_prog(CALLS))]
)
def test_the_programs_own_functions(
    command: list[str], own: dict[str, int], tmp_path: Path, tach: Callable[..., Any]
) -> None:
    """By default all functions of the file and of what lies beside it are measured, exactly."""
    ended = tach("profile", "--save", "saved", *command)

    assert (ended.returncode, ended.stdout) == (0, "done\n")
    found = functions(tmp_path / "saved")
    assert {name: each["calls"] for name, each in found.items()} == own
    assert all(name in ended.stderr for name in own)


def test_own_time_is_without_that_of_calls_within(tmp_path: Path, tach: Callable[..., Any]) -> None:
    """The own times of nested calls add up to the whole; the table has the greatest first."""
    ended = tach("profile", "--save", "saved", "prog.py")

    found = functions(tmp_path / "saved")
    whole = found["__main__.open_shop"]["total"]
    assert sum(each["own"] for each in found.values()) == pytest.approx(whole, rel=0.05)
    assert found["helper.pause"]["own"] >= 40
    assert found["__main__.Shop.sell"]["own"] < found["helper.pause"]["own"] / 4
    assert ended.stderr.splitlines()[2].startswith("helper.pause ")


def test_targets_of_ones_own(tmp_path: Path, tach: Callable[..., Any]) -> None:
    """`--target` says what to measure instead; a malformed one is refused with the right form."""
    tach("profile", "--save", "saved", "--target", "pack.*:*", "--target", "helper:p*", "prog.py")

    assert functions(tmp_path / "saved").keys() == {"pack.work.count", "helper.pause"}
    refused = tach("profile", "--target", "helper.pause", "prog.py")
    assert refused.returncode == 2
    assert refused.stderr == "tach: --target 'helper.pause': did you mean 'helper:pause'?\n"


@pytest.mark.parametrize(
    ("code", "status"),
    [("raise SystemExit(3)", 3), ("os = __import__('os'); os.kill(os.getpid(), 9)", -9)],
)
def test_a_program_that_ends_badly(
    code: str, status: int, tmp_path: Path, tach: Callable[..., Any]
) -> None:
    """The profile of a program that crashes or is killed is whole."""
    ended = tach("profile", "--save", "saved", "prog.py", code)

    assert ended.returncode == status
    assert {name: each["calls"] for name, each in functions(tmp_path / "saved").items()} == CALLS


def test_a_call_that_never_ends(tmp_path: Path, tach: Callable[..., Any]) -> None:
    """What ran when the program was killed is there, with the calls that had not ended."""
    (tmp_path / "stuck.py").write_text(
        "import os\n"
        "def leaf(): pass\n"
        "def stuck():\n"
        "    leaf()\n"
        "    os.kill(os.getpid(), 9)\n"
        "stuck()\n"
    )
    ended = tach(
        *("profile", "--histograms", "2", "--callers", "*", "--html", "page.html"),
        *("--save", "saved", "--suggest", "tach.yaml", "--target", "__main__:*", "stuck.py"),
    )

    assert ended.returncode == -9
    found = functions(tmp_path / "saved")
    calls = {name: (each["calls"], each["running"]) for name, each in found.items()}
    assert calls == {"__main__.leaf": (1, 0), "__main__.stuck": (0, 1)}
    row = next(line for line in ended.stderr.splitlines() if line.startswith("__main__.stuck "))
    assert row.split() == ["__main__.stuck", *"--1", *"--------"]
    assert "__main__.stuck" in (tmp_path / "page.html").read_text()


class Page(html.parser.HTMLParser):
    """The rows of a page's tables, their heads too: of each cell its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.rows and data.strip():
            self.rows[-1].append(data.strip())


def test_the_page_needs_nothing_else(tmp_path: Path, tach: Callable[..., Any]) -> None:
    """The page holds every function, a plot for each, and no address of anything else."""
    tach("profile", "--html", "page.html", "prog.py")
    text = (tmp_path / "page.html").read_text()
    page = Page(text)

    assert set(CALLS) <= {row[0] for row in page.rows if row}
    assert page.rows[0][:4] == ["function", "calls", "errors", "running"]
    assert ["__main__.Shop.sell", "2"] in [row[:2] for row in page.rows]
    assert page.addresses == []
    assert "http" not in text


LOOK = """
const rows = () => [...document.querySelectorAll("tr.function")].filter(row => row.offsetHeight);
const names = () => rows().map(row => row.cells[0].textContent);
const at = name => rows().find(row => row.cells[0].textContent === name);
const heads = document.querySelectorAll("table.functions > thead th");
const found = {first: names()};
heads[0].click(); found.by_name = names();
heads[0].click(); found.by_name_again = names();
heads[1].click(); found.calls = rows().map(row => row.cells[1].textContent);
found.bars = rows().map(row => [...row.querySelectorAll("rect")].filter(
  bar => bar.getBoundingClientRect().height > 1).length);
const more = at("helper.pause").nextElementSibling;
found.before = more.offsetHeight;
at("helper.pause").click();
found.after = more.offsetHeight > 100;
found.callers = [...more.querySelectorAll(".who")].map(each => each.textContent);
found.large = [...more.querySelectorAll("rect")].some(
  each => each.getBoundingClientRect().width > 20);
const field = document.querySelector("input");
field.value = "SHOP."; field.dispatchEvent(new Event("input")); found.filtered = names().sort();
document.body.innerHTML = "<pre></pre>";
document.querySelector("pre").textContent = JSON.stringify(found);
"""


def test_the_page_in_a_browser(tmp_path: Path, tach: Callable[..., Any]) -> None:
    """A real browser draws the plots, sorts by a click, filters, and opens a function."""
    tach("profile", "--html", "page.html", "prog.py")

    shown = look_at(tmp_path / "page.html", tmp_path, LOOK)

    assert "data-trouble" not in shown
    found = json.loads(html.unescape(shown.partition("<pre>")[2].partition("</pre>")[0]))
    assert found["first"][0] == "helper.pause"
    assert found["by_name"] == sorted(CALLS, key=str.lower)
    assert found["by_name_again"] == sorted(CALLS, key=str.lower, reverse=True)
    assert sorted(found["calls"], reverse=True) == found["calls"] == ["2", "2", "1", "1", "1"]
    assert all(count >= 1 for count in found["bars"])
    assert len(found["bars"]) == len(CALLS)
    assert (found["before"], found["after"], found["large"]) == (0, True, True)
    assert found["callers"] == ["__main__.Shop.sell"]
    assert found["filtered"] == ["__main__.Shop._count", "__main__.Shop.sell"]


TIMES = """
import asyncio, threading, time, contextlib
def burn(milliseconds):
    end = time.perf_counter() + milliseconds / 1000
    while time.perf_counter() < end: pass
def down(depth):
    burn(2)
    if depth: down(depth - 1)
def ping(depth):
    burn(2)
    if depth: pong(depth - 1)
def pong(depth):
    if depth: ping(depth - 1)
def steps(number):
    for each in range(number):
        burn(4)
        yield each
def use():
    for _ in steps(5): time.sleep(0.01)
async def child():
    burn(5); await asyncio.sleep(0.05); burn(5)
async def parent():
    await asyncio.gather(child(), child())
    await child()
def tasks(): asyncio.run(parent())
def failing():
    burn(2)
    raise KeyError
def catching():
    with contextlib.suppress(KeyError): failing()
def in_thread(): burn(30)
def threads():
    started = [threading.Thread(target=in_thread) for _ in range(2)]
    for each in started: each.start()
    for each in started: each.join()
down(9); ping(9); use(); tasks(); catching(); threads()
"""


@pytest.mark.parametrize("pure", ["0", "1"])
def test_whose_time_it_is(
    pure: str, tmp_path: Path, tach: Callable[..., Any], environment: dict[str, str]
) -> None:
    """Own time and total are right for recursion, generators, coroutines, exceptions, threads.

    Times are compared with each other, of one run, where a part cannot exceed the whole.
    """
    environment["TACH_PURE"] = pure
    (tmp_path / "times.py").write_text(TIMES)
    tach("profile", "--save", "saved", "--target", "__main__:*", "times.py")
    found = functions(tmp_path / "saved")

    def callers(name: str) -> dict[str, int]:
        return {
            each["name"].removeprefix("__main__."): each["calls"]
            for each in found[f"__main__.{name}"]["callers"]
        }

    def time_in(name: str, kind: str) -> float:
        return float(found[f"__main__.{name}"][kind])

    burnt = {each["name"]: each["total"] for each in found["__main__.burn"]["callers"]}
    assert time_in("burn", "own") == time_in("burn", "total")
    assert sum(burnt.values()) == pytest.approx(time_in("burn", "total"))
    # recursion: the outermost call is all there is; own time is what is not in burn
    assert found["__main__.down"]["calls"] == 10
    assert callers("down") == {"down": 9}
    for name in ("down", "ping"):
        whole = time_in(name, "total")
        assert burnt[f"__main__.{name}"] <= whole <= time_in(name, "max") * 1.001
    assert time_in("down", "own") <= time_in("down", "total") - burnt["__main__.down"] + 0.1
    assert callers("ping") == {"pong": 4}
    assert callers("pong") == {"ping": 5}
    # a generator: its steps are its own, and not its caller's, which sleeps in between
    for name in ("steps", "child"):
        ran = time_in(name, "total") - time_in(name, "waiting")
        assert 0 <= time_in(name, "own") <= ran - burnt[f"__main__.{name}"] + 0.1
    assert time_in("use", "own") >= 50
    assert time_in("use", "own") <= time_in("use", "total") - burnt["__main__.steps"]
    assert callers("steps") == {"use": 1}
    assert time_in("steps", "waiting") >= 50
    # tasks are not within the coroutine that has made them
    assert found["__main__.child"]["calls"] == 3
    assert callers("child") == {"tasks": 2, "parent": 1}
    # 150, but for what passes between the timer's begin and the pause where others run meanwhile
    assert time_in("child", "waiting") >= 75
    assert burnt["__main__.child"] >= 30
    assert callers("failing") == {"catching": 1}
    rest = time_in("catching", "total") - time_in("failing", "total")
    assert 0 <= time_in("catching", "own") <= rest + 0.1
    assert callers("in_thread") == {}


GREEN = """
import {library}
{patch}
import time
{spawning}
def work(number):
    inner(number)
    return number
def inner(number):
    time.sleep(0.02)
def outer():
    for each in [spawn(work, number) for number in range(4)]: {wait}
outer()
"""
LIBRARIES = {
    "eventlet": ("eventlet.monkey_patch()", "spawn = eventlet.spawn", "each.wait()"),
    "gevent": (
        "import gevent.monkey; gevent.monkey.patch_all()",
        "spawn = gevent.spawn",
        "each.get()",
    ),
}


@pytest.mark.parametrize("waiting", [["--waiting"], []])
@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_greenthreads_are_apart(
    library: str,
    pure: str,
    waiting: list[str],
    tmp_path: Path,
    tach: Callable[..., Any],
    environment: dict[str, str],
) -> None:
    """Calls in a greenthread are not within what has spawned it, however they interleave."""
    pytest.importorskip("greenlet")
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    patch, spawning, wait = LIBRARIES[library]
    text = GREEN.format(library=library, patch=patch, spawning=spawning, wait=wait)
    (tmp_path / "green.py").write_text(text)
    environment["TACH_PURE"] = pure
    tach("profile", "--save", "saved", "--target", "__main__:*", *waiting, "green.py")
    found = functions(tmp_path / "saved")

    calls = {name: each["calls"] for name, each in found.items()}
    assert calls == {"__main__.outer": 1, "__main__.work": 4, "__main__.inner": 4}
    assert [each["name"] for each in found["__main__.inner"]["callers"]] == ["__main__.work"]
    assert found["__main__.work"]["callers"] == []
    outer = found["__main__.outer"]
    assert outer["own"] == pytest.approx(outer["total"])
    if waiting:
        assert found["__main__.inner"]["waiting"] >= 4 * 20


def test_forked_children_count_their_own(tmp_path: Path, tach: Callable[..., Any]) -> None:
    """A child has no part in the calls that its parent was in; all processes add up."""
    (tmp_path / "forks.py").write_text(
        "import os\n"
        "def leaf(): pass\n"
        "def fork():\n"
        "    child = os.fork()\n"
        "    leaf()\n"
        "    if child: os.waitpid(child, 0)\n"
        "    return child\n"
        "def rest(): leaf()\n"
        "fork()\n"
        "rest()\n"
    )
    tach("profile", "--save", "saved", "--target", "__main__:*", "forks.py")
    found = functions(tmp_path / "saved")

    calls = {name: each["calls"] for name, each in found.items()}
    assert calls == {"__main__.leaf": 4, "__main__.fork": 1, "__main__.rest": 2}
    callers = {each["name"]: each["calls"] for each in found["__main__.leaf"]["callers"]}
    assert callers == {"__main__.fork": 2, "__main__.rest": 2}


def test_what_else_it_shows(tmp_path: Path, tach: Callable[..., Any]) -> None:
    """`--histograms` draws how long calls took, `--callers` who called; `--exclude` leaves out."""
    ended = tach(
        *("profile", "--histograms", "1", "--callers", "helper.*", "--exclude", "_*"),
        *("--exclude", "*._*", "prog.py"),
    )

    lines = ended.stderr.splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("helper.pause: 2 calls"))
    drawn = [line for line in lines[at + 1 : at + 17] if "█" in line]
    assert sum(int(line.split()[-1]) for line in drawn) == 2
    at = lines.index("helper.pause was called by")
    assert lines[at + 1].split() == ["caller", "calls", "total", "mean"]
    assert lines[at + 2].split()[:2] == ["__main__.Shop.sell", "2"]
    assert not any("_count" in line for line in lines)
    refused = tach("profile", "--top", "0", "prog.py")
    assert (refused.returncode, "is no whole number above 0" in refused.stderr) == (2, True)


def test_on_a_narrow_terminal() -> None:
    """Columns go before the names do; of a long name the end is shown."""
    name = "a.very.long.package.name.that.goes.on.f"
    row = profile_rows.Row(name, 1, 0, *[1.0] * 8, None, (1,))
    text = profile_table.text(Profile("x", 1.0, [row], []), profile_table.Shown(width=60))
    head, shown = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()[1:3]
    assert head.split()[:2] == ["function", "calls"]
    assert len(head) <= 60
    assert len(shown) <= 60
    assert shown.startswith("…")
    assert "goes.on.f " in shown


def test_a_suggested_configuration_measures(tmp_path: Path, tach: Callable[..., Any]) -> None:
    """`--suggest` writes a configuration with what took time, which can be used as it is."""
    tach("profile", "--suggest", "tach.yaml", "prog.py")

    ended = tach("tach.yaml", "prog.py")

    assert "helper.pause" in ended.stderr
    assert "2" in next(line for line in ended.stderr.splitlines() if "helper.pause" in line)


def test_two_profiles_compared(tmp_path: Path, tach: Callable[..., Any]) -> None:
    """`tach diff` shows what has changed, what is new and what is gone; other files it refuses."""
    tach("profile", "--save", "before", "prog.py")
    (tmp_path / "helper.py").write_text("import time\ndef stop(seconds): time.sleep(seconds * 4)\n")
    program = (tmp_path / "prog.py").read_text()
    (tmp_path / "prog.py").write_text(program.replace("pause", "stop"))
    tach("profile", "--save", "after", "prog.py")

    compared = tach("diff", "before", "after")

    assert compared.returncode == 0
    lines = compared.stdout.splitlines()
    assert "new" in next(line for line in lines if line.startswith("helper.stop"))
    assert "gone" in next(line for line in lines if line.startswith("helper.pause"))
    (tmp_path / "other").write_text("{}")
    refused = tach("diff", "before", "other")
    assert refused.returncode == 1
    assert "other is no profile that tach has kept" in refused.stderr


def test_interrupted(
    tmp_path: Path, tach: Callable[..., Any], environment: dict[str, str], processes: Any
) -> None:
    """Ctrl-C ends the program as it would, and the profile is shown."""
    code = (
        "import signal; signal.signal(2, signal.default_int_handler)\n"
        "print('set', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-m", "tach", "profile", "prog.py", code]
    process = processes.start(command, env=environment, cwd=tmp_path)
    assert [process.stdout.readline() for _ in range(2)] == ["done\n", "set\n"]
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in stderr
    assert "helper.pause" in stderr


LIVE = """
import sys, time
def work(): time.sleep(0.01)
print(*["above"] * 30, sep="\\n", flush=True)
while not sys.stdin.readline(): pass
for number in range(100):
    work()
print("printed", flush=True)
sys.stdin.readline()
"""


def test_live(terminal: Callable[..., Any], tmp_path: Path) -> None:
    """While the program runs its functions are at the foot of the terminal, and then go away.

    What the program prints stands above them, all lines of it.
    """
    (tmp_path / "live.py").write_text(LIVE)
    shown = terminal(sys.executable, "-m", "tach", "profile", "live.py")
    shown.read_until(lambda: any("0 functions" in line for line in shown.screen.display))
    os.write(shown.file, b"\n")

    def is_live() -> bool:
        rows = [line.split() for line in shown.screen.display]
        return ["printed"] in rows and any(row[:2] == ["__main__.work", "100"] for row in rows)

    shown.read_until(is_live)
    lines = [line.rstrip() for line in shown.screen.display]
    foot = next(place for place, line in enumerate(lines) if line.startswith("── tach profile: "))
    assert foot == 20 - 20 // 3
    assert lines[foot + 1].split()[:3] == ["function", "calls", "errors"]
    assert [line for line in lines[:foot] if line][-1] == "printed", "\n".join(lines)
    assert lines[foot - 4] == "above"

    os.write(shown.file, b"\n")
    assert shown.ended() == 0
    shown.read_until(lambda: any("python" in line for line in shown.screen.display))
    lines = [line.rstrip() for line in shown.screen.display]
    assert not any(line.startswith("──") for line in lines)
    assert any(line.startswith("__main__.work") and "100" in line for line in lines)
    assert shown.screen.margins is None or shown.screen.margins.bottom == 19
    os.write(shown.child, b"\r\n" * 30 + b"last")
    shown.read_until(lambda: shown.screen.display[19].startswith("last"))


def test_no_live(terminal: Callable[..., Any], tmp_path: Path) -> None:
    """`--no-live` leaves the terminal alone until the end."""
    (tmp_path / "live.py").write_text("import time\ndef work(): time.sleep(2.5)\nwork()\n")
    shown = terminal(sys.executable, "-m", "tach", "profile", "--no-live", "live.py")
    assert shown.ended() == 0
    shown.read_until(lambda: shown.screen.display[2].startswith("__main__.work"))

    assert shown.screen.display[0].startswith("tach profile: 2.")


@pytest.mark.parametrize(
    ("command", "modules"),
    [
        ("prog.py", "__main__ helper pack pack.*"),
        ("python -u prog.py x", "__main__ helper pack pack.*"),
        ("-m pack", "pack pack.*"),
        ("python -m pack.work", "pack pack.*"),
        ("-m json.tool x", "json json.*"),
        ("server helper:app", "helper pack pack.* prog"),
        ("server -w 2 --app=pack.work:make", "helper pack pack.* prog"),
        ("server -A pack worker", "helper pack pack.* prog"),
        ("-m server helper:app", "helper pack pack.* prog"),
        ("-m pytest -q", "helper pack pack.* prog"),
        ("server --help", "__main__ somebodys somebodys.*"),
    ],
)
def test_which_functions_are_its_own(
    command: str, modules: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tach: Any
) -> None:
    """A script's are beside it, a package's in it, and a server's where its arguments say."""
    (tmp_path / "bin").mkdir()
    server = tmp_path / "bin" / "server"
    server.write_text(f"#!{sys.executable}\nimport sys\nfrom somebodys.cli import main\nmain()\n")
    server.chmod(0o755)
    scripts = os.path.dirname(sys.executable)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{scripts}")
    monkeypatch.chdir(tmp_path)

    found = profile_targets.of_program(command.split())

    assert [*dict.fromkeys(each.partition(":")[0] for each in found)] == modules.split()


def test_a_suggestion_names_modules_as_they_are(tmp_path: Path) -> None:
    """Where a module ends is what the files say, however its classes are written."""
    (tmp_path / "Shop").mkdir()
    (tmp_path / "Shop/__init__.py").write_text("")
    (tmp_path / "Shop/orders.py").write_text("raise SystemExit")
    path = [str(tmp_path)]

    names = {
        "Shop.orders.basket.add": "Shop.orders:basket.add",
        "Shop.open": "Shop:open",
        "Shop.orders.place": "Shop.orders:place",
        "__main__.Till.count": "__main__:Till.count",
        "gone.away.Class.method": "gone.away:Class.method",
        "gone.function": "gone:function",
    }
    assert {name: profile_suggestion.function(name, path) for name in names} == names


def test_a_suggestion_of_code(tmp_path: Path, tach: Callable[..., Any]) -> None:
    """A command of several lines, and functions that take no time, make no wrong configuration."""
    code = "import helper\ndef tiny(): pass\nfor _ in range(9999): tiny()\nhelper.pause(0.1)"
    tach("profile", "--suggest", "tach.yaml", "-c", code)
    suggested = yaml.safe_load((tmp_path / "tach.yaml").read_text())
    ended = tach("tach.yaml", "-c", code)

    assert suggested["targets"] == {"helper.pause": "helper:pause"}
    assert "helper.pause" in ended.stderr


def test_views_that_a_framework_has_taken(tmp_path: Path, tach: Callable[..., Any]) -> None:
    """What a decorator has put into a table of an object is measured there."""
    (tmp_path / "framework.py").write_text(
        "class App:\n"
        "    def __init__(self): self.views = {}\n"
        "    def route(self, function):\n"
        "        self.views[function.__name__] = function\n"
        "        return function\n"
    )
    (tmp_path / "views.py").write_text(
        "from framework import App\napp = App()\n@app.route\ndef index(): return 7\n"
    )
    code = "import views\nprint(views.app.views['index']())"
    ended = tach("profile", "--save", "saved", "-c", code)

    assert ended.stdout == "7\n"
    assert functions(tmp_path / "saved")["views.index"]["calls"] == 1
