"""Buckets as the sender counts with them: in C where that is there, else as `tach.pure_buckets`.

That says what each of the functions does.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING

from tach import layout, pure_buckets


def implementation() -> ModuleType:
    """What does the work: the Python one where there is no other, or TACH_PURE=1."""
    if os.environ.get("TACH_PURE", "0") not in ("", "0"):
        return pure_buckets
    try:
        from tach import _buckets
    except ImportError:
        return pure_buckets
    # what is left of another version of tach, where this one has not been compiled
    known = vars(layout)
    if any(known.get(name) != value for name, value in _buckets.LAYOUT.items()):
        return pure_buckets
    return _buckets


CHANGING, LANES, PAIR = pure_buckets.CHANGING, pure_buckets.LANES, pure_buckets.PAIR
bounds, pack, unpack = pure_buckets.bounds, pure_buckets.pack, pure_buckets.unpack
if TYPE_CHECKING:
    active, added, added_up = pure_buckets.active, pure_buckets.added, pure_buckets.added_up
    changed, count = pure_buckets.changed, pure_buckets.count
    difference, lines = pure_buckets.difference, pure_buckets.lines
    quantiles = pure_buckets.quantiles
else:
    _chosen = implementation()
    active, added, added_up = _chosen.active, _chosen.added, _chosen.added_up
    changed, count = _chosen.changed, _chosen.count
    difference, lines, quantiles = _chosen.difference, _chosen.lines, _chosen.quantiles
