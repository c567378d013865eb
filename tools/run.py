"""Run a command in a virtual environment that has tach and its extras: run.py EXTRAS COMMAND..."""

from __future__ import annotations

import os
import sys

import pythons
from environment import ROOT, Environment, SetupError


def main(extras: str, *command: str) -> int:
    """Set up the environment of the newest Python, then become `command`."""
    found = pythons.find()
    if not found:
        raise SetupError(f"no Python here is one of {', '.join(pythons.SUPPORTED)}; install one")
    environment = Environment(found[-1].minor, found[-1])
    environment.prepare(set(extras.split(",")))
    os.chdir(ROOT)
    variables = environment.variables()
    os.execvpe(command[0], command, variables)


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except SetupError as error:
        sys.exit(f"tach: {error}")
