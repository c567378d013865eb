"""Measures a small eventlet service and prints the table: the README's first command."""

from __future__ import annotations

import sys

import run
from environment import SetupError

COMMAND = ("tach", "examples/demo/tach.yaml", "python", "-W", "ignore", "examples/demo/service.py")

if __name__ == "__main__":
    try:
        sys.exit(run.main("demo", *COMMAND))
    except SetupError as error:
        sys.exit(f"tach: {error}")
