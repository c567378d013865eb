"""Builds the packages, installs them into a clean environment, and measures a program there.

The wheel is built from the sdist. It is installed first; in its place then the sdist, once where no
compiler works and once with TACH_PURE=1: both must do without the compiled probe.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pythons
from environment import PIP_INSTALL, ROOT, Environment, SetupError, alone, run

# What git keeps and no package needs.
NOT_SHIPPED = {".ci/run", ".gitignore"}
COMPILED = {"tach/agent/_probe", "tach/_buckets"}
PROGRAM = "def work(): return 1\nfor _ in range(1000): work()\nprint('done')\n"
CONFIG = """\
exit_timeout: 10s
notifiers: {json: {type: console, format: json, file: report}}
targets: {work: '__main__:work'}
"""


class Way(NamedTuple):
    """A way to install tach. `variables` are set for pip; `compiled`: whether it has the probe."""

    title: str
    package: Path
    variables: dict[str, str]
    compiled: bool


def main() -> int:
    """Do it on the newest Python; 1 if something is wrong."""
    python = pythons.find()[-1]
    builder = Environment("dist/build", python)
    builder.make()
    run(builder.pip(*PIP_INSTALL, "build", "twine"), builder.variables())
    with tempfile.TemporaryDirectory(prefix="tach-dist-") as directory:
        sdist, wheel = build(builder, Path(directory))
        run([*builder_python(builder), "twine", "check", "--strict", str(sdist), str(wheel)])
        missing = not_in(sdist)
        if missing:
            raise SetupError(f"MANIFEST.in leaves out: {', '.join(sorted(missing))}")
        built = {name.partition(".")[0] for name in names_in(wheel) if name.endswith(".so")}
        compiled = built == COMPILED
        assert compiled or not built, f"only {built} has been compiled"
        print(f"{sdist.name} and {wheel.name}, {'' if compiled else 'not '}compiled", flush=True)
        ways = (
            Way("wheel", wheel, {}, compiled),
            Way("sdist without a compiler", sdist, {"CC": "/bin/false"}, False),
            Way("sdist with TACH_PURE=1", sdist, {"TACH_PURE": "1"}, False),
        )
        clean = Environment("dist/clean", python)
        clean.make()
        for way in ways:
            install(way, clean, Path(directory))
            print(f"{way.title}: installed, 1000 of 1000 calls measured", flush=True)
        collect(sdist, Path(directory))
    return 0


def builder_python(builder: Environment) -> list[str]:
    """The beginning of a command that runs a module in that environment."""
    return [str(builder.directory / "bin" / "python"), "-m"]


def build(builder: Environment, directory: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it."""
    source = ["--outdir", str(directory), str(ROOT)]
    with alone():  # the directory of the sources is written to
        run([*builder_python(builder), "build", *source], builder.variables())
    (sdist,) = directory.glob("*.tar.gz")
    (wheel,) = directory.glob("*.whl")
    return sdist, wheel


def names_in(wheel: Path) -> list[str]:
    """The files of a wheel."""
    with zipfile.ZipFile(wheel) as file:
        return file.namelist()


def not_in(sdist: Path) -> set[str]:
    """The files of the repository that the sdist lacks; none where there is no repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    with tarfile.open(sdist) as file:
        shipped = {name.partition("/")[2] for name in file.getnames()}
    return {name for name in listed.splitlines() if (ROOT / name).exists()} - shipped - NOT_SHIPPED


def install(way: Way, environment: Environment, directory: Path) -> None:
    """Install tach, in place of what is there, and measure a program. Raises SetupError."""
    variables = {**environment.variables(), **way.variables}
    # A wheel that pip has built and kept of another way would be taken; what tach needs is there.
    again = ("--force-reinstall", "--no-deps", "--no-cache-dir") if way.variables else ()
    run(environment.pip(*PIP_INSTALL, *again, str(way.package)), variables)
    run(environment.pip("check"), variables)
    place = directory / way.title.replace(" ", "-")
    place.mkdir()
    (place / "program.py").write_text(PROGRAM)
    (place / "tach.yaml").write_text(CONFIG)
    found = variables | {"TACH_RUN_DIR": str(place)}
    # Not in the repository, whose tach is not the installed one.
    assert said(["tach", "tach.yaml", "python", "program.py"], place, found) == "done\n"
    lines = [json.loads(line) for line in (place / "report").read_text().splitlines()]
    assert [line["calls"] for line in lines if line.get("series") == "work"] == [1000]
    for module in (name.replace("/", ".") for name in COMPILED):
        has_it = f"from importlib.util import find_spec; print(find_spec('{module}'))"
        answer = said(["python", "-c", has_it], place, found)
        assert (answer != "None\n") is way.compiled, f"{way.title}: {answer}"
    assert json.loads(said(["tach", "--schema"], place, found))["properties"]["targets"]
    assert "complete -F" in said(["tach", "--completion", "bash"], place, found)


def said(command: list[str], place: Path, variables: dict[str, str]) -> str:
    """What the command prints. Raises SetupError if it fails."""
    done = subprocess.run(
        command,
        cwd=place,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or done.stderr:
        raise SetupError(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def collect(sdist: Path, directory: Path) -> None:
    """See that the tests of the unpacked sdist can be loaded, where there is a pytest."""
    safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(sdist) as file:
        file.extractall(directory / "unpacked", **safe)
    (place,) = (directory / "unpacked").iterdir()
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if "No module named pytest" in done.stderr:
        print("no pytest here: the tests of the sdist were not loaded")
    elif done.returncode:
        raise SetupError(f"the tests of the sdist cannot be loaded:\n{done.stdout[-3000:]}")
    else:
        counts = re.findall(r": (\d+)$", done.stdout, re.MULTILINE)
        print(f"tests of the sdist: {sum(map(int, counts))} can be loaded")


if __name__ == "__main__":
    os.chdir(ROOT)
    try:
        sys.exit(main())
    except (SetupError, AssertionError) as error:
        sys.exit(f"tach: {error}")
