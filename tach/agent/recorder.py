"""Where the calls of one series are recorded: the off-path half of a probe."""

from __future__ import annotations

from tach import layout
from tach.agent.classes import module_of, mro_of, name_of, qualname_of
from tach.agent.distribution import Distribution, Numbers, unread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tach.agent.segment import Segment

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
_ALL_SLOTS = (1 << layout.SLOTS) - 1
_SLOT = {1 << number: layout.E_SLOTS + number for number in range(layout.SLOTS)}  # by its bit
_BIT = {slot: bit for bit, slot in _SLOT.items()}


class Recorder(Distribution):
    """Records the calls of target number `target` that go by one name ("" for the target's own)."""

    def __init__(
        self,
        segment: Segment,
        target: int,
        ignore: tuple[str, ...],
        on_trouble: Callable[[str], None],
        name: str = "",
    ) -> None:
        self._ignore = frozenset(ignore)
        self._resets: list[Callable[[], None]] = []
        self._quantities: dict[str, Distribution] = {}
        super().__init__(segment, layout.KIND_CALLS, target, on_trouble, name)

    def forget(self) -> None:
        """Start anew, in another segment."""
        super().forget()
        self._error_classes: dict[str, memoryview] = {}
        for each in self._quantities.values():
            each.forget()

    def on_reset(self, reset: Callable[[], None]) -> None:
        """Call `reset` in a forked child, where everything starts anew."""
        self._resets.append(reset)

    def after_fork(self) -> None:
        """Start anew, in the child's own segment."""
        if self.words is not None:
            self.forget()
            for reset in self._resets:
                reset()

    def duration(self, name: str) -> Distribution:
        """The quantity of that name, in nanoseconds, of these calls."""
        found = self._quantities.get(name)
        return found or self._quantities.setdefault(
            name, Distribution(*self._quantity(layout.KIND_DURATION, name))
        )

    def numbers(self, name: str) -> Numbers:
        """The quantity of that name, which has no unit, of these calls."""
        found = self._quantities.get(name)
        return found or self._quantities.setdefault(  # type: ignore[return-value]
            name, Numbers(*self._quantity(layout.KIND_NUMBER, name))
        )

    def _quantity(
        self, kind: int, name: str
    ) -> tuple[Segment, int, int, Callable[[str], None], str, Distribution]:
        return self._segment, kind, self.target, self._on_trouble, name, self

    def enter(self, start: int, running: list[int]) -> None:
        """A call has started at `start` and runs now; `running`, which is empty, is for `leave`.

        To be called after `begin`. No call in here: all of it is done, or nothing, when a signal
        handler raises something; and calls that begin at once differ in slot.
        """
        words = self.words
        assert words is not None
        at, peak, taken = layout.E_ACTIVE, layout.E_PEAK, layout.E_TAKEN
        active = words[at] + 1
        words[at] = active
        if active > words[peak]:
            words[peak] = active
        before = words[taken]
        if before == _ALL_SLOTS:
            crowd, starts = layout.E_CROWD, layout.E_CROWD_STARTS
            words[crowd] += 1
            words[starts] += start // layout.CROWD_UNIT
            running[:] = 0, start
            return
        mine = ~before & before + 1
        slot = _SLOT[mine]
        words[taken] = before | mine
        words[slot] = start
        running[:] = slot, start

    def leave(self, running: list[int]) -> None:
        """The call that got `running`, which is empty then, runs no more. No call here either."""
        words = self.words
        assert words is not None
        at, taken = layout.E_ACTIVE, layout.E_TAKEN
        slot, start = running
        running[:] = ()
        if slot:
            words[slot] = 0
            words[taken] ^= _BIT[slot]
        else:
            crowd, starts = layout.E_CROWD, layout.E_CROWD_STARTS
            words[crowd] -= 1
            words[starts] -= start // layout.CROWD_UNIT
        words[at] -= 1

    def count_failure(self, error: BaseException) -> None:
        """Count what the call raised, in all and by class. Raises only what is EXHAUSTED."""
        found = self.failure(type(error))
        if found is not None:
            words = self.begin()
            at, counter = found
            if counter is not None:
                of_class = layout.E_COUNT
                counter[of_class] += 1
            words[at] += 1

    def failure(self, raised: type[BaseException]) -> tuple[int, memoryview | None] | None:
        """Which of the words counts exceptions of that class, and the class's own entry if any.

        None for a class that cannot be counted. Raises only what is EXHAUSTED.
        """
        try:
            return self._failure(raised)
        except (AttributeError, TypeError):  # its class has no module, or an odd one
            self._on_trouble("an exception could not be counted")
            return None

    def _failure(self, raised: type[BaseException]) -> tuple[int, memoryview | None]:
        for base in mro_of(raised):
            module, known = module_of(base), qualname_of(base)
            if (module, known) in CONTROL_FLOW:
                return layout.E_CANCELLED, None
            if self._ignore and (known in self._ignore or f"{module}:{known}" in self._ignore):
                return layout.E_IGNORED, None
        name = name_of(raised)
        return layout.E_ERRORS, self._error_classes.get(name) or self._open_error_class(name)

    def _open_error_class(self, name: str) -> memoryview:
        classes = self._error_classes
        if len(classes) >= layout.ERROR_CLASSES and name != layout.OTHER:
            return classes.get(layout.OTHER) or self._open_error_class(layout.OTHER)
        if self.offset:
            kind, target, parent = layout.KIND_ERROR_CLASS, self.target, self.offset
            words, _ = self.cell(self._segment.entry, kind, target, parent, name)
        else:
            words, _ = unread()
        return classes.setdefault(name, words)
