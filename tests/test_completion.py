"""`tach --completion`: what bash, zsh and fish complete, asked in the shells themselves."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tach import cli, completion

ASK_BASH = """
{setup}
eval "$(tach --completion bash)"
_prog() {{ COMPREPLY=("program:${{COMP_WORDS[*]}}:$COMP_CWORD"); }}
complete -F _prog prog
COMP_WORDS=({words})
COMP_CWORD={last}
COMP_LINE=${{COMP_WORDS[*]}} COMP_POINT=${{#COMP_LINE}}
_tach
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
ASK_FISH = 'source (tach --completion fish | psub); complete -C "{line}"'
ASK_ZSH = """
autoload -U compinit && compinit -u -d {dump}
PS1='ready> '; setopt no_auto_menu no_list_beep; unsetopt auto_list
eval "$(tach --completion zsh)"
_prog() {{ compadd -- "program_${{(j:_:)words}}_$CURRENT" }}
compdef _prog prog
"""

Ask = Callable[[str], set[str]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with configurations, in which to complete."""
    place = tmp_path / "place"
    (place / "inner").mkdir(parents=True)
    for name in ("shop.yaml", "other.yml", "shop.txt", "with space.yaml"):
        (place / name).write_text("targets: {f: 'm:f'}\n")
    prog = tmp_path / "bin" / "prog"
    prog.parent.mkdir()
    prog.write_text("#!/bin/sh\n")
    prog.chmod(0o755)
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def variables(environment: dict[str, str], place: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a shell whose user has no settings."""
    home = tmp_path / "home"
    home.mkdir()
    path = f"{tmp_path / 'bin'}:{environment['PATH']}"
    return {**environment, "PATH": path, "HOME": str(home), "TERM": "dumb", "LC_ALL": "C.UTF-8"}


def require(shell: str) -> str:
    """The shell's path; skips the test where it is not installed."""
    found = shutil.which(shell)
    return found or pytest.skip(f"no {shell} here")


def asked(shell: str, script: str, variables: dict[str, str]) -> set[str]:
    """The lines that the shell prints for the script."""
    options = ["--norc", "--noprofile"] if shell == "bash" else ["--no-config"]
    done = subprocess.run(
        [require(shell), *options, "-c", script],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return set(filter(None, done.stdout.splitlines()))


@pytest.fixture(params=["bash", "fish"])
def ask(request: pytest.FixtureRequest, variables: dict[str, str]) -> Ask:
    """What a shell offers for a line."""

    def of_bash(line: str) -> set[str]:
        words = line.split(" ")
        quoted = " ".join(f"'{word}'" for word in words)
        script = ASK_BASH.format(setup="", words=quoted, last=len(words) - 1)
        return asked("bash", script, variables)

    def of_fish(line: str) -> set[str]:
        found = asked("fish", ASK_FISH.format(line=line), variables)
        return {each.partition("\t")[0].rstrip("/").replace("\\ ", " ") for each in found}

    return of_bash if request.param == "bash" else of_fish


CONFIGURATIONS = {"shop.yaml", "other.yml", "with space.yaml"}


def test_the_first_word(ask: Ask) -> None:
    """Each sub-command, and each configuration that is there; options after a dash."""
    assert ask("tach ") >= {*cli.SUBCOMMANDS, *CONFIGURATIONS}
    assert "shop.txt" not in ask("tach ")
    assert ask("tach s") == {"status", "shop.yaml"}
    assert ask("tach --co") == {"--completion"}
    assert ask("tach --completion z") == {"zsh"}


def test_options_and_their_values(ask: Ask) -> None:
    """Those of the sub-command, and what can follow them."""
    assert ask("tach status --") == {"--help", "--json"}
    assert ask("tach top --every 1s --s") == {"--sort"}
    assert ask("tach top --sort p") == {"p99"}
    assert ask("tach forward --config sho") == {"shop.yaml", "shop.txt"}
    assert ask("tach profile --html shop.t") == {"shop.txt"}


def test_what_stands_behind_a_subcommand(ask: Ask) -> None:
    """Configurations after `check`, any file after `diff`, programs after `profile`."""
    assert ask("tach check sh") == {"shop.yaml"}
    assert ask("tach check --json oth") == {"other.yml"}
    assert ask("tach diff shop.yaml shop.") == {"shop.yaml", "shop.txt"}
    assert "prog" in ask("tach profile pro")
    assert "prog" in ask("tach shop.yaml pro")
    assert "prog" in ask("tach check shop.yaml pro")


def test_the_runs_that_go_on(
    ask: Ask, spawn_tach: Any, tmp_path: Path, variables: dict[str, str]
) -> None:
    """`status` and `top` are offered the PIDs of the runs, and nothing where there is none."""
    assert ask("tach top ") == set()
    (tmp_path / "m.py").write_text("def f(): ...\n")
    program = "import m; m.f(); print('ready', flush=True); input()"
    process = spawn_tach("targets: {f: 'm:f'}", "-c", program, stdin=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"

    assert ask("tach top ") == {str(process.pid)}
    assert ask(f"tach status {str(process.pid)[:1]}") == {str(process.pid)}
    process.communicate("\n", timeout=30)


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("tach shop.yaml prog --so", "prog --so:1"),
        ("tach shop.yaml prog a b ", "prog a b :3"),
        ("tach profile --top 3 prog x", "prog x:1"),
        ("tach check shop.yaml prog x", "prog x:1"),
    ],
)
@pytest.mark.parametrize("library", [False, True])
def test_the_programs_own_completion(
    line: str, rest: str, library: bool, variables: dict[str, str]
) -> None:
    """Behind the program, bash completes as if tach were not there: with its library or without."""
    file = "/usr/share/bash-completion/bash_completion"
    if library and not os.path.exists(file):
        pytest.skip("no bash-completion here")
    words = line.split(" ")
    script = ASK_BASH.format(
        setup=f"source {file}" if library else "",
        words=" ".join(f"'{word}'" for word in words),
        last=len(words) - 1,
    )
    assert asked("bash", script, variables) == {f"program:{rest}"}


def test_fish_hands_over_to_the_program(variables: dict[str, str]) -> None:
    """Behind the program, fish completes as if tach were not there."""
    own = "complete -c prog -f -l special; "
    for line in (
        "tach shop.yaml prog --sp",
        "tach profile prog --sp",
        "tach check a.yaml prog --s",
    ):
        found = asked("fish", own + ASK_FISH.format(line=line), variables)
        assert {each.partition("\t")[0] for each in found} == {"--special"}


class Terminal:
    """An interactive shell on a terminal."""

    def __init__(self, command: list[str], variables: dict[str, str]) -> None:
        self._pid, self._end = pty.fork()
        if not self._pid:
            os.execve(command[0], command, variables)

    def says(self, pattern: str) -> str:
        """Wait until what it shows matches; returns all that it has shown since the last time."""
        text, deadline = "", time.monotonic() + 30
        while time.monotonic() < deadline:
            if re.search(pattern, text):
                return text
            if select.select([self._end], [], [], 0.1)[0]:
                text += os.read(self._end, 65536).decode(errors="replace")
        raise AssertionError(f"no {pattern!r} in {text!r}")

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._end, text.encode())

    def close(self) -> None:
        """End it."""
        os.close(self._end)
        os.waitpid(self._pid, 0)


@pytest.fixture
def terminal(variables: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """Starts shells."""
    started: list[Terminal] = []

    def start(shell: str, *options: str) -> Terminal:
        started.append(Terminal([require(shell), *options], variables))
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_bash_at_the_keyboard(terminal: Callable[..., Terminal]) -> None:
    """Tab completes sub-commands, options, and names with blanks, as one word."""
    bash = terminal("bash", "--norc", "--noprofile", "-i")
    bash.type("PS1='ready> '; bind 'set enable-bracketed-paste off'\n")
    bash.type("eval \"$(tach --completion bash)\"; echo lo''aded\n")
    bash.says("\nloaded")
    for typed, completed in (
        ("tach stat\t", "tach status "),
        ("tach top --so\t", "tach top --sort "),
        ("tach with\t", r"tach with\\ space.yaml "),
        ("tach check inn\t", "tach check inner/"),
    ):
        bash.type(typed)
        bash.says(completed)
        bash.type("\x15")


def test_zsh_at_the_keyboard(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    """Tab completes sub-commands, configurations, options, their values, and the program's own."""
    zsh = terminal("zsh", "-f", "-i")
    zsh.type(ASK_ZSH.format(dump=tmp_path / "dump") + "echo lo''aded\n")
    zsh.says("\nloaded")
    for typed, completed in (
        ("tach stat\t", "us"),
        ("tach other\t", ".yml"),
        ("tach check oth\t", "er.yml"),
        ("tach top --so\t", "rt"),
        ("tach top --sort err\t", "ors"),
        ("tach profile --html shop.t\t", "xt"),
        ("tach shop.yaml prog \t", "program_prog__2"),
        ("tach profile --top 3 prog \t", "program_prog__2"),
        ("tach check shop.yaml prog x \t", "program_prog_x__3"),
    ):
        zsh.type(typed)
        zsh.says(re.escape(completed))
        zsh.type("\x15")


def test_every_subcommand_is_described() -> None:
    """Its help says what stands behind it, and all of its options have names."""
    found = {name: completion.described(run) for name, run in cli.SUBCOMMANDS.items()}

    assert found["check"].places == ["CONFIG", "PROGRAM"]
    assert found["diff"].places == ["A", "B"]
    assert {option.name for option in found["status"].options} >= {"--json", "--help"}
    places = {place for command in found.values() for place in command.places}
    assert places <= set(completion.KNOWN)


def test_an_unknown_shell_is_refused() -> None:
    """With the names of those that are known."""
    done = subprocess.run(
        [sys.executable, "-m", "tach", "--completion", "tcsh"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "tach: --completion needs the name of a shell: bash, fish, zsh\n",
    )
