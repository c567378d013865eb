"""Names of series: one rule for all notifiers. Without imports, for the measured program's sake."""

from __future__ import annotations

LONGEST = 200
KEPT = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def sanitise(name: str) -> str:
    """The name as every receiver takes it: components of [A-Za-z0-9_-], at most 200 bytes.

    Any other character of a component becomes `_`, and so does a component that is empty.
    """
    components = ("".join([c if c in KEPT else "_" for c in each]) for each in name.split("."))
    whole = ".".join([each or "_" for each in components])
    return whole[:LONGEST].rstrip(".")
