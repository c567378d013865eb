"""Takes whatever is sent to it by HTTP, and says yes: sink.py. Prints its port.

Ends with its input.
"""

from __future__ import annotations

import http.server
import sys
import threading


class Sink(http.server.BaseHTTPRequestHandler):
    """Reads a request and throws it away."""

    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        """Answer with an empty object."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = do_PUT = handle_any

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class Server(http.server.ThreadingHTTPServer):
    """Does not mind clients that end in the middle."""

    def handle_error(self, *_: object) -> None:
        """Keep quiet."""


server = Server(("127.0.0.1", 0), Sink)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
