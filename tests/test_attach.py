"""`tach attach PID CONFIG`: programs that were not started by tach."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from ports import HOST
from processes import Processes, marked, wait_for
from reports import Report

from tach import layout
from tach.agent import enter
from tach.attach import _as
from tach.attach_process import Owner, Process
from tach.attach_python import look
from tach.injection import Injector

BY_DEBUGGER = sys.version_info < (3, 14)
PATIENCE = ("--timeout", "60s")
HOW_TO_GET_IT = "gdb is missing: install it (Debian: apt-get install gdb)"
TARGETS = {"f": "targets:function"}

pytestmark = pytest.mark.skipif(
    BY_DEBUGGER and not shutil.which("gdb") and os.environ.get("CI") != "true", reason=HOW_TO_GET_IT
)
with_debugger = pytest.mark.skipif(not BY_DEBUGGER, reason="from 3.14 on there is no debugger")


class Attaching:
    """Starts programs without tach, and attaches to them."""

    def __init__(
        self, processes: Processes, environment: dict[str, str], programs: Path, directory: Path
    ) -> None:
        self.environment = {**environment, "PYTHONPATH": str(programs)}
        self.run_dir = Path(environment["TACH_RUN_DIR"])
        self.report = Report(directory / "report.jsonl", self.run_dir)
        self.file = directory / "tach.yaml"
        self.stop_file = directory / "STOP"
        self._processes = processes
        self._program = programs / "attachable.py"
        self._directory = directory

    def start(self, *command: str, **more: Any) -> subprocess.Popen[str]:
        """A program that has said that it is ready."""
        more = {"env": self.environment, "cwd": self._directory, **more}
        process = self._processes.start([*command], **more)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def program(self, how: str = "loop", *arguments: str) -> subprocess.Popen[str]:
        """attachable.py."""
        stop = str(self.stop_file)
        return self.start(sys.executable, str(self._program), how, stop, *arguments)

    def configure(self, **targets: Any) -> None:
        """Write a configuration that measures the targets."""
        config = self.report.config(**(targets or TARGETS))
        self.file.write_text(yaml.safe_dump(config))

    def spawn(self, pid: int, *options: str, **more: Any) -> subprocess.Popen[str]:
        """`tach attach` at work."""
        command = [sys.executable, "-m", "tach", "attach", "--yes", *options, str(pid)]
        more = {"env": self.environment, **more}
        return self._processes.start([*command, str(self.file)], **more)

    def attach(self, pid: int, *options: str, **more: Any) -> tuple[int, str, str]:
        """What `tach attach` says: its exit status, standard output and error."""
        process = self.spawn(pid, *(options or PATIENCE), **more)
        out, errors = process.communicate(timeout=120)
        return process.returncode, out, errors

    def attached(self, process: subprocess.Popen[str]) -> str:
        """Attach, which succeeds; what it says."""
        status, out, errors = self.attach(process.pid)
        assert (status, errors) == (0, ""), errors
        assert out.startswith(f"attached to process {process.pid}\n")
        return out

    def tach(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `tach ARGUMENT...`."""
        return subprocess.run(
            [sys.executable, "-m", "tach", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self, pid: int) -> int:
        """How many calls the status of its run tells of."""
        status = json.loads(self.tach("status", "--json", str(pid)).stdout)
        return sum(each["calls"] for each in status["runs"][0]["targets"])

    def end(self, process: subprocess.Popen[str]) -> str:
        """Have the program end; what it says at last."""
        self.stop_file.touch()
        out, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, ""), errors
        return out


def is_told(pid: int, path: str) -> bool:
    """Whether the process has been told to execute the file, and runs again since."""
    if Process(pid)._tracer:
        return False
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            place, rights, *_ = line.split()
            start, end = (int(each, 16) for each in place.split("-"))
            if rights.startswith("rw") and "[" not in line:
                memory.seek(start)
                if path.encode() in memory.read(end - start):
                    return True
    return False


@pytest.fixture
def attaching(
    processes: Processes, environment: dict[str, str], programs: Path, tmp_path: Path
) -> Attaching:
    """Programs to attach to; CI without gdb fails."""
    assert not BY_DEBUGGER or shutil.which("gdb"), HOW_TO_GET_IT
    made = Attaching(processes, environment, programs, tmp_path)
    made.configure()
    return made


@pytest.mark.parametrize("how", ["loop", "threads", "forks", "asyncio"])
def test_each_call_is_counted_from_then_on(how: str, attaching: Attaching) -> None:
    """In all threads, in children that are forked later, in an event loop.

    Not a child, thread, descriptor, signal, trace function or name of the program's has changed.
    """
    attaching.configure(f="targets:coroutine" if how == "asyncio" else "targets:function")
    process = attaching.program(how)

    attaching.attached(process)
    wait_for(lambda: attaching.calls(process.pid) > 200, 30)
    counted, seen = attaching.end(process).split(" ", 1)

    assert attaching.report.calls() == {"f": int(counted)}
    assert seen == "[]\n"


def test_a_killed_program_loses_nothing(attaching: Attaching) -> None:
    """What it had called when it was killed is reported, to the last call."""
    process = attaching.program("loop", "1000")
    attaching.attached(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "counted\n"

    process.kill()

    assert attaching.report.calls() == {"f": 1000}


def test_a_worker_of_gunicorn(attaching: Attaching, programs: Path, tmp_path: Path) -> None:
    """Each request that it answers from then on is counted."""
    attaching.configure(take="stock:Shelf.take")
    log = tmp_path / "log"
    command = ["gunicorn", "-w", "1", "--bind", f"{HOST}:0", "--error-logfile", str(log)]
    master = attaching._processes.start(
        [*command, "web:app"], env=attaching.environment, cwd=programs
    )
    found = wait_for(
        lambda: log.exists() and re.search(rf"http://{HOST}:(\d+)", log.read_text()), 30
    )

    def ask(number: int) -> int:
        connection = http.client.HTTPConnection(HOST, int(found[1]), timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", f"/items/{number}")
            return connection.getresponse().status

    assert ask(1) == 200
    mark = f"TACH_RUN_DIR={attaching.run_dir}"
    worker = next(each.pid for each in marked(mark) if each.parent == master.pid)
    attacher = attaching.spawn(worker, *PATIENCE)
    script = wait_for(lambda: list(attaching.run_dir.glob(f"*/{layout.ATTACH_SCRIPT}")), 30)[0]
    wait_for(lambda: is_told(worker, str(script)), 30)
    with contextlib.closing(http.client.HTTPConnection(HOST, int(found[1]))) as connection:
        connection.request("GET", "/")  # a worker that waits runs no code
    out, errors = attacher.communicate(timeout=60)
    assert (attacher.returncode, errors) == (0, "")
    assert re.search(r"^take +patched", out, re.MULTILINE)

    assert [ask(number) for number in range(20)].count(200) == 16
    master.terminate()
    assert master.wait(30) == 0
    assert attaching.report.calls() == {"take": 20}


def test_it_is_a_run_as_any_other(attaching: Attaching) -> None:
    """What it means is told at once; `tach status`, `tach top`, `tach reload` know it."""
    attaching.configure(f="targets:function", g="targets:funktion", h="never:imported")
    process = attaching.program()
    pid = str(process.pid)

    out = attaching.attached(process)

    assert re.search(r"^f +patched", out, re.MULTILINE)
    assert "no 'funktion' in module targets; did you mean 'function'?" in out
    assert "h (never:imported): waiting for import" in out
    top = attaching.tach("top", "--times", "1", pid)
    assert (top.returncode, top.stderr) == (0, "")
    again = attaching.attach(process.pid)
    assert again[0] == 1
    assert f"process {pid} is measured by tach already" in again[2]
    attaching.configure(f="targets:function", late="targets:recursive")
    assert attaching.tach("reload", pid).stdout == "targets: 1 added (late), 2 removed (g, h)\n"
    wait_for(lambda: re.search(r"late +patched", attaching.tach("status", pid).stdout), 30)
    attaching.end(process)
    assert attaching.report.calls()["f"] > 0


def test_its_own_file_has_the_names_that_it_has_at_the_start(
    attaching: Attaching, tmp_path: Path
) -> None:
    """`app:f` means what `app.py` defines, where that is what the program runs."""
    stop = tmp_path / "STOP"
    program = tmp_path / "app.py"
    program.write_text(
        "import os, time\ndef f(): pass\ndef g(): pass\nprint('ready', flush=True)\n"
        f"while not os.path.exists({str(stop)!r}): f(); g(); time.sleep(0.001)\n"
    )
    attaching.configure(f="app:f", g="__main__:g")
    process = attaching.start(sys.executable, str(program))

    attaching.attached(process)

    wait_for(lambda: attaching.calls(process.pid) > 10, 30)
    attaching.end(process)
    assert attaching.report.calls().keys() == {"f", "g"}


def test_the_program_needs_no_tach(attaching: Attaching) -> None:
    """Neither tach nor wrapt is installed where the program runs: both come from where tach is."""
    base = os.path.realpath(sys.executable)
    found = subprocess.run([base, "-c", "import wrapt"], capture_output=True, check=False)
    if not found.returncode:
        pytest.skip("wrapt is installed for the interpreter itself")
    stop = str(attaching.stop_file)
    process = attaching.start(base, str(attaching._program), "loop", stop)

    attaching.attached(process)
    wait_for(lambda: attaching.calls(process.pid) > 20, 30)

    counted = attaching.end(process).split()[0]
    assert attaching.report.calls() == {"f": int(counted)}


# What keeps it from being done


def test_an_error_in_the_configuration_changes_nothing(attaching: Attaching) -> None:
    """Each is told by file and line, with status 2, before anything else."""
    process = attaching.program()
    attaching.file.write_text("targets:\n  f: {function: 'targets:function', metrix: x}\n")

    status, out, errors = attaching.attach(process.pid)

    assert (status, out) == (2, "")
    where = f"{attaching.file}:2: targets.f"
    assert errors == f"{where}: unknown key 'metrix'; did you mean 'metrics'?\n"
    assert list(attaching.run_dir.iterdir()) == []
    assert attaching.end(process) == "0 []\n"


def test_nothing_is_done_without_consent(attaching: Attaching, terminal: Any) -> None:
    """The risks are told, and asked about on a terminal; elsewhere it takes `--yes`."""
    process = attaching.program()
    command = [str(process.pid), str(attaching.file)]

    silent = attaching.tach("attach", *command)
    tried = attaching.tach("attach", "--dry-run", *command)
    asked = terminal(sys.executable, "-m", "tach", "attach", *command)
    asked.read_until(lambda: any("Go on? [y/N]" in line for line in asked.screen.display))
    os.write(asked.file, b"n\n")
    assert asked.ended() == 2

    assert (silent.returncode, silent.stdout) == (2, "")
    assert "may crash" in silent.stderr or not BY_DEBUGGER
    assert silent.stderr.endswith("tach: nothing has been done: agree with --yes\n")
    assert tried.returncode == 0
    assert "can be attached to" in tried.stdout
    assert list(attaching.run_dir.iterdir()) == []
    assert attaching.end(process) == "0 []\n"


def test_what_cannot_be_attached_to_is_refused(attaching: Attaching) -> None:
    """No process, a thread of one, what is no Python, what is stopped, who asks for it."""
    sleeping = attaching._processes.start(["sleep", "1000"], env=attaching.environment)
    process = attaching.program("threads")
    wait_for(lambda: len(os.listdir(f"/proc/{process.pid}/task")) > 1)
    thread = max(map(int, os.listdir(f"/proc/{process.pid}/task")))

    def refused(pid: int) -> str:
        status, out, errors = attaching.attach(pid)
        assert (status, out) == (1, "")
        return errors

    assert refused(2**22 + 1) == f"tach: there is no process {2**22 + 1}\n"
    assert "which is no Python" in refused(sleeping.pid)
    assert f"is a thread of process {process.pid}" in refused(thread)
    os.kill(process.pid, signal.SIGSTOP)
    wait_for(lambda: Process(process.pid)._state == "T")
    assert "is stopped: let it go on first" in refused(process.pid)
    os.kill(process.pid, signal.SIGCONT)
    assert attaching.end(process) == "0 []\n"


def test_a_program_in_a_system_call_is_left_as_it_was(attaching: Attaching, tmp_path: Path) -> None:
    """It is told that it runs no Python code; when it does again nothing happens to it."""
    code = (
        "import targets, types; print('ready', flush=True); input(); targets.function();"
        "print(type(targets.function) is types.FunctionType, flush=True); input()"
    )
    process = attaching.start(sys.executable, "-c", code, stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None

    status, out, errors = attaching.attach(process.pid, "--timeout", "300ms")

    assert (status, out) == (1, "")
    assert "has run no Python code in its main thread for 0.3 s" in errors
    wait_for(lambda: not list(attaching.run_dir.iterdir()), 20, "the end of the run")
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "True\n"
    assert process.communicate("\n", timeout=30)[1] == ""
    assert not (tmp_path / "report.jsonl").exists()


def test_it_comes_in_when_the_program_runs_again(attaching: Attaching) -> None:
    """Whoever has killed `tach attach` meanwhile: it is measured all the same, to the last call."""
    code = (
        "import targets; print('ready', flush=True); input();\n"
        "for _ in range(10): pass\n"
        "for _ in range(10): targets.function()\n"
        "print('called', flush=True); input()"
    )
    process = attaching.start(sys.executable, "-c", code, stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    attacher = attaching.spawn(process.pid, *PATIENCE)
    wait_for(lambda: list(attaching.run_dir.glob("*/journal")), 30)
    script = wait_for(lambda: list(attaching.run_dir.glob(f"*/{layout.ATTACH_SCRIPT}")), 30)[0]
    wait_for(lambda: is_told(process.pid, str(script)), 30)
    attacher.kill()
    attacher.wait(30)

    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "called\n"
    process.stdin.write("\n")
    process.stdin.flush()

    assert process.wait(30) == 0
    assert attaching.report.calls() == {"f": 10}


def kill_when_traced(attacher: subprocess.Popen[str], pid: int) -> None:
    """Kill it when the process is traced, or when it has ended before; wait until that is over."""
    wait_for(lambda: Process(pid)._tracer or attacher.poll() is not None, 30)
    attacher.kill()
    attacher.wait(30)
    wait_for(lambda: not Process(pid)._tracer, 30)


@with_debugger
def test_the_program_lives_on_if_attaching_is_killed(attaching: Attaching) -> None:
    """In whatever moment of the debugger's: that lets go of the program by itself."""
    process = attaching.program()
    for _ in range(5):
        kill_when_traced(attaching.spawn(process.pid, *PATIENCE), process.pid)

    wait_for(lambda: attaching.calls(process.pid) > 20, 30)
    counted, seen = attaching.end(process).split(" ", 1)
    assert attaching.report.calls() == {"f": int(counted)}
    assert seen == "[]\n"


def test_another_attempt_takes_the_place_of_one_that_was_killed(attaching: Attaching) -> None:
    """What is left of it ends; while it is at work the other one is refused."""
    code = "import targets; print('ready', flush=True); input(); targets.function(); input()"
    process = attaching.start(sys.executable, "-c", code, stdin=subprocess.PIPE)
    first = attaching.spawn(process.pid, *PATIENCE)
    wanted = wait_for(lambda: list(attaching.run_dir.glob(f"*/{layout.ATTACH_WANTED}")), 30)[0]
    wait_for(lambda: is_told(process.pid, str(wanted.parent)), 30)

    second = attaching.attach(process.pid)
    first.kill()
    first.wait(30)
    third = attaching.attach(process.pid, "--timeout", "100ms")

    assert second[0] == third[0] == 1
    assert "another tach attach is at work" in second[2]
    assert "has run no Python code" in third[2]
    wait_for(lambda: not list(attaching.run_dir.iterdir()), 20, "the end of both runs")
    assert process.communicate("\n\n", timeout=30) == ("", "")


@with_debugger
def test_what_the_program_is_just_copying_comes_out_right(
    attaching: Attaching, tmp_path: Path
) -> None:
    """It loses no register that it is using: debuggers do not know all of them."""
    stop = str(attaching.stop_file)
    program = str(attaching._program.with_name("copying.py"))
    running = attaching.start(sys.executable, program, stop)
    process = Process(running.pid)
    injector = Injector(process, look(process))
    nothing = tmp_path / "nothing.py"
    nothing.touch()

    for _ in range(10):
        injector.inject(str(nothing))

    assert attaching.end(running) == "0\n"


@with_debugger
def test_without_a_debugger_it_says_what_to_install(attaching: Attaching, tmp_path: Path) -> None:
    """Nothing is done where gdb is missing, and none is needed from Python 3.14 on."""
    process = attaching.program()

    status, out, errors = attaching.attach(
        process.pid, env={**attaching.environment, "PATH": str(tmp_path)}
    )

    assert (status, out) == (1, "")
    assert errors.startswith("tach: gdb is not installed")
    assert attaching.end(process) == "0 []\n"


TRACER = """
import ctypes, sys
SEIZE = 0x4206
libc = ctypes.CDLL(None, use_errno=True)
assert libc.ptrace(SEIZE, int(sys.argv[1]), None, None) == 0, ctypes.get_errno()
print("ready", flush=True)
input()
"""


@with_debugger
def test_a_traced_program_is_refused(attaching: Attaching) -> None:
    """Only one debugger at a time can be at a process."""
    process = attaching.program()
    command = [sys.executable, "-c", TRACER, str(process.pid)]
    tracer = attaching.start(*command, stdin=subprocess.PIPE)

    status, out, errors = attaching.attach(process.pid)

    assert (status, out) == (1, "")
    assert f"is traced by process {tracer.pid}" in errors
    assert tracer.communicate("\n", timeout=30) == ("", "")
    assert attaching.end(process) == "0 []\n"


@pytest.mark.skipif(BY_DEBUGGER, reason="sys.remote_exec is there from Python 3.14 on")
def test_a_program_that_keeps_everybody_out(attaching: Attaching) -> None:
    """Where remote debugging is forbidden, tach says so and does not try it otherwise."""
    stop = str(attaching.stop_file)
    options = ("-X", "disable-remote-debug")
    process = attaching.start(sys.executable, *options, str(attaching._program), "loop", stop)

    assert "was started with -X disable-remote-debug" in attaching.attach(process.pid)[2]
    assert attaching.end(process) == "0 []\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_root_works_as_the_owner_of_the_process() -> None:
    """What it makes meanwhile belongs to that user, and afterwards it is root again."""
    before = os.environ.get("HOME")

    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        made = Path(directory) / "made"
        with _as(Owner(65534, 65534, ())):
            made.touch()
            assert (os.geteuid(), os.getegid(), os.getgroups()) == (65534, 65534, [])
        assert (os.geteuid(), os.getegid(), os.environ.get("HOME")) == (0, 0, before)
        assert (made.stat().st_uid, made.stat().st_gid) == (65534, 65534)


# The part in the program

HANDLER = """
import os, signal, sys
sys.path.insert(0, {place!r})
from tach.agent import enter

def handler(*_):
    raise KeyError("of the handler")

signal.signal(signal.SIGTERM, handler)
open({run_dir!r} + "/" + enter.WANTED, "w").close()
del sys.modules["tach"]
try:
    enter.enter({run_dir!r}, {package!r}, "", "", 0)
    here = 1
    here = 2
except KeyError as error:
    print("raised", error, sys.gettrace())
print(open({run_dir!r} + "/" + enter.ANSWER).read(), end="")
"""


def test_what_a_signal_handler_raises_meanwhile_is_the_programs(tmp_path: Path) -> None:
    """A signal that comes while tach gets in is handled as soon as it is in, in the program."""
    package = tmp_path / "tach"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM); raise ImportError('not I')"
    )
    place = str(Path(enter.__file__).parent.parent.parent)
    code = HANDLER.format(place=place, run_dir=str(tmp_path), package=str(package))

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stderr == ""
    assert done.stdout == "raised 'of the handler' None\nImportError: not I\n"


def test_who_was_not_wanted_any_more_does_nothing(tmp_path: Path) -> None:
    """Whoever removes the file first has decided."""
    enter.enter(str(tmp_path), "/nowhere", "", "", 0)

    assert list(tmp_path.iterdir()) == []


def test_where_python_is_in_the_memory() -> None:
    """Version and addresses are found as the process itself knows them."""
    import ctypes

    found = look(Process(os.getpid()))

    assert found.version == sys.version_info[:2]
    assert found.is_own
    for name, address in found.addresses.items():
        function = getattr(ctypes.pythonapi, name)
        assert ctypes.cast(function, ctypes.c_void_p).value == address
