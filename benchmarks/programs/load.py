"""Puts load on a service; each line of its input is SOCKET PATH SECONDS.

There are always two requests on their way, so that the service never waits. Each has a connection
of its own. Prints as JSON how many were answered, in how many seconds, and the median and the 99th
percentile of how many seconds each took; or else the `trouble`.
"""

from __future__ import annotations

import json
import select
import socket
import statistics
import sys
import time

AT_ONCE = 2
PATIENCE = 20.0  # seconds for an answer
REQUEST = "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Load:
    """Requests to one service."""

    def __init__(self, address: str, path: str) -> None:
        self._address = address
        self._request = REQUEST.format(path=path).encode()
        self._poll = select.poll()
        self._open: dict[int, tuple[socket.socket, float]] = {}
        self._latencies: list[float] = []

    def put(self, seconds: float) -> dict[str, float]:
        """Put the load on the service for so long."""
        began = time.perf_counter()
        for _ in range(AT_ONCE):
            self._ask()
        while self._open:
            answered = self._poll.poll(PATIENCE * 1000)
            if not answered:
                raise OSError("the service does not answer")
            for descriptor, _ in answered:
                if self._has_ended(descriptor) and time.perf_counter() - began < seconds:
                    self._ask()
        return {
            "requests": len(self._latencies),
            "seconds": time.perf_counter() - began,
            "median": statistics.median(self._latencies),
            "p99": statistics.quantiles(self._latencies, n=100)[-1],
        }

    def _ask(self) -> None:
        began = time.perf_counter()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._address)
        connection.sendall(self._request)
        self._open[connection.fileno()] = connection, began
        self._poll.register(connection, select.POLLIN)

    def _has_ended(self, descriptor: int) -> bool:
        """Read what has come; whether that was all."""
        connection, began = self._open[descriptor]
        answer = connection.recv(1 << 16)
        if answer:
            if answer.startswith(b"HTTP/") and b" 200 " not in answer[:16]:
                raise OSError(f"the service answers {answer!r}")
            return False
        self._latencies.append(time.perf_counter() - began)
        self._poll.unregister(descriptor)
        del self._open[descriptor]
        connection.close()
        return True


for line in sys.stdin:
    address, path, seconds = line.split()
    try:
        print(json.dumps(Load(address, path).put(float(seconds))), flush=True)
    except OSError as error:
        print(json.dumps({"trouble": str(error)}), flush=True)
