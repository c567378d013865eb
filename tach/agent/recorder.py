"""Where the calls of one target are recorded: the off-path half of a probe."""

from __future__ import annotations

from _signal import (  # type: ignore[import-not-found]
    SIG_BLOCK,
    SIG_SETMASK,
    pthread_sigmask,
    valid_signals,
)

from tach import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tach.agent.segment import Segment

    Cell = tuple[memoryview, int]

# Exceptions that say "stop", not "broken", by module and name, so that none of it gets imported.
CONTROL_FLOW = frozenset(
    [
        ("builtins", "GeneratorExit"),
        ("builtins", "KeyboardInterrupt"),
        ("builtins", "SystemExit"),
        ("asyncio.exceptions", "CancelledError"),
        ("concurrent.futures._base", "CancelledError"),
        ("greenlet", "GreenletExit"),
        ("trio", "Cancelled"),
        ("trio._core._exceptions", "Cancelled"),
    ]
)

_SIGNALS = valid_signals()
_HERE = __file__.rpartition("/")[0]
_NO_BLOCKS: list[memoryview | None] = [None] * layout.BLOCKS


class Recorder:
    """Records calls of target number `target` into this process's segment.

    `words` is the series' entry, None until `begin`; `blocks` its histogram's blocks by bit length,
    each None until needed.
    """

    def __init__(
        self,
        segment: Segment,
        target: int,
        ignore: tuple[str, ...],
        on_trouble: Callable[[str], None],
    ) -> None:
        self._segment = segment
        self._target = target
        self._ignore = frozenset(ignore)
        self._on_trouble = on_trouble
        self._resets: list[Callable[[], None]] = []
        self._forget()

    def _forget(self) -> None:
        self.words: memoryview | None = None
        self.blocks = list(_NO_BLOCKS)
        self._offset = 0
        self._told = False
        self._error_classes: dict[str, memoryview] = {}

    def on_reset(self, reset: Callable[[], None]) -> None:
        """Call `reset` in a forked child, where everything starts anew."""
        self._resets.append(reset)

    def after_fork(self) -> None:
        """Start anew, in the child's own segment."""
        if self.words is not None:
            self._forget()
            for reset in self._resets:
                reset()

    def begin(self) -> memoryview:
        """The words of the entry, made if need be.

        Raises only RecursionError, where the program has no frames left.
        """
        if self.words is None:
            words, offset = self._cell(self._segment.entry, layout.KIND_CALLS, self._target)
            # No call from the test to the stores: of two threads here, both take the first one's.
            if self.words is None:
                self._offset = offset
                self.words = words
        return self.words

    def _cell(self, make: Callable[..., Cell], *args: Any) -> Cell:
        """What `make` makes, or memory that nobody reads, so that the next call need not try.

        Signals wait meanwhile, lest handlers that call a target pile up here.
        """
        mask = pthread_sigmask(SIG_BLOCK, ())
        try:
            pthread_sigmask(SIG_BLOCK, _SIGNALS)
            return self._try(make, *args)
        finally:
            pthread_sigmask(SIG_SETMASK, mask)

    def _try(self, make: Callable[..., Cell], *args: Any) -> Cell:
        try:
            return make(*args)
        except RecursionError:
            raise
        except Exception as error:
            if _is_of_the_program(error):
                raise
            if not self._told:
                self._told = True
                self._on_trouble(f"{type(error).__name__}: {error}")
            return _unread()

    def count(self, elapsed: int) -> None:
        """Count a call that took `elapsed` nanoseconds. Raises only RecursionError."""
        words = self.begin()
        total, least, greatest = layout.E_SUM, layout.E_MIN, layout.E_MAX
        if elapsed < words[least]:
            words[least] = elapsed
        if elapsed > words[greatest]:
            words[greatest] = elapsed
        self.count_first(elapsed)
        # The sum last: it tells the reader that the rest has changed.
        words[total] += elapsed

    def count_first(self, elapsed: int) -> None:
        """Count a call whose bucket's block is not there yet, or out of range.

        Raises only RecursionError.
        """
        bits = min(max(elapsed.bit_length(), layout.LOWEST_BLOCK), layout.BLOCKS - 1)
        lane = elapsed >> max(bits - 8, 0)
        lane = lane & 127 if lane < 256 else 127
        block = self.blocks[bits] or self._open_block(bits)
        block[lane] += 1

    def _open_block(self, bits: int) -> memoryview:
        words = self.begin()
        block, offset = self._cell(self._segment.block) if self._offset else _unread()
        blocks, at = self.blocks, layout.E_BLOCKS + bits
        # No call from the test to the stores: of two threads here at once, the first one's counts.
        if blocks[bits] is None:
            blocks[bits] = block
            words[at] = offset
        if bits == layout.LOWEST_BLOCK:  # it serves all smaller values too
            blocks[:bits] = [blocks[bits]] * bits
        return blocks[bits]  # type: ignore[return-value]

    def count_failure(self, error: BaseException) -> None:
        """Count what the call raised, in all and by class. Raises only RecursionError."""
        try:
            self._count_failure(type(error))
        except (AttributeError, TypeError):  # its class has no module, or an odd one
            self._on_trouble("an exception could not be counted")

    def _count_failure(self, raised: type[BaseException]) -> None:
        words = self.begin()
        of = type.__getattribute__  # past the code of a metaclass
        for base in of(raised, "__mro__"):
            module, known = of(base, "__module__"), of(base, "__qualname__")
            if (module, known) in CONTROL_FLOW:
                words[layout.E_CANCELLED] += 1
                return
            if self._ignore and (known in self._ignore or f"{module}:{known}" in self._ignore):
                words[layout.E_IGNORED] += 1
                return
        name = of(raised, "__name__")
        counter = self._error_classes.get(name) or self._open_error_class(name)
        at = layout.E_COUNT
        counter[at] += 1
        words[layout.E_ERRORS] += 1

    def _open_error_class(self, name: str) -> memoryview:
        classes = self._error_classes
        if len(classes) >= layout.ERROR_CLASSES and name != layout.OTHER:
            return classes.get(layout.OTHER) or self._open_error_class(layout.OTHER)
        if self._offset:
            kind, target, parent = layout.KIND_ERROR_CLASS, self._target, self._offset
            words, _ = self._cell(self._segment.entry, kind, target, parent, name)
        else:
            words, _ = _unread()
        return classes.setdefault(name, words)


def _unread() -> Cell:
    return memoryview(bytearray(layout.CELL_BYTES)).cast("Q"), 0


def _is_of_the_program(error: Exception) -> bool:
    """Whether it was raised outside the agent: by a signal handler that ran in between.

    One runs here all the same where another thread took the signal.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and not trace.tb_frame.f_code.co_filename.startswith(_HERE)
