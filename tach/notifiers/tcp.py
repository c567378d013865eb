"""A TCP connection that only sends, and notices that its peer is gone."""

from __future__ import annotations

import contextlib
import select
import socket
import struct

SEND_BUFFER = 1 << 16
ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 seconds


class Connection:
    """Connects at once, raising OSError. `timeout`, in seconds, is that of connecting and sending.

    The host is looked up anew for each connection.
    """

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self._socket = socket.create_connection((host, port), timeout)
        # What waits here is lost with the connection, so little may wait.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        # What a peer does not acknowledge in time, because its machine is gone, makes the next
        # `send` fail: otherwise the kernel would accept data for a quarter of an hour.
        user_timeout = int(timeout * 1000)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout)

    def hung_up(self) -> bool:
        """Whether the peer closed it: sending would seem to work once more, and be lost."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        try:
            return bool(poll.poll(0)) and not self._socket.recv(4096)
        except OSError:
            return True

    def send(self, data: bytes) -> None:
        """Send all of it; OSError if that is not done within the time-out."""
        self._socket.sendall(data)

    def close(self) -> None:
        """Close it; what is on its way still arrives."""
        self._socket.close()

    def abort(self) -> None:
        """Close it and let the kernel forget what the peer has not taken yet."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        self._socket.close()
