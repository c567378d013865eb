"""Stands in for statsd and carbon: receive.py STATSD_PORT CARBON_PORT FILE.

Adds up what arrives and writes it to FILE as JSON, when the standard input is closed: the counters
of statsd, and the steps' `.calls.count` of graphite, where the last value of a step counts.
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
from collections import Counter

counts: Counter[str] = Counter()
steps: dict[tuple[str, str], float] = {}


class Statsd(socketserver.BaseRequestHandler):
    """A packet."""

    def handle(self) -> None:
        """Add its counters."""
        for line in self.request[0].decode().splitlines():
            name, _, rest = line.partition(":")
            value, kind, *_ = rest.split("|")
            if kind == "c":
                counts[name] += float(value)


class Carbon(socketserver.StreamRequestHandler):
    """A connection."""

    def handle(self) -> None:
        """Keep the counts of each step."""
        for line in self.rfile:
            path, value, time = line.decode().split()
            if path.endswith(".calls.count"):
                steps[path.removesuffix(".count"), time] = float(value)


class CarbonServer(socketserver.ThreadingTCPServer):
    """Listens anew at once after an earlier run."""

    allow_reuse_address = True
    daemon_threads = True


def main(statsd_port: str, carbon_port: str, file: str) -> None:
    """Receive until the standard input is closed."""
    servers = [
        socketserver.UDPServer(("127.0.0.1", int(statsd_port)), Statsd),
        CarbonServer(("127.0.0.1", int(carbon_port)), Carbon),
    ]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("listening", flush=True)
    sys.stdin.read()
    for (path, _), value in steps.items():
        counts[path] += value
    with open(file, "w") as written:
        json.dump(counts, written, indent=1, sort_keys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
