"""Ports for the servers of tests."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"
# Below those that the kernel gives to clients: a server that is stopped and started finds its own
# still free.
RANGE = range(12000, 32000)


def free_ports(count: int) -> list[int]:
    """So many ports that nobody uses just now, neither for TCP nor for UDP."""
    found: list[int] = []
    for port in random.SystemRandom().sample(RANGE, len(RANGE)):
        if len(found) == count:
            break
        if _is_free(port):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                return False
    return True
