"""Has a running Python execute a file: by `sys.remote_exec` from 3.14 on, before by a debugger.

The debugger stops the process for some milliseconds and calls two functions in it: `mmap`, for a
page to put a line of code into, and Python's own `Py_AddPendingCall`, by which the main thread runs
that line as soon as it is between two instructions of Python. Neither of them allocates memory of
the program's or needs the lock of its interpreter, so it does not matter where the process is just
then. No breakpoint is set, and where something comes up the debugger lets go of the process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import NamedTuple

from tach import attach_python
from tach.attach_process import CannotAttach, Process
from tach.attach_python import Python

REMOTE_EXEC = (3, 14)
STOPPED_AT_MOST = 15  # seconds, after which the debugger is told to let go
_TOLD_TO = 5  # seconds, after which it is made to
_PAGE = 4096
_DONE = "tach: pending"
_NOT_BACK = "tach: not back"
_WORD = 8

# What the program's main thread runs: nothing is left of it among the names of __main__.
LINE = """\
try: exec({code!r}, {{}})
except: pass
"""
_CODE = """\
import posix
file = posix.open({path!r}, posix.O_RDONLY | posix.O_CLOEXEC)
try: text = posix.read(file, 1 << 20)
finally: posix.close(file)
exec(compile(text, {path!r}, "exec"), {{"__name__": "tach.attach"}})
"""

# The registers that a function may change, but for those that nobody needs within a system call: a
# thread that is in none waits until it comes to one.
_KEPT = ("rip", "rsp", "rax", "orig_rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11")
_ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_NO_CALL = "$orig_rax == -1"
_BEGINS = "$rax == -38"
_IN_SYSTEM_CALL = f"""\
if {_NO_CALL}
  catch syscall
  continue
  while {_BEGINS}
    continue
  end
  delete
end
set $settled = !({_NO_CALL}) && !({_BEGINS})"""

# A call of gdb's own writes all registers: it loses some on some processors, and gdb 13 fails on
# those with AMX after it has called, with none of them put back. Ours writes only what it needs,
# and returns to address 0, where the process is stopped: `continue` comes back then, or when gdb
# is told to let go.
_DEFINE_CALL = """\
define tach_call
{keep}
  set $kept_thread = $_thread
  set $rsp = (($kept_rsp - 512) & ~15) - 8
  set {{unsigned long}} $rsp = 0
{pass_on}
  set $rax = 0
  set $orig_rax = -1
  set $rip = $arg0
  handle SIGSEGV stop print nopass
  continue
  set $back = $_thread == $kept_thread && $rip == 0
  if $_thread != $kept_thread
    thread $kept_thread
  end
  set $result = $rax
{put_back}
  if !$back
    set $result = -1
    echo {not_back}\\n
  end
end""".format(
    keep="\n".join(f"  set $kept_{each} = (unsigned long) ${each}" for each in _KEPT),
    pass_on="\n".join(f"  set ${each} = $arg{at}" for at, each in enumerate(_ARGUMENTS, 1)),
    put_back="\n".join(f"  set ${each} = $kept_{each}" for each in _KEPT),
    not_back=_NOT_BACK,
)


class _Machine(NamedTuple):
    """What is peculiar to a kind of processor, in gdb's language.

    How a call is defined, how a thread is brought to where it may make one, and what calls.
    """

    definition: str
    settle: str
    call: str


_MACHINES = {
    "x86_64": _Machine(
        _DEFINE_CALL, _IN_SYSTEM_CALL, "tach_call {function} {a} {b} {c} {d} {e} {f}"
    )
}
_ANY_MACHINE = _Machine(
    "set unwindonsignal on",
    "set $settled = 1",
    "set $result = ((unsigned long (*)(unsigned long, unsigned long, int, int, int, long)) "
    "{function})({a}, {b}, {c}, {d}, {e}, {f})",
)

_SCRIPT = """\
set confirm off
set pagination off
set language c
set auto-solib-add off
{definition}
handle all nostop noprint pass
attach {pid}
{settle}
if $settled
  {map_page}
  set $page = $result
  if $page % {size} != 0
    echo tach: no memory\\n
  else
{stores}
    {add_call}
    printf "{done} %d\\n", (int) $result
  end
else
  echo tach: busy\\n
end
detach
"""


class Injector:
    """Has `process`, which runs `python`, execute files."""

    def __init__(self, process: Process, python: Python) -> None:
        self._process = process
        self._python = python

    @property
    def is_debugger(self) -> bool:
        """Whether it stops the process."""
        return self._python.version < REMOTE_EXEC

    @property
    def depth(self) -> int:
        """How many frames there are between what it executes and those of the program."""
        return 3 if self.is_debugger else 1

    def check(self) -> None:
        """Raises CannotAttach where it cannot."""
        if self.is_debugger:
            self._process.check_untraced()
            _debugger()
        else:
            self._check_remote_exec()

    def inject(self, path: str) -> None:
        """Have it execute the file, as soon as it runs Python code. Raises CannotAttach."""
        if self.is_debugger:
            _call_pending(self._process, self._python, path)
        else:
            self._remote_exec(path)

    def withdraw(self) -> None:
        """Have it execute nothing, if it has not yet; whoever withdraws has to make sure of that.

        What a debugger has brought about cannot be taken back.
        """
        if not self.is_debugger:
            # else Python would complain to the program's users that the file is gone
            self._remote_exec(os.devnull)

    def _check_remote_exec(self) -> None:
        options = self._process.arguments
        if "PYTHON_DISABLE_REMOTE_DEBUG" in self._process.environment() or any(
            "disable-remote-debug" in each for each in options
        ):
            raise CannotAttach(
                f"process {self._process.pid} was started with -X disable-remote-debug (or "
                f"PYTHON_DISABLE_REMOTE_DEBUG), which keeps everybody out: start it without that"
            )

    def _remote_exec(self, path: str) -> None:
        remote_exec = getattr(sys, "remote_exec", None)
        if remote_exec is None:
            raise CannotAttach("this Python has no sys.remote_exec: it was built without it")
        try:
            remote_exec(self._process.pid, path)
        except Exception as error:  # noqa: BLE001 - all of what may come is not written down anywhere
            raise CannotAttach(
                f"Python does not let anybody into process {self._process.pid}: {error}"
            ) from None


def _debugger() -> str:
    found = shutil.which("gdb")
    if found is None:
        raise CannotAttach(
            "gdb is not installed, which it takes before Python 3.14: install it (Debian: "
            "apt-get install gdb)"
        )
    return found


def _call_pending(process: Process, python: Python, path: str) -> None:
    line = LINE.format(code=_CODE.format(path=path)).encode() + b"\0"
    if len(line) > _PAGE:
        raise CannotAttach(f"the name of the run directory is too long: {path}")
    machine = _MACHINES.get(os.uname().machine, _ANY_MACHINE)
    mmap = attach_python.address_of(process, "libc", "mmap")
    add, run = (python.addresses[name] for name in ("Py_AddPendingCall", "PyRun_SimpleString"))
    script = _SCRIPT.format(
        definition=machine.definition,
        settle=machine.settle,
        pid=process.pid,
        size=_PAGE,
        # readable and writable, private and anonymous
        map_page=machine.call.format(function=mmap, a=0, b=_PAGE, c=3, d=0x22, e=-1, f=0),
        stores="\n".join(_stores(line)),
        add_call=machine.call.format(function=add, a=run, b="$page", c=0, d=0, e=0, f=0),
        done=_DONE,
    )
    said = _run_debugger(process, script)
    if f"{_DONE} 0" not in said:
        raise CannotAttach(_in_words(process, said))


def _stores(line: bytes) -> list[str]:
    """The debugger's commands that write the line into the page."""
    line += b"\0" * (-len(line) % _WORD)
    words = [line[at : at + _WORD] for at in range(0, len(line), _WORD)]
    return [
        f"    set {{unsigned long}}($page + {number * _WORD}) = "
        f"{int.from_bytes(word, sys.byteorder)}UL"
        for number, word in enumerate(words)
    ]


def _run_debugger(process: Process, script: str) -> str:
    """What it says. Nothing that happens to this process disturbs it while it is at work."""
    commands, output = os.memfd_create("tach-gdb"), os.memfd_create("tach-gdb-output")
    try:
        os.write(commands, script.encode())
        os.lseek(commands, 0, os.SEEK_SET)
        # the file is known before: its symbols need not be read while the process stands still
        gdb = [_debugger(), "-nx", "-batch", "-readnever"]
        gdb += ["-ex", f"exec-file /proc/{process.pid}/exe", "-x", "/dev/stdin"]
        limit = ["timeout", "-s", "INT", "-k", str(_TOLD_TO), str(STOPPED_AT_MOST)]
        # timeout is a process of its own: who kills this one leaves nobody standing still
        with subprocess.Popen(
            [*limit, *gdb],
            stdin=commands,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
        ) as running:
            running.wait()
        os.lseek(output, 0, os.SEEK_SET)
        return os.read(output, 1 << 16).decode("utf-8", "replace")
    except FileNotFoundError:
        raise CannotAttach("the program timeout of the coreutils is not installed") from None
    finally:
        os.close(commands)
        os.close(output)


def _in_words(process: Process, said: str) -> str:
    lines = [each.strip() for each in said.splitlines() if each.strip()]
    reason = next((each for each in lines if "ptrace" in each), lines[-1] if lines else "nothing")
    if "tach: busy" in said:
        reason = f"it has made no system call for {STOPPED_AT_MOST} s, at which that is safe"
    if "restored the context" in said or _NOT_BACK in said:
        reason = "a function did not come back in time, and all is as it was; try again"
    if f"{_DONE} -1" in said:
        reason = "too many calls are pending in it; try again later"
    return f"gdb could not reach into process {process.pid}; it says: {reason}"
