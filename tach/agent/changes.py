"""Takes up the changes of the plan, in whatever call or import comes upon them first.

That may be in any thread, in a signal handler, or deep in a recursion; it is done by one of them,
and again from the beginning where something of the program's has interrupted it.
"""

from __future__ import annotations

import posix
from _thread import get_ident

from tach import agent
from tach.agent import clock, news, signals
from tach.agent.exhausted import EXHAUSTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tach.agent.plan_log import PlanLog, Record

_ROOM = 60  # calls within each other
_PATIENCE_NS = 1_000_000_000
_PAUSE = 0.001  # seconds


class Changes:
    """`note` takes the changes that `log` tells of, `apply` brings about what they say.

    To do either twice must do no harm.
    """

    def __init__(
        self,
        log: PlanLog,
        note: Callable[[Record], None],
        apply: Callable[[], None],
        on_trouble: Callable[[str], None],
    ) -> None:
        self._log = log
        self._note = note
        self._apply = apply
        self._on_trouble = on_trouble
        self._pid = posix.getpid()
        self._has_begun = False
        self._thread = 0  # in which it has
        self._is_lost = False
        self._is_open = False  # whether what has been noted has not been applied yet

    def listen(self) -> None:
        """From now on the calls that are measured take up what there is."""
        news.listen(self.take_up)

    def stop(self) -> None:
        """Take up nothing any more."""
        news.ignore()

    def before_fork(self) -> None:
        """Let another thread end what it has begun, for a while.

        It may be importing something, which no child that was forked meanwhile could ever import.
        """
        give_up = clock.monotonic_ns() + _PATIENCE_NS
        while self._is_elsewhere() and clock.monotonic_ns() < give_up:
            clock.sleep(_PAUSE)

    def _is_elsewhere(self) -> bool:
        return self._has_begun and self._thread != get_ident()

    def after_fork(self) -> None:
        """Go on in the child, which takes up nothing more if that has not ended all the same."""
        news.look()
        self._is_lost = self._is_lost or self._is_elsewhere()
        self._pid = posix.getpid()
        self._has_begun = False

    def take_up(self) -> bool:
        """Take up what there is; whether anything was. Raises only what is the program's."""
        if posix.getpid() != self._pid:
            return False  # forked unseen: the word is the parent's
        # No call and no jump from the test to the store: of two threads here at once, one does it.
        if not self._has_begun:
            self._has_begun = True
            try:
                return self._look()
            except EXHAUSTED:
                news.word[0] = 1  # the next call may have more room
            finally:
                self._has_begun = False
        return False

    def _look(self) -> bool:
        self._thread = get_ident()
        news.word[0] = 0  # before looking: what comes now sets it again
        if self._is_lost or not (self._is_open or self._log.grown()):
            return False
        return self._take_up()

    def _take_up(self) -> bool:
        done = False
        try:
            # signals have to wait, as handlers may call what is measured
            found: bool = signals.waiting(_ROOM, self._try)
            done = True
            return found
        finally:
            if not done:
                news.word[0] = 1

    def _try(self) -> bool:
        was_open, self._is_open = self._is_open, True
        changes: list[Record] = []
        try:
            changes = self._log.read()
            for each in changes:
                self._note(each)
            self._log.taken()
            if changes or was_open:
                self._apply()
        except EXHAUSTED:
            raise
        except Exception as error:
            if agent.is_of_the_program(error):
                raise
            self._on_trouble(f"a change of the plan: {type(error).__name__}: {error}")
        self._is_open = False
        return was_open or bool(changes)
