"""Set up carbon for the tests, in a Python of its own: it needs one below 3.12."""

from __future__ import annotations

import sys

import pythons
from environment import PIP_INSTALL, Environment, SetupError, run

REQUIREMENTS = ("carbon==1.1.10", "txAMQP>=0.8", "whisper==1.1.10")
RUNS_ON = ("3.10", "3.11")


def install_carbon() -> str:
    """Put carbon-cache into .venv/carbon. Returns why it cannot be had, else nothing."""
    usable = [each for each in pythons.find() if each.minor in RUNS_ON]
    if not usable:
        return f"install one of Python {', '.join(RUNS_ON)} with venv and try again"
    environment = Environment("carbon", usable[-1])
    if (environment.directory / "bin/carbon-cache.py").exists():
        return ""
    try:
        environment.make()
        run(environment.pip(*PIP_INSTALL, *REQUIREMENTS), environment.variables())
    except SetupError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    sys.exit(install_carbon() or 0)
