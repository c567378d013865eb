"""How often each bucket of a histogram was hit: what `tach.buckets` stands for, in Python.

Buckets are bytes: ascending pairs of native 64-bit words, the number of a bucket (block * 128 +
lane, as `tach.histogram` counts them) and its count, which is not 0. The entries of segments are
named by pairs of such words too: the place of the segment in a list, and the offset in it.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping, Sequence

from tach import layout

LANES = 128
PAIR = 2 * layout.WORD  # bytes
FIRST = layout.LOWEST_BLOCK * LANES
LAST = layout.BLOCKS * LANES - 1
CHANGING = (layout.E_ACTIVE - layout.E_SUM + 1) * layout.WORD
_AT_CHANGING = layout.E_SUM * layout.WORD
_LEAST = layout.E_MIN - layout.E_SUM
_TOTALS = slice(layout.E_SUM, layout.E_IGNORED + 1)
_UNKNOWN = (1 << 64) - 1
_NO_CALL = bytes(layout.WORD)  # how what changes ends where none runs
_BLOCKS = range(layout.LOWEST_BLOCK, layout.BLOCKS)


def pack(counts: Mapping[int, int]) -> bytes:
    """The buckets of those counts by number."""
    words = array("Q")
    for pair in sorted(counts.items()):
        if pair[1]:
            words.extend(pair)
    return words.tobytes()


def unpack(buckets: bytes) -> dict[int, int]:
    """The counts by number, ascending. Raises ValueError where these are no whole buckets."""
    words = array("Q", buckets)
    if len(words) % 2 or (words and words[-2] > LAST):
        raise ValueError("there is no such bucket")
    return dict(zip(words[::2], words[1::2], strict=True))


def added(several: Sequence[bytes]) -> bytes:
    """The buckets of all of them together."""
    both: dict[int, int] = {}
    for each in several:
        for number, count_ in unpack(each).items():
            both[number] = both.get(number, 0) + count_
    return pack(both)


def difference(now: bytes, before: bytes) -> bytes:
    """What the buckets count more than before."""
    later, earlier = unpack(now), unpack(before)
    more = {
        number: count_ - earlier.get(number, 0)
        for number, count_ in later.items() - earlier.items()  # few of them change
    }
    return pack({number: count_ for number, count_ in more.items() if count_ > 0})


def count(buckets: bytes) -> int:
    """How many they count."""
    return sum(array("Q", buckets)[1::2])


def bounds(number: int, least: int, greatest: int | None) -> tuple[int, int]:
    """What that bucket may hold, where those are the least and the greatest of all, if known."""
    block, lane = divmod(number, LANES)
    width = 1 << max(block - 8, 0)
    low = lane if block <= layout.LOWEST_BLOCK else (LANES + lane) * width
    high = low + width - 1
    if greatest is not None:
        high = greatest if number == LAST else min(high, greatest)
    if number == FIRST and least < 0:
        low = least
    return min(max(low, least), high), high


def quantiles(
    buckets: bytes,
    least: int,
    greatest: int | None,
    units: float,
    fractions: tuple[float, ...],
) -> list[float]:
    """The value below which each of the ascending `fractions` of all lies, divided by `units`."""
    if not buckets:
        return [0.0] * len(fractions)
    all_ = count(buckets)
    rest = iter(unpack(buckets).items())
    number, here = next(rest)
    low, high = bounds(number, least, greatest)
    below = 0
    found = []
    for fraction in fractions:
        rank = min(max(fraction * all_, 0.0), float(all_))
        while below + here < rank:
            below += here
            number, here = next(rest)
            low, high = bounds(number, least, greatest)
        found.append((low + (high - low) * (rank - below) / here) / units)
    return found


def lines(
    buckets: bytes,
    least: int,
    greatest: int | None,
    units: float,
    fractions: tuple[float, ...],
    before: str,
    after: tuple[str, ...],
) -> str:
    """A line for each quantile, 0 if it is below, with six decimals: `before`, it, its `after`."""
    values = quantiles(buckets, least, greatest, units, fractions)
    return "\n".join(
        f"{before}{max(value, 0.0):.6f}{end}" for value, end in zip(values, after, strict=True)
    )


def changed(
    segment: memoryview, offsets: array[int], owners: array[int], seen: bytearray, news: array[int]
) -> list[tuple[int, int]]:
    """Mark in `news`, at the place that `owners` names, what has changed in each entry.

    A bit for each block that may count more than before, and bit 0. `seen` is what is to be known
    of the entries the next time. The answer is (entry, peak) where calls have run at once, and
    these start anew.
    """
    peaks = []
    if offsets:
        _cell(segment, max(offsets))
    for entry, offset in enumerate(offsets):
        now = bytes(segment[offset + _AT_CHANGING : offset + _AT_CHANGING + CHANGING])
        known = seen[entry * CHANGING : (entry + 1) * CHANGING]
        if now == known and now.endswith(_NO_CALL):
            continue
        if owners[entry] < len(news):
            words = memoryview(now).cast("Q")
            more = words[0] - int.from_bytes(known[: layout.WORD], sys.byteorder)
            news[owners[entry]] |= _blocks_of(more % (1 << 64), words[_LEAST])
        seen[entry * CHANGING : (entry + 1) * CHANGING] = now
        words = _cell(segment, offset).cast("Q")
        if words[layout.E_PEAK]:
            peaks.append((entry, words[layout.E_PEAK]))
            words[layout.E_PEAK] = words[layout.E_ACTIVE]
    return peaks


def _blocks_of(more: int, low: int) -> int:
    """Which blocks may count more than before, a bit each, and bit 0.

    The calls that ended since then took `more` together, and each of them the least of all, `low`,
    or longer: where two would have taken longer there was only one.
    """
    block = min(max(more.bit_length(), layout.LOWEST_BLOCK), layout.BLOCKS - 1)
    if more == 0 and low > 0:
        return 1
    if more < 2 * low:
        return 1 | 1 << block
    return 1 | (2 << block) - (1 << layout.LOWEST_BLOCK)


def added_up(
    segments: list[memoryview], places: array[int], blocks: int, before: bytes
) -> tuple[bytes, int, int, int, int, int, int]:
    """What the entries hold together: buckets, sum, least, greatest, errors, cancelled, ignored.

    Only of `blocks`, a bit each, the buckets are read; those of others are as they were `before`.
    The least is 2^64 - 1 and the greatest -1 where nothing has been counted.
    """
    lanes: dict[int, int] = {}
    wanted = [block for block in _BLOCKS if blocks >> block & 1]
    total, low, high, errors, cancelled, ignored = 0, _UNKNOWN, -1, 0, 0, 0
    for segment, offset in _entries(segments, places):
        words = _cell(segment, offset).cast("Q")
        _add_blocks(lanes, segment, words, wanted)
        sum_, least, greatest, *others = words[_TOTALS].tolist()
        total += sum_
        if least != _UNKNOWN:
            low, high = min(low, least), max(high, greatest)
        errors, cancelled, ignored = errors + others[0], cancelled + others[1], ignored + others[2]
    counts = {
        number: each for number, each in unpack(before).items() if not blocks >> number // LANES & 1
    }
    for block, each in lanes.items():
        counted = array("Q", each.to_bytes(layout.CELL_BYTES, sys.byteorder))
        counts.update(zip(range(block * LANES, (block + 1) * LANES), counted, strict=True))
    return pack(counts), total % (1 << 64), low, high, errors, cancelled, ignored


def _add_blocks(
    lanes: dict[int, int], segment: memoryview, words: memoryview, wanted: list[int]
) -> None:
    """Add the blocks of one entry, each as one number of 128 lanes of 64 bits.

    Adding these is one operation of the interpreter, 128 of ours.
    """
    offsets = words[layout.E_BLOCKS : layout.E_BLOCKS + layout.BLOCKS].tolist()
    for block in wanted:
        offset = offsets[block]
        if offset and _reaches(segment, offset):
            data = segment[offset : offset + layout.CELL_BYTES]
            lanes[block] = lanes.get(block, 0) + int.from_bytes(data, sys.byteorder)


def active(segments: list[memoryview], places: array[int]) -> int:
    """How many calls run now in the entries."""
    return sum(
        _cell(segment, offset).cast("Q")[layout.E_ACTIVE]
        for segment, offset in _entries(segments, places)
    )


def _entries(segments: list[memoryview], places: array[int]) -> list[tuple[memoryview, int]]:
    return [
        (segments[number], offset) for number, offset in zip(places[::2], places[1::2], strict=True)
    ]


def _reaches(segment: memoryview, offset: int) -> bool:
    """Whether there is a cell: not in a segment that has been damaged."""
    return not offset % layout.WORD and offset + layout.CELL_BYTES <= len(segment)


def _cell(segment: memoryview, offset: int) -> memoryview:
    if not _reaches(segment, offset):
        raise IndexError(f"there is no cell at offset {offset}")
    return segment[offset : offset + layout.CELL_BYTES]
