"""The deploy marker: tells graphite's events API, once, that a program was started."""

from __future__ import annotations

import json
import platform
import threading
import time
from urllib.parse import urlsplit

import tach
from tach.samples import RunInfo

TIMEOUT = 3.0
LONGEST_WHAT = 255


class Marker:
    """Posts the marker to `url` from a thread of its own, best effort: `failed` says if in vain."""

    def __init__(self, url: str, run: RunInfo) -> None:
        self._url = url
        self._body = json.dumps(event(run, time.time())).encode()
        self.failed = False
        self._thread = threading.Thread(target=self._post, name="graphite marker", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Give it the time to end."""
        self._thread.join(TIMEOUT)

    def _post(self) -> None:
        # Loaded where it is needed only: it brings ssl and a hundred others.
        from http.client import HTTPException
        from urllib.request import Request, urlopen

        request = Request(self._url, self._body, {"Content-Type": "application/json"})
        try:
            with urlopen(request, timeout=TIMEOUT) as answer:
                answer.read()
        except (OSError, ValueError, HTTPException):
            self.failed = True


def event(run: RunInfo, now: float) -> dict[str, object]:
    """What is posted. The arguments of the program stay here: they may hold passwords."""
    versions = f"tach {tach.__version__}, Python {platform.python_version()}"
    return {
        "what": f"tach: {run.program} started"[:LONGEST_WHAT],
        "tags": ["tach", "deploy", *("_".join(each.split()) for each in (run.program, run.host))],
        "when": int(now),
        "data": f"{versions}, configuration {run.config_hash}",
    }


def check_url(url: str) -> str:
    """The URL; ValueError if nothing can be posted there."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"events_url {url!r} must be such as http://graphite.example.org/events/")
    return url
