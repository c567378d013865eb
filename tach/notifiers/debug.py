"""Logs what another notifier is given, and what comes of it: to see what is really sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal

from tach import notifiers
from tach.notifiers.log import Log
from tach.samples import Batch, Event

UNNEEDED = "console"  # its output is what one would look for in the log


class Debug:
    """Hands everything on to the notifier that it wraps, and logs it before.

    Options: `notifier`, the type and the options of the wrapped one, which decides on intervals and
    all the rest; `file`, `level` and `logger` as those of `log`. What is given again after a
    failure is logged once. If the log cannot be written, that is said once, and hinders nothing.
    """

    wraps = "notifier"

    def __init__(
        self,
        notifier: dict[str, Any],
        file: str | None = None,
        level: Literal["debug", "info", "warning"] = "info",
        logger: str = "tach.debug",
    ) -> None:
        options = {name: value for name, value in notifier.items() if name != "type"}
        self._name = notifier["type"]
        self._wrapped = notifiers.load(self._name)(**options)
        self._log = Log(file, level, logger)
        self._log_fails = False
        self._batch: Batch | None = None
        self._offered: set[str] = set()

    @staticmethod
    def check(notifier: dict[str, Any], **options: Any) -> None:
        """Raises ValueError for options that are wrong together or alone."""
        if notifier.get("type") == UNNEEDED:
            raise ValueError(f"a {UNNEEDED} shows itself what it is given; wrap another notifier")
        Log.check(**options)

    def __getattr__(self, name: str) -> Any:
        # What is optional for a notifier is there if the wrapped one has it.
        return getattr(self._wrapped, name)

    def send(self, batch: Batch) -> None:
        """Log each sample, and send. Raises what the wrapped one does."""
        if batch is not self._batch:
            self._batch = batch
            self._say(self._log.send, batch)
        try:
            self._wrapped.send(batch)
        except Exception as error:
            self._warn(f"{type(error).__name__}: {error}")
            raise

    def deliver(self, events: Sequence[Event]) -> Sequence[bool]:
        """Log each event, and deliver. Raises what the wrapped one does."""
        self._say(self._log.deliver, [e for e in events if e.message_id not in self._offered])
        self._offered = {each.message_id for each in events}
        try:
            confirmed: Sequence[bool] = self._wrapped.deliver(events)  # type: ignore[attr-defined]
        except Exception as error:
            self._warn(f"{type(error).__name__}: {error}")
            raise
        if not all(confirmed):
            self._warn(f"events not taken: {list(confirmed).count(False)} of {len(events)}")
        return confirmed

    def close(self) -> None:
        """Close the wrapped one and the log."""
        try:
            self._wrapped.close()
        finally:
            self._say(Log.close, self._log)

    def _warn(self, text: str) -> None:
        self._say(self._log.warn, f"{self._name}: {text}")

    def _say(self, log: Callable[[Any], object], what: Any) -> None:
        try:
            log(what)
        except OSError as error:
            if not self._log_fails:
                logging.getLogger("tach").warning("debug: cannot log: %s", error)
            self._log_fails = True
