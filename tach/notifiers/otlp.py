"""Sends metrics to an OpenTelemetry collector, or whoever else takes OTLP over HTTP."""

from __future__ import annotations

import gzip
import importlib.util
import logging
import os
import re
import time
import uuid
from collections import deque
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args
from urllib.parse import urlsplit

from tach.histogram import Histogram
from tach.notifiers.families import Reader, merged
from tach.notifiers.options import within
from tach.samples import Batch, RunInfo

if TYPE_CHECKING:
    import urllib3

log = logging.getLogger("tach.otlp")

Temporality = Literal["cumulative", "delta"]
Compression = Literal["gzip", "none"]
PATH = "/v1/metrics"
CONTENT_TYPE = "application/x-protobuf"
# What OTLP calls retryable; whatever else is refused is not to be sent again.
RETRYABLE = (429, 502, 503, 504)
LONGEST_WAIT = 300.0
POINTS_A_REQUEST = 1000
NOBODY = RunInfo("", "", (), "")
NEEDED = {"opentelemetry.proto": "opentelemetry-proto", "urllib3": "urllib3"}


class Session(NamedTuple):
    """A session of processes: the process that leads it, since when in seconds of the epoch."""

    leader: int
    start: float


class Otlp:
    """Posts metrics as OTLP/HTTP, protobuf, with exponential histograms.

    Options: `endpoint`, the URL, to which /v1/metrics is added if it has no path; `headers`, such
    as an API key; `compression` (gzip or none); `timeout` of a request, in seconds; `interval`
    between two; `temporality`: cumulative, the totals of the run, or delta, what is new; `service`,
    the service.name (by default the program); `resource`, more attributes of the resource; `strip`,
    the prefix of the configuration, that targets are to be without; `tls_ca`, a file with the
    authority to trust.

    Nothing is connected before the first `send`. `tallies` holds running totals: bytes, requests,
    and rejected (data points that the receiver did not take).
    """

    def __init__(
        self,
        endpoint: str = "http://127.0.0.1:4318",
        headers: dict[str, str] | None = None,
        compression: Compression = "gzip",
        timeout: float = 10.0,
        interval: float = 10.0,
        temporality: Temporality = "cumulative",
        service: str | None = None,
        resource: dict[str, str] | None = None,
        strip: str | None = None,
        tls_ca: str | None = None,
    ) -> None:
        self.url = _url(endpoint)
        self.headers = _headers(headers or {})
        if _one_of("compression", compression, get_args(Compression)) == "gzip":
            self.headers["Content-Encoding"] = "gzip"
        self.timeout = within("timeout", timeout, 0.001, 3600)
        self.interval = within("interval", interval, 0.1, 86400)
        self.cumulative = _one_of("temporality", temporality, get_args(Temporality)) == "cumulative"
        self.service = service
        self.resource = dict(resource or {})
        self.strip = strip
        self.tls_ca = tls_ca
        self.tallies = {"bytes": 0, "requests": 0, "rejected": 0}
        self._run = NOBODY
        self._reader = Reader(strip, NOBODY)
        self._session = Session(0, 0.0)
        self._pool: urllib3.PoolManager | None = None
        self._batch: Batch | None = None
        self._unsent: deque[bytes] = deque()
        self._not_before = 0.0

    @classmethod
    def check(cls, **options: Any) -> None:
        """Raise ValueError, saying what is wrong, if the options make no sense."""
        cls(**options)
        for module, package in NEEDED.items():
            if not _is_there(module):
                raise ValueError(f"{package} is not installed: pip install 'tach[otlp]'")

    def introduce(self, run: RunInfo) -> None:
        """Learn what is measured."""
        self._run = run
        self._reader = Reader(self.strip, run)
        self._session = session()

    def send(self, batch: Batch) -> None:
        """Send what of this batch is not sent yet; OSError if it has not been taken.

        A batch that failed half-way is continued where it stopped when it is given again. What the
        receiver has refused for good is not sent again; neither is it sent before the receiver
        wants it.
        """
        if batch is not self._batch:
            self._batch, self._unsent = batch, deque(self._requests(batch))
        while self._unsent:
            wait = self._not_before - time.monotonic()
            if wait > 0:
                raise OSError(f"{self.url} asks for patience: {wait:.1f} s more")
            self._post(self._unsent[0])
            self._unsent.popleft()

    def close(self) -> None:
        """Let go of the connection."""
        if self._pool is not None:
            self._pool.clear()
            self._pool = None

    def _requests(self, batch: Batch) -> list[bytes]:
        # Loaded where it is needed only, which is not in the launcher.
        from tach.notifiers.otlp_message import Window, requests

        start = self._session.start if self.cumulative else batch.start
        window = Window(min(start, batch.end), batch.end, self.cumulative)
        readings = (
            self._reader.read(each)
            for each in batch.samples
            if isinstance(each.value, Histogram) or isfinite(each.value)
        )
        return requests(merged(readings), window, self._attributes(), POINTS_A_REQUEST)

    def _attributes(self) -> dict[str, str]:
        # The run as a whole is the instance: all its processes, whichever sender speaks for them.
        instance = f"{self._run.host} {self._session}"
        return {
            "service.name": self.service or self._run.program,
            "service.instance.id": str(uuid.uuid5(uuid.NAMESPACE_OID, instance)),
            "host.name": self._run.host,
            "process.executable.name": self._run.program,
            "process.runtime.name": "cpython",
            **self.resource,
        }

    def _post(self, body: bytes) -> None:
        import urllib3

        if self._pool is None:
            self._pool = urllib3.PoolManager(ca_certs=self.tls_ca)
        packed = gzip.compress(body, 6) if "Content-Encoding" in self.headers else body
        try:
            answer = self._pool.request(
                "POST",
                self.url,
                body=packed,
                headers={**self.headers, "Content-Type": CONTENT_TYPE},
                timeout=urllib3.Timeout(total=self.timeout),
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise OSError(f"{self.url}: {error}") from None
        self.tallies["requests"] += 1
        self.tallies["bytes"] += len(packed)
        self._judge(body, answer)

    def _judge(self, body: bytes, answer: urllib3.BaseHTTPResponse) -> None:
        """Return if it was taken, in part at least; else raise OSError."""
        if 200 <= answer.status < 300:
            self._note_rejected(answer.data)
            return
        what = f"{self.url} answered {answer.status} {answer.reason or ''}".rstrip()
        if answer.status in RETRYABLE:
            wait = _seconds(answer.headers.get("Retry-After", ""), time.time())
            self._not_before = time.monotonic() + wait
        else:
            self._unsent.popleft()
            self.tallies["rejected"] += _points(body)
            text = printable(answer.data)
            what = f"{what}: {text}" if text else what
            log.warning("otlp: %s", what)
        raise OSError(what)

    def _note_rejected(self, data: bytes) -> None:
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
            ExportMetricsServiceResponse,
        )

        try:
            partial = ExportMetricsServiceResponse.FromString(data).partial_success
        except DecodeError:  # not what OTLP wants of it, but it has taken the request
            return
        if partial.rejected_data_points or partial.error_message:
            self.tallies["rejected"] += partial.rejected_data_points
            log.warning(
                "otlp: %s rejected %d data points: %s",
                self.url,
                partial.rejected_data_points,
                printable(partial.error_message.encode()),
            )


def session() -> Session:
    """The session of this process.

    Its leader is the guard of the sender, which outlives it: of one run there is one start, and one
    instance, whatever happens to the sender. Were there another, the same totals would count twice.
    """
    leader = os.getsid(0)
    try:
        return Session(leader, _start_of(leader))
    except OSError:  # it has died
        return Session(os.getpid(), _start_of(os.getpid()))


def _start_of(pid: int) -> float:
    with open(f"/proc/{pid}/stat", "rb") as file:
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    with open("/proc/stat", encoding="ascii") as file:
        boot = next(int(line.split()[1]) for line in file if line.startswith("btime "))
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def _points(body: bytes) -> int:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    metrics = ExportMetricsServiceRequest.FromString(body).resource_metrics[0].scope_metrics[0]
    return sum(
        len(each.sum.data_points)
        + len(each.gauge.data_points)
        + len(each.exponential_histogram.data_points)
        for each in metrics.metrics
    )


def _seconds(retry_after: str, now: float) -> float:
    """How long a Retry-After, of seconds or of a date, asks to wait; 0 where it says nothing."""
    from email.utils import parsedate_to_datetime

    text = retry_after.strip()
    if text.isdigit():
        return min(float(text), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except ValueError:
        return 0.0
    return min(max(moment - now, 0.0), LONGEST_WAIT)


def printable(data: bytes) -> str:
    """What of an answer can be read by people, on one line, not too long."""
    return " ".join(re.sub(r"[^ -~]+", " ", data[:500].decode("ascii", "replace")).split())


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _url(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (AttributeError, TypeError, ValueError):
        usable = False
    if not usable:
        raise ValueError(f"endpoint {endpoint!r} must be such as http://collector.example.org:4318")
    return parts._replace(path=PATH).geturl() if parts.path in ("", "/") else endpoint


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise ValueError(f"header {name!r} cannot be the name of a header")
        if not isinstance(value, str) or not re.fullmatch(r"[ -~]*", value):
            # Its value may be a secret.
            raise ValueError(f"header {name!r}: its value must be of printable ASCII")
    return dict(headers)


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{option} {value!r} is none of {', '.join(choices)}")
    return value
