"""A warehouse behind a network: everything is awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


class Empty(Exception):
    """There is nothing left."""


async def reserve(number: int) -> int:
    """How many parcels the order makes; Empty for every tenth."""
    await asyncio.sleep(0.005)
    if number % 10 == 0:
        raise Empty(number)
    return number % 3 + 1


async def parcels(count: int) -> AsyncIterator[int]:
    """The parcels, one after the other."""
    for each in range(count):
        await asyncio.sleep(0)
        yield each


async def ship(number: int) -> int:
    """Ship an order; returns the number of its parcels."""
    count = await reserve(number)
    return len([each async for each in parcels(count)])
