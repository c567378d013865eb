"""Shows a Prometheus the totals of the run: at a port, or in a file for the node_exporter."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from math import isfinite
from typing import TYPE_CHECKING, Any

from tach.histogram import Histogram
from tach.notifiers.families import Family, Reader, Reading, merged
from tach.notifiers.options import host as checked_host
from tach.notifiers.options import within
from tach.notifiers.prometheus_text import (
    Labels,
    Metric,
    Point,
    Recent,
    exposition,
    metric_name,
)
from tach.samples import Batch, RunInfo

if TYPE_CHECKING:
    from tach.notifiers.prometheus_server import MetricsServer

log = logging.getLogger("tach.prometheus")

NOBODY = RunInfo("", "", (), "")
OWN_LABELS = ("target", "type", "state", "le", "quantile", "config")
MOST_BUCKETS = 200


class Prometheus:
    """Serves the totals of all processes of the run, as families with labels.

    Options: `host` and `port`, where to listen (0: a free port, written to the sender's log);
    `textfile`, the path of a file for the node_exporter's textfile collector, written anew every
    `interval` seconds; at least one of both. `buckets`, the bounds of the histograms, ascending,
    in seconds for times; `quantiles`, such as 0.99, which adds a summary of the last minute or two
    to each histogram; `labels` of every sample; `strip`, the prefix of the configuration, that
    targets are to be without.
    """

    cumulative = True

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int | None = None,
        textfile: str | None = None,
        interval: float = 5.0,
        buckets: list[float] | None = None,
        quantiles: list[float] | None = None,
        labels: dict[str, str] | None = None,
        strip: str | None = None,
    ) -> None:
        if port is None and textfile is None:
            raise ValueError("it needs 'port', to be scraped at, or 'textfile', to write to")
        self.host = checked_host(host)
        self.port = None if port is None else int(within("port", port, 0, 65535))
        self.textfile = None if textfile is None else _textfile(textfile)
        self.interval = within("interval", interval, 0.1, 86400)
        self.buckets = None if buckets is None else _ascending("buckets", buckets)
        self.quantiles = [within("quantiles", each, 0, 1) for each in quantiles or ()]
        self.labels = _labels(labels or {})
        self.strip = strip
        self._run = NOBODY
        self._reader = Reader(strip, NOBODY)
        self._recent = Recent(self.quantiles)
        self._ended = False
        self._server: MetricsServer | None = None
        self._metrics: list[Metric] = []
        self._texts: dict[bool, str] = {}
        self._lock = threading.Lock()

    @classmethod
    def check(cls, **options: Any) -> None:
        """Raise ValueError, saying what is wrong, if the options make no sense."""
        cls(**options)

    def introduce(self, run: RunInfo) -> None:
        """Learn what is measured."""
        self._run = run
        self._reader = Reader(self.strip, run)

    def warm_up(self) -> None:
        """Listen from the beginning. Raises OSError if that cannot be."""
        self._listen()

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it listens, if it does."""
        return None if self._server is None else self._server.address

    def send(self, batch: Batch) -> None:
        """Show the totals from now on; OSError if it can listen nowhere, or write no file."""
        metrics = self._made(batch)
        with self._lock:
            self._metrics, self._texts = metrics, {}
        if self.textfile is not None:
            _write(self.textfile, self.text(openmetrics=False))
        self._listen()

    def close(self) -> None:
        """Stop listening. The file stays, with the last totals."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def text(self, openmetrics: bool) -> str:
        """What is shown, in one of both formats."""
        with self._lock:
            if openmetrics not in self._texts:
                text = exposition(self._metrics, self.buckets, openmetrics)
                self._texts[openmetrics] = text
            return self._texts[openmetrics]

    def _listen(self) -> None:
        if self.port is None or self._server is not None:
            return
        # Loaded where it is needed only, which is not in the launcher.
        from tach.notifiers.prometheus_server import PATH, MetricsServer

        self._server = MetricsServer(self.host, self.port, self.text)
        host, port = self._server.address
        log.info(
            "prometheus: serving http://%s:%d%s", f"[{host}]" if ":" in host else host, port, PATH
        )

    def _made(self, batch: Batch) -> list[Metric]:
        readings = merged(
            each for each in map(self._reader.read, batch.samples) if _is_number(each.value)
        )
        families: dict[Family, list[Reading]] = {}
        for reading in sorted(map(_signed, readings), key=lambda each: each[:3]):
            families.setdefault(reading.family, []).append(reading)
        if self.quantiles:
            histograms = {each[:3]: each.value for each in readings}
            self._recent.take(
                batch.end, {k: v for k, v in histograms.items() if isinstance(v, Histogram)}
            )
        return [*self._about_the_run(batch), *self._of_families(families)]

    def _of_families(self, families: dict[Family, list[Reading]]) -> Iterator[Metric]:
        taken: set[str] = set()
        for family, readings in families.items():
            name = metric_name("tach", family.name)
            if name in taken:  # a type of somebody else's that has one suffix for several kinds
                name = metric_name(name, family.kind)
            taken.add(name)
            points = [Point(self._labels_of(each), each.value) for each in readings]
            whole = metric_name(name, family.unit)
            yield Metric(whole, family.kind, family.unit, family.description, points)
            if family.kind == "histogram" and self.quantiles:
                yield self._summary(metric_name(name, "quantiles", family.unit), family, readings)

    def _summary(self, name: str, family: Family, readings: list[Reading]) -> Metric:
        points = [
            Point(self._labels_of(each), each.value, self._recent.quantiles(each[:3], each.value))
            for each in readings
            if isinstance(each.value, Histogram)
        ]
        return Metric(name, "summary", family.unit, family.description, points)

    def _about_the_run(self, batch: Batch) -> Iterator[Metric]:
        run = (*self._common(), ("config", self._run.config_hash))
        yield Metric("tach_run", "info", "", "What is measured.", [Point(run, 1)])
        # After the last batch there may be one more, from between the program's exit and its end.
        self._ended = self._ended or batch.final
        alive = [Point(self._common(), int(not self._ended))]
        yield Metric("tach_run_active", "gauge", "", "0 once the run has ended.", alive)
        updated = [Point(self._common(), batch.end)]
        text = "When these numbers were taken."
        yield Metric("tach_updated_timestamp_seconds", "gauge", "seconds", text, updated)
        troubles = [Point(self._common(), len(batch.troubles))]
        yield Metric("tach_troubles", "gauge", "", "What tach status has to complain of.", troubles)
        states = Counter(target.state for target in batch.targets)
        targets = [
            Point((*self._common(), ("state", state)), number)
            for state, number in sorted(states.items())
        ]
        if targets:
            yield Metric("tach_targets", "gauge", "", "Targets by their state.", targets)

    def _common(self) -> Labels:
        return tuple({"program": self._run.program, **self.labels}.items())

    def _labels_of(self, reading: Reading) -> Labels:
        own = (("target", reading.target), ("type", reading.error))
        return (*self._common(), *((name, value) for name, value in own if value))


def _signed(reading: Reading) -> Reading:
    """A counter that counts down becomes a gauge: Prometheus would take each step for a restart."""
    family, value = reading.family, reading.value
    if family.kind == "counter" and not isinstance(value, Histogram) and value < 0:
        family = family._replace(name=f"{family.name}.sum", kind="gauge")
    return reading._replace(family=family)


def _is_number(value: float | Histogram) -> bool:
    return isinstance(value, Histogram) or isfinite(value)


def _write(path: str, text: str) -> None:
    """Put the text in the place of what was there, for all to read, at once or not at all."""
    draft = f"{path}.{os.getpid()}.new"
    try:
        with open(draft, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        os.replace(draft, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise


def _textfile(path: str) -> str:
    if not isinstance(path, str) or not path.endswith(".prom"):
        raise ValueError(f"textfile {path!r} must end in .prom: the node_exporter reads no other")
    return path


def _ascending(option: str, numbers: list[float]) -> list[float]:
    found = [float(within(option, each, -1e300, 1e300)) for each in numbers]
    if found != sorted(set(found)):
        raise ValueError(f"{option} {numbers!r} must ascend")
    if len(found) > MOST_BUCKETS:
        raise ValueError(f"{option}: {len(found)} are too many; at most {MOST_BUCKETS}")
    return found


def _labels(labels: dict[str, str]) -> dict[str, str]:
    for name, value in labels.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name.startswith("__"):
            raise ValueError(
                f"label {name!r} must be of letters, digits and _, and not begin with __"
            )
        if name in OWN_LABELS:
            raise ValueError(f"label {name!r} is one of tach's own: {', '.join(OWN_LABELS)}")
        if not isinstance(value, str):
            raise ValueError(f"label {name!r}: the value {value!r} must be a text")
    return dict(labels)
