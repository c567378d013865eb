"""Sends aggregates to carbon, graphite's receiver: one value a path and step, over TCP."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any, Literal, NamedTuple, get_args

from tach.notifiers.graphite_marker import Marker, check_url
from tach.notifiers.graphite_step import Step, step_start
from tach.notifiers.options import host as checked_host
from tach.notifiers.options import within
from tach.notifiers.tcp import Connection
from tach.samples import Batch, RunInfo

Protocol = Literal["plaintext", "pickle"]
Per = Literal["run", "process"]
Point = tuple[str, float]
PORTS = {"plaintext": 2003, "pickle": 2004}
# Carbon hangs up on a line of more than 16 KiB and on a pickle of more than 1 MiB.
LONGEST_PATH = 2000
POINTS_A_PICKLE = 500
LONGEST_TAGS = 1000
LONGEST_INTERVAL = 86400


class Sent(NamedTuple):
    """The points of one step, as they go out."""

    data: bytes
    lines: int


class Graphite:
    """Sends to carbon over TCP: for each step one value a path, stamped with the step's start.

    Options: `host`, `port` (by default 2003, for pickles 2004) and `protocol` (plaintext or
    pickle); `interval`, the step in whole seconds, which must be that of carbon's schema; `per`:
    "run" adds all processes up, "process" keeps each apart, as `<target>.process-<slot>`; `tags`,
    which every path gets; `timeout` of connecting and of sending, in seconds; `events_url`, where
    a marker is posted at the start, such as http://graphite/events/.

    Nothing is resolved or connected before the first `send`. Carbon confirms nothing, so after a
    reconnect the step before is sent again; that changes nothing where it had arrived. `tallies`
    holds running totals: bytes, lines, reconnects, resent (lines), invalid (points without a finite
    number or with too long a path, left out) and events_failed.
    """

    aligned = True
    idle = True

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int | None = None,
        protocol: Protocol = "plaintext",
        interval: float = 60.0,
        per: Per = "run",
        tags: dict[str, str] | None = None,
        timeout: float = 5.0,
        events_url: str | None = None,
    ) -> None:
        self.host = checked_host(host)
        self.protocol = _one_of("protocol", protocol, get_args(Protocol))
        self.port = int(within("port", PORTS[self.protocol] if port is None else port, 1, 65535))
        self.interval = _whole_seconds(interval)
        self.per_process = _one_of("per", per, get_args(Per)) == "process"
        self.tags = tag_text(tags or {})
        self.timeout = within("timeout", timeout, 0.001, 3600)
        self.events_url = None if events_url is None else check_url(events_url)
        self.tallies = dict.fromkeys(
            ("bytes", "lines", "reconnects", "resent", "invalid", "events_failed"), 0
        )
        self._run: RunInfo | None = None
        self._marker: Marker | None = None
        self._connection: Connection | None = None
        self._was_connected = False
        self._batch: Batch | None = None
        self._step: Step | None = None
        self._current = self._before = Sent(b"", 0)

    @classmethod
    def check(cls, **options: Any) -> None:
        """Raise ValueError, saying what is wrong, if the options make no sense."""
        cls(**options)

    def introduce(self, run: RunInfo) -> None:
        """Learn what the marker is to say."""
        self._run = run

    def send(self, batch: Batch) -> None:
        """Send the batch's step, with all that it holds so far; OSError if carbon does not take it.

        A batch that failed may be given again: it is counted once.
        """
        self._mark()
        if batch is not self._batch:
            self._take(batch)
        try:
            self._connect()
            self._send(self._current)
        except OSError:
            self._abort()
            raise

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._marker is not None:
            self._marker.wait()
            self.tallies["events_failed"] += self._marker.failed

    def _mark(self) -> None:
        if self.events_url and self._run and not self._marker:
            self._marker = Marker(self.events_url, self._run)

    def _take(self, batch: Batch) -> None:
        start = step_start(batch, self.interval)
        if self._step is None or self._step.start != start:
            self._step = Step(start, self.interval)
            self._before = self._current
        self._step.add(batch)
        self._batch = batch
        points = list(self._valid(self._step.points()))
        self._current = Sent(ENCODERS[self.protocol](points, start), len(points))

    def _valid(self, points: Iterator[Point]) -> Iterator[Point]:
        for path, value in points:
            whole = path + self.tags
            if isfinite(value) and len(whole) <= LONGEST_PATH:
                yield whole, value
            else:
                self.tallies["invalid"] += 1

    def _connect(self) -> None:
        """Be connected; through a new connection the step before goes out again."""
        if self._connection is not None and self._connection.hung_up():
            self._abort()
        if self._connection is not None:
            return
        self._connection = Connection(self.host, self.port, self.timeout)
        self.tallies["reconnects"] += self._was_connected
        self._was_connected = True
        self._send(self._before)
        self.tallies["resent"] += self._before.lines

    def _send(self, sent: Sent) -> None:
        if self._connection is not None and sent.lines:
            self._connection.send(sent.data)
            self.tallies["bytes"] += len(sent.data)
            self.tallies["lines"] += sent.lines

    def _abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            self._connection = None


def plaintext(points: list[Point], timestamp: int) -> bytes:
    """A line for each point."""
    lines = (f"{path} {_number(value)} {timestamp}\n" for path, value in points)
    return "".join(lines).encode("ascii", "replace")


def pickled(points: list[Point], timestamp: int) -> bytes:
    """Pickles of some points each, with their lengths before them."""
    frames = []
    for first in range(0, len(points), POINTS_A_PICKLE):
        chunk = points[first : first + POINTS_A_PICKLE]
        frame = pickle.dumps([(path, (timestamp, value)) for path, value in chunk], protocol=2)
        frames.append(struct.pack("!L", len(frame)) + frame)
    return b"".join(frames)


ENCODERS: dict[str, Callable[[list[Point], int], bytes]] = {
    "plaintext": plaintext,
    "pickle": pickled,
}


def tag_text(tags: dict[str, str]) -> str:
    """What is appended to a path: `;a=b;c=d`, in order. ValueError if graphite refuses a tag."""
    for tag, value in tags.items():
        where = f"tag {tag!r}: {value!r}"
        if not tag or tag == "name" or not _plain(tag, ";!^="):
            raise ValueError(f"{where}: the tag must be a word without ; ! ^ = and not 'name'")
        if not isinstance(value, str) or not _plain(value, ";") or value[:1] in ("", "~"):
            raise ValueError(f"{where}: the value must be a word without ; and not begin with ~")
    text = "".join(f";{tag}={value}" for tag, value in sorted(tags.items()))
    if len(text) > LONGEST_TAGS:
        raise ValueError(f"tags of {len(text)} bytes are too long: at most {LONGEST_TAGS}")
    return text


def _plain(text: str, forbidden: str) -> bool:
    """Whether it is printable ASCII without blanks and without what is forbidden."""
    return all("!" <= each <= "~" and each not in forbidden for each in text)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _whole_seconds(interval: float) -> int:
    seconds = within("interval", interval, 1, LONGEST_INTERVAL)
    if seconds != int(seconds):
        raise ValueError(f"interval {interval!r} must be whole seconds, as in carbon's schemas")
    return int(seconds)


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{option} {value!r} is none of {', '.join(choices)}")
    return value
