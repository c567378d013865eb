"""Listens on Nova's bus as a consumer of OpenStack does: listen.py URL FILE.

Appends each notification to FILE as a JSON line, until the standard input is closed. What waited in
the queues before is left out.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import oslo_messaging
from oslo_config import cfg

TOPICS = ["notifications", "versioned_notifications"]
MARK = "listener.mark"


class Endpoint:
    """Writes what arrives with priority INFO or ERROR."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.marks = threading.Semaphore(0)

    def info(
        self,
        context: dict[str, Any],
        publisher_id: str,
        event_type: str,
        payload: Any,
        metadata: Any,  # noqa: ARG002
    ) -> None:
        """One notification."""
        if event_type == MARK:
            self.marks.release()
            return
        line = {
            "publisher_id": publisher_id,
            "event_type": event_type,
            "request_id": context.get("request_id"),
            "payload": payload,
        }
        with self._lock, self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")

    error = info


def drain(notifier: oslo_messaging.Notifier, endpoint: Endpoint) -> None:
    """Wait until all has arrived that is in the queues: they keep the order."""
    notifier.info({}, MARK, {})
    notifier.error({}, MARK, {})
    for _ in range(2 * len(TOPICS)):
        endpoint.marks.acquire()


def main(url: str, file: str) -> None:
    """Listen to the notifications of both formats."""
    oslo_messaging.set_transport_defaults(control_exchange="nova")
    conf = cfg.ConfigOpts()
    conf([])
    transport = oslo_messaging.get_notification_transport(conf, url=url)
    endpoint = Endpoint(Path(file))
    listener = oslo_messaging.get_notification_listener(
        transport,
        [oslo_messaging.Target(topic=topic) for topic in TOPICS],
        [endpoint],
        executor="threading",
    )
    listener.start()
    notifier = oslo_messaging.Notifier(transport, "listener", driver="messagingv2", topics=TOPICS)
    drain(notifier, endpoint)
    Path(file).write_text("")
    print("listening", flush=True)
    sys.stdin.read()
    drain(notifier, endpoint)
    listener.stop()
    listener.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
