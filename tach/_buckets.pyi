from array import array
from collections.abc import Sequence

LAYOUT: dict[str, int]

def added(several: Sequence[bytes], /) -> bytes: ...
def difference(now: bytes, before: bytes, /) -> bytes: ...
def count(buckets: bytes, /) -> int: ...
def quantiles(
    buckets: bytes,
    least: int,
    greatest: int | None,
    units: float,
    fractions: tuple[float, ...],
    /,
) -> list[float]: ...
def lines(
    buckets: bytes,
    least: int,
    greatest: int | None,
    units: float,
    fractions: tuple[float, ...],
    before: str,
    after: tuple[str, ...],
    /,
) -> str: ...
def changed(
    segment: memoryview,
    offsets: array[int],
    owners: array[int],
    seen: bytearray,
    news: array[int],
    /,
) -> list[tuple[int, int]]: ...
def added_up(
    segments: list[memoryview], places: array[int], blocks: int, before: bytes, /
) -> tuple[bytes, int, int, int, int, int, int]: ...
def active(segments: list[memoryview], places: array[int], /) -> int: ...
