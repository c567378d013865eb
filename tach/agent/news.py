"""Whether the run's plan has been changed: one word, which each measured call looks at.

Where this process has a segment that is a word of its header, which the sender sets; before it is
one of its own, so that the first call looks for itself.
"""

from __future__ import annotations

from tach.layout import H_NEWS, WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _one(value: int) -> memoryview:
    word = memoryview(bytearray(WORD)).cast("Q")
    word[0] = value
    return word


def _nothing() -> bool:
    return False


word = _one(0)
_take_up: Callable[[], bool] = _nothing
_followers: list[Callable[[memoryview], None]] = []


def take() -> bool:
    """Take up what is new; whether anything was, so that a call may have to begin anew.

    Raises only what is the program's.
    """
    return _take_up()


def listen(take_up: Callable[[], bool]) -> None:
    """From now on `take_up` takes up what is new, for the first time at the next measured call."""
    global _take_up
    _take_up = take_up
    look()


def ignore() -> None:
    """Nothing is new any more."""
    global _take_up
    _take_up = _nothing
    watch(_one(0))


def look() -> None:
    """Let the next measured call look, whatever the sender says; in a word of this process."""
    watch(_one(1))


def watch(found: memoryview) -> None:
    """The word is the first of `found` from now on."""
    global word
    word = found
    for follow in _followers:
        follow(found)


def watch_header(header: memoryview) -> None:
    """The word is the one in this header of a segment from now on."""
    watch(header[H_NEWS : H_NEWS + 1])


def follow(follower: Callable[[memoryview], None]) -> None:
    """Tell `follower` where the word is, now and whenever that changes."""
    _followers.append(follower)
    follower(word)
