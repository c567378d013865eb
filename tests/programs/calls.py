"""Call functions of `targets`: calls.py [TIMES NAME]...; NAME may be such as Child.method."""

from __future__ import annotations

import sys
from contextlib import suppress
from operator import attrgetter

import targets


def call(name: str, times: int) -> None:
    owner, _, _ = name.rpartition(".")
    instance = attrgetter(owner)(targets)() if owner else None
    function = getattr(instance, name.rpartition(".")[2]) if owner else getattr(targets, name)
    for _ in range(times):
        with suppress(Exception):
            function()


for times, name in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    call(name, int(times))
print("called")
