"""Says through `logging` what it is given: to see what another notifier would be given."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from tach.histogram import Histogram
from tach.samples import Batch, Event, Sample

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


class Log:
    """Logs samples and events, a line each: to a file, or to the sender's log.

    Options: `file`, `level` (debug, info or warning) and `logger`, the name it logs under.
    """

    def __init__(
        self,
        file: str | None = None,
        level: Literal["debug", "info", "warning"] = "info",
        logger: str = "tach.log",
    ) -> None:
        self._level = LEVELS[level]
        # Its own, not the one that all share who use the name: each has its file and its level.
        self._logger = logging.Logger(logger, self._level)
        self._handler = None if file is None else _handler(file)
        if self._handler is None:
            named = logging.getLogger(logger)
            self._logger.parent = named if named.hasHandlers() else logging.getLogger("tach")
        else:
            self._logger.addHandler(self._handler)

    @staticmethod
    def check(file: str | None = None, **_options: object) -> None:
        """Raises ValueError for options that are wrong together or alone."""
        if file == "":
            raise ValueError("file must not be empty; leave it out for the sender's log")

    def send(self, batch: Batch) -> None:
        """Log each sample. Raises OSError if the file cannot be written."""
        for sample in batch.samples:
            self._logger.log(self._level, "%s %s %s", sample.kind, sample.name, _shown(sample))

    def deliver(self, events: Sequence[Event]) -> list[bool]:
        """Log each event, whole. Raises OSError as `send`."""
        for event in events:
            text = event.message.decode("ascii", "replace")
            self._logger.log(self._level, "event %s %s", event.event_type, text)
        return [True] * len(events)

    def warn(self, text: str) -> None:
        """Log that something went wrong."""
        self._logger.warning("%s", text)

    def close(self) -> None:
        """Close the file."""
        if self._handler is not None:
            self._handler.close()


class _File(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - as inherited
        raise  # logging calls this while it handles the error


def _handler(file: str) -> logging.Handler:
    handler = _File(file, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    return handler


def _shown(sample: Sample) -> str:
    value = sample.value
    if not isinstance(value, Histogram):
        return f"{value:g}"
    p50, p99 = value.quantiles([0.5, 0.99])
    return f"count={value.count} mean={value.mean:g} p50={p50:g} p99={p99:g} max={value.max:g}"
