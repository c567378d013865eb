"""`tach CONFIG PROGRAM` finds the program, becomes it, and counts, whatever the program does."""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Processes, marked, wait_for
from reports import Report

import tach

PYTHON = sys.executable
NO_TARGETS = "targets: {}"
FUNCTION = "targets: {f: targets:function}\n"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do that")

Tach = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def report(tmp_path: Path, tach_run_dir: Path) -> Report:
    """The report of the runs of this test."""
    return Report(tmp_path / "report.json", tach_run_dir)


@pytest.fixture(autouse=True)
def _environment(environment: dict[str, str], programs: Path, tmp_path: Path) -> None:
    environment["PYTHONPATH"] = str(programs)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")


@pytest.fixture
def tach_(processes: Processes, environment: dict[str, str], tmp_path: Path) -> Tach:
    """Run tach with these arguments in tmp_path."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [PYTHON, "-m", "tach", *arguments]
        process = processes.start(command, cwd=tmp_path, env=environment, **options)
        stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    return run


# Finding the program


def put(file: Path, text: str, mode: int = 0o755) -> None:
    """A file of the text."""
    file.write_text(text)
    file.chmod(mode)


# arguments -> status, stdout, the one line of stderr
FOUND: dict[str, tuple[list[str], int, str, str]] = {
    "on PATH": (["echo", "-m", "--help"], 0, "-m --help\n", ""),
    "by path": (["./program", "a b"], 0, "./program a b\n", ""),
    "without shebang": (["./bare", "a b"], 0, "./bare a b\n", ""),
    "a .py that is not executable": (["./plain.py", "a"], 0, "['./plain.py', 'a']\n", ""),
    "a .py in the directory": (["plain.py"], 0, "['plain.py']\n", ""),
    "-m": (["-m", "plain", "-m"], 0, "-m\n", ""),
    "-c": (["-c", "import sys; print(sys.argv)", "-c"], 0, "['-c', '-c']\n", ""),
    "not on PATH": (["nope"], 127, "", "nope: command not found"),
    "not there": (["./nope"], 127, "", "./nope: no such file"),
    "nothing": ([""], 127, "", "'': command not found"),
    "a directory": (["./bin"], 126, "", "./bin: is a directory"),
    "not executable": (
        ["./data"], 126, "", "./data: not executable (chmod +x, or name its interpreter)",
    ),
    "no interpreter": (
        ["./lost"], 126, "", "./lost: its interpreter /nowhere/python3 cannot be executed",
    ),
    "an option": (["-I", "x"], 2, "", "-I is no program; only -m and -c may stand in its place"),
    "-m alone": (["-m"], 2, "", "-m needs a module"),
    "-c alone": (["-c"], 2, "", "-c needs code"),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_the_program_is_found_as_a_shell_finds_it(case: str, tach_: Tach, tmp_path: Path) -> None:
    """Names and paths mean what they mean to a shell, and so does the status of a failure."""
    put(tmp_path / "tach.yaml", NO_TARGETS)
    put(tmp_path / "program", '#!/bin/sh\necho "$0" "$*"\n')
    put(tmp_path / "bare", 'echo "$0" "$*"\n')
    put(tmp_path / "plain.py", "import sys\nprint(sys.argv[1] if __spec__ else sys.argv)", 0o644)
    put(tmp_path / "data", "", 0o644)
    put(tmp_path / "lost", "#!/nowhere/python3\n")
    (tmp_path / "bin").mkdir()
    arguments, status, stdout, said = FOUND[case]

    ended = tach_("tach.yaml", *arguments)

    assert (ended.returncode, ended.stdout) == (status, stdout)
    assert ended.stderr == (f"tach: {said}\n" if said else "")


# What an interpreter without `site` has not loaded, and the start of a program needs.
NEEDED = {"__future__", "_collections_abc", "_stat", "errno", "fcntl", "genericpath", "os", "stat"}
NEEDED |= {"_abc", "abc"}  # which before Python 3.14 every interpreter has loaded
PATHS = {"os.path", "posixpath"}


def test_the_start_loads_next_to_nothing() -> None:
    """Before it becomes the program tach imports only itself and what `site` imports anyway."""
    code = f"""
import sys
sys.path.append({str(Path(tach.__file__).parent.parent)!r})
before = set(sys.modules)
from tach import cli, compiled, launcher
print(*set(sys.modules) - before)
"""
    command = [sys.executable, "-I", "-S", "-c", code]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    loaded = set(printed.split())
    assert "tach.launcher" in loaded
    assert {name for name in loaded - NEEDED - PATHS if not name.startswith("tach")} == set()


USAGE = "usage: tach CONFIG PROGRAM [ARG...]"


def test_help_and_version_go_to_standard_output(tach_: Tach) -> None:
    """What has been asked for is printed there, with status 0."""
    version = tach_("--version")
    assert (version.returncode, version.stdout) == (0, f"tach {tach.__version__}\n")
    for option in ("--help", "-h"):
        ended = tach_(option)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout.startswith(USAGE)


@pytest.mark.parametrize(
    ("arguments", "last"),
    [
        ([], "no CONFIG and no PROGRAM"),
        (["tach.yaml"], "no program to run with tach.yaml"),
        (["--verbose", "tach.yaml", "true"], "unknown option --verbose"),
        (["check"], "check needs one CONFIG"),
    ],
)
def test_half_a_command_is_refused(arguments: list[str], last: str, tach_: Tach) -> None:
    """A command line that says too little or too much: status 2 and what is wrong."""
    ended = tach_(*arguments)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1] == f"tach: {last}"


def test_a_config_with_the_name_of_a_sub_command(tach_: Tach, tmp_path: Path) -> None:
    """`./check` is the file, `check` the sub-command."""
    put(tmp_path / "check", NO_TARGETS)

    assert tach_("./check", "echo", "ran").stdout == "ran\n"
    assert tach_("check", "./check").returncode == 0


# Whatever the program does to its process, its calls are counted


def counted(report: Report, run_tach: Tach, code: str, calls: int, **options: Any) -> str:
    """Run `code`, which calls targets.function `calls` times; returns what it prints."""
    ended = run_tach(
        report.config(f="targets:function"), PYTHON, "-c", f"import targets\n{code}", **options
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert report.calls() == {"f": calls}
    assert report.troubles() == []
    return ended.stdout


CODES: dict[str, tuple[str, int]] = {
    "nothing special": ("targets.function()", 1),
    "very short": ("targets.function(); import os; os._exit(0)", 1),
    "closes all files": (
        """
import os
targets.function()
os.closerange(3, 1024)
targets.function()
files = [open(f"own{number}", "w+") for number in range(250)]
for file in files:
    targets.function()
    file.write("mine")
    file.flush()
if os.fork() == 0:
    targets.function()
    os._exit(0)
os.wait()
for file in files:
    file.seek(0)
    assert file.read() == "mine"
""",
        253,
    ),
    "changes directory": ("import os; os.chdir('/'); targets.function()", 1),
    "clears its environment": ("import os; os.environ.clear(); targets.function()", 1),
    "few files": (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (20, 20)); targets.function()", 1,
    ),
    "another umask": ("import os; os.umask(0o077); targets.function()", 1),
    "another session": ("import os; os.fork() and os._exit(0); os.setsid(); targets.function()", 1),
    "executes another": (
        """
import os, sys
targets.function()
os.execv(sys.executable, [sys.executable, "-c", "import targets; targets.function()"])
""",
        2,
    ),
    "executes another with less": (
        """
import os, sys
targets.function()
os.execve(sys.executable, [sys.executable, "-c", "print(1)"], {})
""",
        1,
    ),
    "starts others": (
        """
import subprocess, sys
code = "import targets; targets.function()"
for options in ([], ["-W", "error"], ["-I"], ["-S"]):
    subprocess.run([sys.executable, *options, "-c", code], stderr=subprocess.DEVNULL)
subprocess.run([sys.executable, "-c", "pass"], env={}, check=True)
subprocess.run(["env", "-i", sys.executable, "-c", "pass"], check=True)
""",
        2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CODES)
def test_counted_whatever_the_program_does(case: str, report: Report, run_tach: Tach) -> None:
    """Descriptors closed, directories left, processes replaced: each call is counted once."""
    counted(report, run_tach, *CODES[case])


def test_a_daemon_is_measured_to_its_end(
    report: Report, run_tach: Tach, tach_run_dir: Path
) -> None:
    """The program's own process ends at once; what it left behind is still counted."""
    code = """
import os, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.chdir("/")
os.closerange(0, 1024)
end = time.monotonic() + 1
for _ in range(100):
    targets.function()
    time.sleep(0.01)
"""

    counted(report, run_tach, code, 100)


@as_root
@pytest.mark.parametrize("before", ["", "os.chroot(tempfile.mkdtemp()); os.chdir('/'); "])
def test_counted_as_another_user(before: str, report: Report, run_tach: Tach) -> None:
    """A program that root starts and that becomes somebody else, and sees none of tach's files any
    more, is measured on."""
    code = f"import os, tempfile; {before}os.setgid(65534); os.setuid(65534); "

    assert (
        counted(report, run_tach, f"{code}targets.function(); print(os.getuid())", 1) == "65534\n"
    )


def test_a_process_that_calls_no_target_has_no_segment(report: Report, run_tach: Tach) -> None:
    """There is memory for what is counted from the first call on; root has an empty file ready."""
    code = """
import glob, os
def sizes():
    return sorted(map(os.path.getsize, glob.glob(f"{os.environ['TACH_RUN_DIR']}/*/*.segment")))
print(sizes())
targets.function()
print(len(sizes()), min(sizes()) > 0)
"""
    before = "[0]" if os.geteuid() == 0 else "[]"

    assert counted(report, run_tach, code, 1) == f"{before}\n1 True\n"


CHILDREN = """\
import multiprocessing
import targets


def child():
    targets.function()


if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        process = multiprocessing.get_context(method).Process(target=child)
        process.start()
        process.join()
        print(process.exitcode)
        process = multiprocessing.get_context(method).Process(target=targets.function)
        process.start()
        process.join()
        print(process.exitcode)
"""


def test_multiprocessing(report: Report, run_tach: Tach, tmp_path: Path) -> None:
    """Children by fork, spawn and forkserver are measured, a measured function as their own."""
    put(tmp_path / "children.py", CHILDREN)

    ended = run_tach(report.config(f="targets:function"), PYTHON, "children.py")

    assert (ended.stderr, ended.stdout.split()) == ("", ["0"] * 6)
    assert report.calls() == {"f": 6}


def test_closed_streams(report: Report, run_tach: Tach, tmp_path: Path) -> None:
    """A program started with none of the standard streams finds none, and is measured."""
    code = """
import os
files = sorted(each for each in os.listdir("/proc/self/fd") if int(each) < 200)
open("found", "w").write(" ".join(files))
targets.function()
"""

    counted(report, run_tach, code, 1, preexec_fn=lambda: os.closerange(0, 3), input=None)

    assert (tmp_path / "found").read_text() == "0"  # that of listdir itself


def by_a_terminal(pid: int, mark: str) -> int:
    """Ctrl-C: a signal to each process of the group."""
    os.killpg(pid, signal.SIGINT)
    return -signal.SIGINT


def by_a_service_manager(pid: int, mark: str) -> int:
    """A stop: a signal to each process that descends from the program."""
    for process in marked(mark):
        os.kill(process.pid, signal.SIGTERM)
    return -signal.SIGTERM


@pytest.mark.parametrize("end", [by_a_terminal, by_a_service_manager])
def test_the_sender_outlives_what_ends_the_program(
    end: Callable[[int, str], int],
    report: Report,
    spawn_tach: Any,
    tmp_path: Path,
    tach_run_dir: Path,
) -> None:
    """A signal to all processes ends the program and leaves the sender, which may just begin."""
    code = "import targets, time; targets.function(); open('ready', 'w'); time.sleep(60)"
    process = spawn_tach(
        report.config(f="targets:function"), PYTHON, "-c", code, start_new_session=True
    )
    wait_for((tmp_path / "ready").exists, message="the program at work")

    status = end(process.pid, f"TACH_RUN_DIR={tach_run_dir}")

    assert process.wait(10) == status
    assert report.calls() == {"f": 1}


def test_the_table_appears_for_the_shortest_program(tach_: Tach, tmp_path: Path) -> None:
    """A program that is over before the sender is ready still waits for its table."""
    put(tmp_path / "tach.yaml", FUNCTION)

    ended = tach_("tach.yaml", PYTHON, "-c", "import targets; targets.function()")

    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.splitlines()[2].split()[:3] == ["f", "1", "-"]


# Where there is no room


@contextlib.contextmanager
def small_file_system(place: Path, size: str) -> Iterator[Path]:
    """A file system of that size."""
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)])
    if made.returncode:
        pytest.skip("this machine does not let root mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@as_root
def test_no_room_for_a_run(tach_: Tach, tmp_path: Path, environment: dict[str, str]) -> None:
    """On a full file system the program runs unmeasured, with one line that says why."""
    put(tmp_path / "tach.yaml", FUNCTION)
    with small_file_system(tmp_path / "small", "8k") as small:
        (small / "full").write_bytes(b"\0" * 4096)
        environment["TACH_RUN_DIR"] = str(small)

        ended = tach_("tach.yaml", "-c", "import targets; print(targets.function(1))")

        assert (ended.returncode, ended.stdout) == (0, "2\n")
        assert ended.stderr.startswith("tach: not measuring: no run directory ([Errno 28]")
        assert [each.name for each in small.iterdir()] == ["full"]


def test_no_room_for_a_segment(tach_: Tach, tmp_path: Path) -> None:
    """A process that cannot write its segment runs to its end; the report says why it counts 0."""
    put(tmp_path / "tach.yaml", FUNCTION)
    code = """
import resource, targets
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
print(sum(targets.function(1) for _ in range(1000)))
"""

    ended = tach_("tach.yaml", PYTHON, "-c", code)

    assert (ended.returncode, ended.stdout) == (0, "2000\n")
    assert "nothing was recorded" in ended.stderr
    assert "trouble: OSError: [Errno 27] File too large" in ended.stderr


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null/below"])
def test_no_place_for_a_run(place: str, tach_: Tach, tmp_path: Path, environment: Any) -> None:
    """Where no run directory can be made, the program runs unmeasured, with one line."""
    put(tmp_path / "tach.yaml", FUNCTION)
    environment["TACH_RUN_DIR"] = place

    ended = tach_("tach.yaml", "echo", "ran")

    assert (ended.returncode, ended.stdout) == (0, "ran\n")
    assert ended.stderr.startswith("tach: not measuring: no run directory (")
    assert ended.stderr.count("\n") == 1


# The cache of compiled configurations


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where compiled configurations are kept."""
    return tmp_path / "cache" / "tach"


def measured(tach_: Tach) -> str:
    """The series that a run with tach.yaml reports."""
    ended = tach_("tach.yaml", PYTHON, "-c", "import targets; targets.function()")
    assert ended.returncode == 0, ended.stderr
    return ended.stderr.splitlines()[2].split()[0]


def write_old(file: Path, text: str, seconds: int = 60) -> None:
    """A file of the text, last changed a while ago."""
    file.write_text(text)
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns - seconds * 1_000_000_000))


def kept(cache: Path) -> list[Path]:
    """The compiled configurations."""
    return list(cache.iterdir()) if cache.exists() else []


def test_what_is_kept_is_used(tach_: Tach, tmp_path: Path, cache: Path) -> None:
    """The second run takes the plan from the cache; this one has been told another name there."""
    write_old(tmp_path / "tach.yaml", "targets: {aaa: targets:function}")
    assert measured(tach_) == "aaa"
    (file,) = kept(cache)
    assert (file.stat().st_mode & 0o777, cache.stat().st_mode & 0o777) == (0o600, 0o700)
    identity, plan, agent = marshal.loads(file.read_bytes())

    file.write_bytes(marshal.dumps((identity, plan.replace("aaa", "bbb"), agent)))

    assert measured(tach_) == "bbb"


def test_an_edit_is_seen_at_once(tach_: Tach, tmp_path: Path) -> None:
    """Also if it keeps the size, also if two follow within the same second, also with old times."""
    for name in ("aaa", "bbb", "ccc"):
        (tmp_path / "tach.yaml").write_text(f"targets: {{{name}: targets:function}}")
        assert measured(tach_) == name
    for name in ("ddd", "eee"):
        write_old(tmp_path / "tach.yaml", f"targets: {{{name}: targets:function}}")
        assert measured(tach_) == name
    write_old(tmp_path / "new.yaml", "targets: {fff: targets:function}")
    (tmp_path / "new.yaml").rename(tmp_path / "tach.yaml")
    assert measured(tach_) == "fff"


def test_values_of_the_environment_are_not_kept(tach_: Tach, tmp_path: Path, cache: Path) -> None:
    """A configuration with ${NAME} is read anew each time, and leaves no secret behind."""
    write_old(tmp_path / "tach.yaml", "prefix: ${HOME:-x}\ntargets: {f: targets:function}")

    measured(tach_)

    assert kept(cache) == []


def told_another(file: Path) -> None:
    """As somebody would who wants another plan to be used."""
    identity, plan, agent = marshal.loads(file.read_bytes())
    file.write_bytes(marshal.dumps((identity, plan.replace("aaa", "bbb"), agent)))


def writable_by_others(file: Path) -> None:
    """Another plan, in a file that others may write to."""
    told_another(file)
    file.chmod(0o620)


def another_s(file: Path) -> None:
    """Another plan, in a file of another user."""
    told_another(file)
    os.chown(file, 65534, 65534)


def a_directory(file: Path) -> None:
    """No file at all."""
    file.unlink()
    file.mkdir()


SPOILT: dict[str, Callable[[Path], Any]] = {
    "empty": lambda file: file.write_bytes(b""),
    "rubbish": lambda file: file.write_bytes(b"rubbish"),
    "half": lambda file: file.write_bytes(file.read_bytes()[:-20]),
    "a list": lambda file: file.write_bytes(marshal.dumps([1, 2, 3])),
    "a number": lambda file: file.write_bytes(marshal.dumps(1)),
    "a directory": a_directory,
    "writable by others": writable_by_others,
    "another's": another_s,
}


@pytest.mark.parametrize(
    "how", [pytest.param(how, marks=as_root if how == "another's" else ()) for how in SPOILT]
)
def test_a_cache_that_cannot_be_trusted(how: str, tach_: Tach, tmp_path: Path, cache: Path) -> None:
    """What is broken, another user's or writable by others does not count; nobody is told."""
    write_old(tmp_path / "tach.yaml", "targets: {aaa: targets:function}")
    measured(tach_)
    (file,) = kept(cache)
    SPOILT[how](file)

    assert measured(tach_) == "aaa"


def test_no_place_for_the_cache(tach_: Tach, tmp_path: Path, environment: dict[str, str]) -> None:
    """Where nothing can be kept, everything works as ever."""
    write_old(tmp_path / "tach.yaml", "targets: {aaa: targets:function}")
    for place in ("/proc/nowhere", "/dev/null", "relative"):
        environment["XDG_CACHE_HOME"] = place
        assert measured(tach_) == "aaa"
    assert not (tmp_path / "relative").exists()
