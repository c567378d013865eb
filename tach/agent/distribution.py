"""A histogram in this process's segment: the off-path half of whatever is counted."""

from __future__ import annotations

from tach import agent, layout
from tach.agent import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tach.agent.segment import Segment

    Cell = tuple[memoryview, int]

_NEVER = 1 << 64
_ROOM = 10  # calls within each other
_NO_BLOCKS: list[memoryview | None] = [None] * layout.BLOCKS
_SHIFT = tuple(max(bits - 8, 0) for bits in range(layout.BLOCKS))
_SUM, _MIN, _MAX, _LAST = layout.E_SUM, layout.E_MIN, layout.E_MAX, layout.E_LAST


class Distribution:
    """Counts whole numbers in an entry of kind `kind` for target number `target`.

    `words` is the entry, None until `begin`; `blocks` its histogram's blocks by bit length, each
    None until needed.
    """

    def __init__(
        self,
        segment: Segment,
        kind: int,
        target: int,
        on_trouble: Callable[[str], None],
        name: str = "",
        parent: Distribution | None = None,
    ) -> None:
        self._segment = segment
        self._kind = kind
        self.target = target
        self._on_trouble = on_trouble
        self.name = name
        self._parent = parent
        self.forget()

    def forget(self) -> None:
        """Start anew, in another segment."""
        self.words: memoryview | None = None
        self.blocks = list(_NO_BLOCKS)
        self.offset = 0
        self._told = False
        self._least, self._greatest = _NEVER, -1  # of those that came by here

    def begin(self) -> memoryview:
        """The words of the entry, made if need be.

        Raises only what is EXHAUSTED.
        """
        if self.words is None:
            words, offset = self._own_cell()
            # No call from the test to the stores: of two threads here, both take the first one's.
            if self.words is None:
                self.offset = offset
                self.words = words
        return self.words

    def _own_cell(self) -> Cell:
        if self._parent is None:
            return self.cell(self._segment.entry, self._kind, self.target, 0, self.name)
        self._parent.begin()
        if not self._parent.offset:
            return unread()
        parent = self._parent.offset
        return self.cell(self._segment.entry, self._kind, self.target, parent, self.name)

    def cell(self, make: Callable[..., Cell], *args: Any) -> Cell:
        """What `make` makes, or memory that nobody reads where that cannot be: no call tries again.

        Signals wait meanwhile, lest handlers that call a target pile up here. Raises only what is
        EXHAUSTED.
        """
        cell: Cell = signals.waiting(_ROOM, self._try, make, *args)
        return cell

    def _try(self, make: Callable[..., Cell], *args: Any) -> Cell:
        try:
            return make(*args)
        except RecursionError:
            raise
        except MemoryError as error:  # there may be some for the next call
            self._tell(error)
            raise
        except Exception as error:
            if agent.is_of_the_program(error):
                raise
            self._tell(error)
            return unread()

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._on_trouble(f"{type(error).__name__}: {error}")
            self._told = True

    def count(self, elapsed: int) -> None:
        """Count `elapsed`, a whole number >= 0. Raises only what is EXHAUSTED."""
        words = self.words
        if words is None:
            words = self.begin()
        if elapsed < self._least or elapsed > self._greatest:
            self._extreme(words, elapsed)
        bits = elapsed.bit_length()
        try:
            self.blocks[bits][elapsed >> _SHIFT[bits] & 127] += 1  # type: ignore[index]
        except (TypeError, IndexError):
            self.count_first(elapsed)
        # The sum last: it tells the reader that the rest has changed.
        words[_SUM] += elapsed

    def _extreme(self, words: memoryview, elapsed: int) -> None:
        # a probe that counts without this may know better
        if elapsed < words[_MIN]:
            words[_MIN] = elapsed
        if elapsed > words[_MAX]:
            words[_MAX] = elapsed
        self._least = min(self._least, elapsed)
        self._greatest = max(self._greatest, elapsed)

    def count_first(self, elapsed: int) -> None:
        """Count in the histogram alone, whose block may not be there yet, or end before `elapsed`.

        Raises only what is EXHAUSTED.
        """
        bits = min(max(elapsed.bit_length(), layout.LOWEST_BLOCK), layout.BLOCKS - 1)
        lane = elapsed >> max(bits - 8, 0)
        lane = lane & 127 if lane < 256 else 127
        block = self.blocks[bits] or self._open_block(bits)
        block[lane] += 1

    def block(self, bits: int) -> memoryview:
        """The block for values of so many bits, made if need be. Raises only what is EXHAUSTED."""
        return self.blocks[bits] or self._open_block(bits)

    def _open_block(self, bits: int) -> memoryview:
        words = self.begin()
        block, offset = self.cell(self._segment.block) if self.offset else unread()
        blocks, at = self.blocks, layout.E_BLOCKS + bits
        # No call from the test to the stores: of two threads here at once, the first one's counts.
        if blocks[bits] is None:
            blocks[bits] = block
            words[at] = offset
        if bits == layout.LOWEST_BLOCK:  # it serves all smaller values too
            blocks[:bits] = [blocks[bits]] * bits
        return blocks[bits]  # type: ignore[return-value]


class Numbers(Distribution):
    """Counts any finite numbers, in millionths; the sum and the extremes are kept as doubles."""

    def forget(self) -> None:
        """Start anew, in another segment."""
        super().forget()
        self._doubles: memoryview[float] | None = None

    def _own_cell(self) -> Cell:
        words, offset = super()._own_cell()
        doubles = words.cast("B").cast("d")
        doubles[_MIN], doubles[_MAX] = float("inf"), float("-inf")
        return words, offset

    def add(self, number: float) -> None:
        """Count a finite number. Raises only what is EXHAUSTED."""
        words = self._doubles
        if words is None:
            words = self._doubles = self.begin().cast("B").cast("d")
        if number < words[_MIN]:
            words[_MIN] = number
        if number > words[_MAX]:
            words[_MAX] = number
        self.count_first(int(number * layout.NUMBER_UNITS + 0.5) if number > 0 else 0)
        words[_LAST] = number
        words[_SUM] += number


def unread() -> Cell:
    """A cell that nobody reads."""
    return memoryview(bytearray(layout.CELL_BYTES)).cast("Q"), 0
