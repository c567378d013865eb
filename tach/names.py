"""Names of series: one rule for all notifiers. Without imports, for the measured program's sake."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LONGEST = 200
OTHER = "other"
KEPT = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def component(text: str) -> str:
    """The text as one component of a name: without dots, not longer than a whole name may be."""
    return "".join([c if c in KEPT else "_" for c in text[:LONGEST]]) or "_"


def sanitise(name: str) -> str:
    """The name as every receiver takes it: components of [A-Za-z0-9_-], at most 200 bytes.

    Any other character of a component becomes `_`, and so does a component that is empty.
    """
    whole = ".".join([component(each) for each in name.split(".")])
    return whole[:LONGEST].rstrip(".")


def other_name(template: tuple[Any, ...], name: str) -> str:
    """What calls go by whose own name is one too many: `OTHER` in place of all placeholders."""
    if not template:
        return f"{name}.{OTHER}"
    return sanitise("".join([each if isinstance(each, str) else OTHER for each in template]))
