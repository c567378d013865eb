"""A notifier of our own: posts what was measured to an InfluxDB, in its line protocol."""

import urllib.parse
import urllib.request

from tach.histogram import Histogram


class Influx:
    """Posts to the API of InfluxDB 2. Options: `url`, `bucket`, `org`, `token`, `timeout`."""

    interval = 10.0  # seconds between two batches; without it, that of the configuration

    def __init__(
        self, url: str, bucket: str, org: str = "", token: str = "", timeout: float = 5.0
    ) -> None:
        query = urllib.parse.urlencode({"bucket": bucket, "org": org, "precision": "ns"})
        self._address = f"{url.rstrip('/')}/api/v2/write?{query}"
        self._headers = {"Authorization": f"Token {token}"} if token else {}
        self._timeout = timeout
        self.tallies = {"bytes": 0}  # reported as tach.bytes

    @staticmethod
    def check(url: str, **_others: object) -> None:
        """Before the program starts: raises ValueError if an option is wrong."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url {url!r} must begin with http:// or https://")

    def send(self, batch) -> None:
        """Post the samples of an interval; what raises here is offered again later."""
        body = "".join(f"{line(sample)}\n" for sample in batch.samples).encode()
        request = urllib.request.Request(self._address, body, self._headers, method="POST")
        with urllib.request.urlopen(request, timeout=self._timeout):
            self.tallies["bytes"] += len(body)

    def close(self) -> None:
        """Nothing is kept open."""


def line(sample) -> str:
    """One sample: measurement, tag, fields, time in nanoseconds."""
    value = sample.value
    if isinstance(value, Histogram):
        p50, p99 = value.quantiles([0.5, 0.99])
        fields = f"count={value.count}i,sum={value.sum},p50={p50},p99={p99},max={value.max}"
    else:
        fields = f"value={float(value)}"
    return f"{sample.suffix},series={sample.series} {fields} {int(sample.timestamp * 1e9)}"
