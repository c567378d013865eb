"""What crosses the border between the sender and the notifiers: flat values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from tach.histogram import Histogram

Kind = Literal["counter", "gauge", "histogram"]


class Sample(NamedTuple):
    """One series' news of one interval.

    `name` is `<series>.<suffix>`, sanitised, prefix included. A counter's value is what was added
    in the interval, a gauge's what holds at its end, a histogram's the calls of the interval (in
    milliseconds for times). `slot` numbers the process for notifiers that ask for each apart: the
    least number that no living process of the run has, None for all processes together.
    """

    name: str
    kind: Kind
    value: float | Histogram
    timestamp: float
    series: str
    suffix: str
    slot: int | None = None


class Event(NamedTuple):
    """One notification, as the measured program wrote it down.

    `message` is the whole message in oslo's format 1.0 as ASCII JSON; the rest is taken from it.
    """

    message: bytes
    event_type: str
    priority: str
    message_id: str


class RunInfo(NamedTuple):
    """What is measured: the program as it was named, the host, the command, the configuration."""

    program: str
    host: str
    argv: tuple[str, ...]
    config_hash: str


class TargetStatus(NamedTuple):
    """Where one target stands, in all processes of the run.

    `state` is one of waiting, patched, missing, refused; `reason` says why it is not patched, and
    what to do about it, or of a wildcard how many functions are. `called` once a call has ended.
    """

    name: str
    function: str
    line: int
    state: str
    reason: str
    called: bool = False


class Batch(NamedTuple):
    """What a notifier is given at once: the samples of [start, end), in seconds of the epoch."""

    samples: Sequence[Sample]
    start: float
    end: float
    targets: Sequence[TargetStatus] = ()
    troubles: Sequence[str] = ()
    final: bool = False


@runtime_checkable
class Notifier(Protocol):
    """Sends batches somewhere. Its constructor's keyword arguments are its options in the YAML.

    It lives in the sender process, in a thread of its own: it may block (within its time-outs) and
    may raise; a batch whose `send` raised is offered again, with backoff, until it is too old.
    Optional attributes: `interval` (seconds between batches, None for the configuration's),
    `aligned` (True: batches end at whole multiples of the interval since the epoch), `last` (True:
    its final batch comes after those of the others, and tells their troubles), `cumulative`
    (True: samples hold the totals since the start of the run), `idle` (True: series without news
    are included), `per_process` (True: samples of each process apart, with their `slot`), `tallies`
    (a dict of counters about itself, such as bytes and packets, reported as self-metrics), `wraps`
    (the option that holds a whole notifier, given as a dict of its `type` and its options).
    Optional methods: `introduce(run)`, called first of all, takes the `RunInfo`; `warm_up()`,
    called before the first batch; `deliver(events)` for those that can send events: takes a
    sequence of `Event` and returns as many bools, True for each that the receiver has confirmed; it
    may raise, then none is.
    """

    def send(self, batch: Batch) -> None:
        """Send the batch, or raise: OSError when the receiver is to blame."""

    def close(self) -> None:
        """Let go of connections. Called once, after the last batch."""


class Quantity(NamedTuple):
    """Something measured of each call beside its duration.

    `histogram` is in nanoseconds for durations; of other numbers it has the numbers' own scale, and
    `last` is the latest of them.
    """

    histogram: Histogram
    last: float = 0.0


class Running(NamedTuple):
    """The calls of one series that have begun and not ended.

    `peak` is their greatest number in the interval; `oldest` the age of the oldest in seconds.
    """

    active: int = 0
    peak: int = 0
    oldest: float = 0.0

    def plus(self, other: Running) -> Running:
        """Both together."""
        return Running(
            self.active + other.active, self.peak + other.peak, max(self.oldest, other.oldest)
        )


class Activity(NamedTuple):
    """What the calls of one series did in one interval (or since the start of the run).

    `durations` counts every call that ended, in nanoseconds of wall time; `aborted` are those that
    ended with their process.
    """

    durations: Histogram
    errors: int
    cancelled: int
    ignored: int
    errors_by_type: dict[str, int]
    aborted: int = 0
    quantities: dict[str, Quantity] = {}  # noqa: RUF012 - a NamedTuple's default, never changed
    running: Running = Running()


class Metric(Protocol):
    """Makes the samples of one metric type out of what the probe recorded."""

    def measurements(self, activity: Activity) -> Iterator[tuple[str, Kind, float | Histogram]]:
        """The (suffix, kind, value) of each series that this type reports, zeros included."""
