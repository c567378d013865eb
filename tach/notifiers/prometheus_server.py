"""The port that Prometheus scrapes."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tach.notifiers.prometheus_text import OPENMETRICS_TYPE, PLAIN_TYPE

PATH = "/metrics"
TIMEOUT = 10.0
MOST_THREADS = 64

# The text, in OpenMetrics or in the older format.
Render = Callable[[bool], str]


class MetricsServer:
    """Serves what `render` gives, from a thread of its own, until closed.

    `address` is where: port 0 is a free one. OSError where nobody can listen.
    """

    def __init__(self, host: str, port: int, render: Render) -> None:
        self._server = _Server(host, port, render)
        self.address: tuple[str, int] = self._server.server_address[:2]  # type: ignore[assignment]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="prometheus", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, render: Render) -> None:
        self.render = render
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: it asks the DNS for a name that nobody needs.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - inherited
        return threading.active_count() < MOST_THREADS

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hung up is no news, and stderr may be the program's.
        pass


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "tach"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        # It would go to stderr.
        pass

    def _answer(self, with_body: bool) -> None:
        if self.path.partition("?")[0] not in (PATH, "/"):
            self.send_error(HTTPStatus.NOT_FOUND, explain=f"The metrics are at {PATH}.")
            return
        openmetrics = wants_openmetrics(self.headers.get("Accept", ""))
        body = self.server.render(openmetrics).encode()
        packed = takes_gzip(self.headers.get("Accept-Encoding", ""))
        if packed:
            body = gzip.compress(body, 1)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", OPENMETRICS_TYPE if openmetrics else PLAIN_TYPE)
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Vary", "Accept, Accept-Encoding")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def wants_openmetrics(accept: str) -> bool:
    """Whether the client would rather have OpenMetrics 1.0 than the older format."""
    openmetrics = max(
        (quality(each) for each in accept.split(",") if _is_openmetrics(each)), default=0.0
    )
    plain = max((quality(each) for each in accept.split(",") if "text/plain" in each), default=0.0)
    return openmetrics > 0 and openmetrics >= plain


def takes_gzip(accept: str) -> bool:
    """Whether the client can unpack the body."""
    return any(each.strip().startswith("gzip") and quality(each) > 0 for each in accept.split(","))


def quality(part: str) -> float:
    """The q of a part of an Accept header: 1 if it has none, 0 if it is none."""
    for each in part.split(";")[1:]:
        name, _, value = each.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _is_openmetrics(part: str) -> bool:
    kind, *parameters = (each.strip() for each in part.split(";"))
    versions = [each for each in parameters if each.startswith("version=")]
    return kind == "application/openmetrics-text" and versions in (
        [],
        ["version=1.0.0"],
        ["version=0.0.1"],
    )
