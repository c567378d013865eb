"""The suites: other people's packages whose own tests are run, as listed in suites.yaml."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, NamedTuple

import yaml

HERE = Path(__file__).resolve().parent
SUITES = HERE / "suites.yaml"
KNOWN = HERE / "known.yaml"
KNOWN_PURE = HERE / "known_pure.yaml"


class Suite(NamedTuple):
    """A package of PyPI with tests in its source distribution.

    `packages` are what it installs. If less than `passed` tests pass, something else is wrong.
    """

    name: str
    version: str
    sha256: str
    packages: list[str]
    passed: int
    requires: list[str] = []  # noqa: RUF012 - read only
    arguments: list[str] = []  # noqa: RUF012 - read only
    environment: dict[str, str] = {}  # noqa: RUF012 - read only
    ci: bool = False


def load() -> dict[str, Suite]:
    """All suites by name, in the order of the file."""
    return {name: Suite(name, **fields) for name, fields in _read(SUITES).items()}


def load_known(probes: str) -> dict[str, dict[str, str]]:
    """Suite -> test, or its beginning before `[` -> why it differs with these probes.

    Probes written in Python ("pure") differ where compiled ones do, and elsewhere.
    """
    known = _read(KNOWN)
    for suite, tests in (_read(KNOWN_PURE) if probes == "pure" else {}).items():
        known[suite] = {**known.get(suite, {}), **tests}
    return known


def choose(suites: dict[str, Suite], names: list[str], subset: str | None) -> list[Suite]:
    """The suites called `names`, else those of `subset`, else all. Raises ValueError."""
    for name in names:
        if name not in suites:
            near = difflib.get_close_matches(name, suites, 1) or [", ".join(suites)]
            raise ValueError(f"no suite {name!r}; did you mean {near[0]}?")
    if names:
        return [suites[name] for name in names]
    return [suite for suite in suites.values() if suite.ci or subset is None]


def _read(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {}
