"""`tach --completion SHELL`: what makes a shell complete command lines of tach.

What there is to complete is read from the help texts of the sub-commands: a sub-command or an
option that has one is completed.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import NamedTuple

SHELLS = ("bash", "fish", "zsh")
PIDS = "pids"  # what the scripts ask for: the runs that go on
# What a shell completes by itself, by the word that a help text has for it; others are any text.
FILES = ("FILE", "SPOOL", "A", "B")
KNOWN = ("CONFIG", "PID", "PROGRAM", "SHELL", *FILES)
_OPTION = re.compile(r"^  (?:-\w, )?(-[\w-]+)(?: (\S+))?(?:  +(.*))?$", re.MULTILINE)

Run = Callable[[list[str]], int]


class Option(NamedTuple):
    """`value` is the word for what follows it (`{a,b}` for one of these), empty for none."""

    name: str
    value: str
    text: str

    @property
    def choices(self) -> list[str]:
        """The values that it can have, where they are known."""
        return self.value[1:-1].split(",") if self.value.startswith("{") else []


class Command(NamedTuple):
    """A sub-command: its options, and the words for what stands behind them, such as CONFIG."""

    options: list[Option]
    places: list[str]


def main(arguments: list[str], subcommands: Mapping[str, Run]) -> int:
    """Print the script of a shell; 2 for a shell that is not known."""
    if arguments == [PIDS]:
        return _print_pids()
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        sys.stderr.write(f"tach: --completion needs the name of a shell: {', '.join(SHELLS)}\n")
        return 2
    commands = {name: described(run) for name, run in subcommands.items()}
    sys.stdout.write(script(arguments[0], commands))
    return 0


def described(run: Run) -> Command:
    """What the help text of a sub-command says."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        run(["--help"])
    usage, _, rest = text.getvalue().partition("\n\n")
    options = [Option(*found) for found in _OPTION.findall(rest)]
    found = re.findall(r"\b[A-Z]+\b", re.sub(r"\[-[^]]*\]", "", usage))
    places = [word for word in found if word in KNOWN]
    if "PROGRAM" in places:
        places = places[: places.index("PROGRAM") + 1]
    return Command(options, places)


def script(shell: str, commands: Mapping[str, Command]) -> str:
    """The script, with what is known of the sub-commands in it."""
    text = files("tach").joinpath(f"completions/tach.{shell}").read_text(encoding="utf-8")
    text = text.replace("@names@", " ".join(commands))
    return text.replace("# @commands@\n", WRITERS[shell](commands))


def _cases(commands: Mapping[str, Command]) -> str:
    """For bash and zsh: each sub-command's branch of a `case`."""
    lines = []
    for name, command in commands.items():
        valued = " ".join(_valued(option) for option in command.options if option.value)
        options = " ".join(option.name for option in command.options)
        places = " ".join(command.places)
        lines.append(f"{name}) options='{options}' valued='{valued}' places='{places}' ;;\n")
    return "".join(f"        {line}" for line in lines)


def _valued(option: Option) -> str:
    """An option with what follows it, as `--sort=busy,rate` or `--html=FILE`."""
    return f"{option.name}={','.join(option.choices) or option.value}"


def _fish(commands: Mapping[str, Command]) -> str:
    lines = []
    for name, command in commands.items():
        lines.append(f"complete -c tach -n __tach_first -a {name}\n")
        for option in command.options:
            kind = "o" if not option.name.startswith("--") else "l"
            line = f"complete -c tach -n '__tach_in {name}' -{kind} {option.name.lstrip('-')}"
            if option.choices:
                line += f" -xa '{' '.join(option.choices)}'"
            elif option.value:
                line += " -rF" if option.value in FILES else " -x"
            lines.append(f"{line}\n")
        places = " ".join(command.places)
        lines.append(f"complete -c tach -n '__tach_in {name}' -a '(__tach_place {places})'\n")
    return "".join(lines)


WRITERS: dict[str, Callable[[Mapping[str, Command]], str]] = {
    "bash": _cases,
    "fish": _fish,
    "zsh": _cases,
}


def _print_pids() -> int:
    """Print a line for each run that goes on: the number of its first process, a tab, its name."""
    from tach import runs

    for run in runs.living(runs.places()):
        with contextlib.suppress(OSError), open(f"/proc/{run.main_pid}/comm") as file:
            sys.stdout.write(f"{run.main_pid}\t{file.read().strip()}\n")
    return 0
