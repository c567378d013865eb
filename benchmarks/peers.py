"""Other tools that measure Python programs, each in a virtual environment of its own.

They are kept below .venv/peers/. Nothing of them leaves this machine: what they send goes to
programs/sink.py, and New Relic's agent is in its developer mode, in which it makes up the answers
of its server itself.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from scratch import CONSTRAINTS, PIP_INSTALL, ROOT, Scratch, clean_variables

HOME = ROOT / ".venv" / "peers"
SERVICE = ("flask", "gunicorn")
Made = TypeVar("Made")


class Peer(NamedTuple):
    """A tool: its packages, the command that starts a program under it, and its settings.

    In these `{sink}` is the address of what takes all it sends.
    """

    name: str
    requirements: tuple[str, ...]
    launcher: tuple[str, ...] = ()
    settings: Mapping[str, str] = {}

    @property
    def bin(self) -> Path:
        """Where its commands are."""
        return HOME / self.name / "bin"

    @property
    def python(self) -> str:
        """Its Python."""
        return str(self.bin / "python")

    @property
    def version(self) -> str:
        """The name and version of its first package."""
        return f"{self.requirements[0]} {pinned()[self.requirements[0]]}"

    def variables(self, sink: str = "") -> dict[str, str]:
        """The environment variables of what runs there."""
        settings = {name: value.format(sink=sink) for name, value in self.settings.items()}
        return {**clean_variables(self.bin), **settings}


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "opentelemetry",
            (
                "opentelemetry-sdk",
                "opentelemetry-distro",
                "opentelemetry-exporter-otlp-proto-http",
                "opentelemetry-instrumentation-flask",
            ),
            ("opentelemetry-instrument",),
            {
                "OTEL_SERVICE_NAME": "bench",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "{sink}",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            },
        ),
        Peer(
            "ddtrace",
            ("ddtrace",),
            ("ddtrace-run",),
            {"DD_TRACE_AGENT_URL": "{sink}", "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false"},
        ),
        Peer(
            "newrelic",
            ("newrelic",),
            ("newrelic-admin", "run-program"),
            {"NEW_RELIC_CONFIG_FILE": str(ROOT / "benchmarks" / "newrelic.ini")},
        ),
        Peer(
            "elastic",
            ("elastic-apm",),
            ("elasticapm-run",),
            {
                "ELASTIC_APM_SERVER_URL": "{sink}",
                "ELASTIC_APM_SERVICE_NAME": "bench",
                "ELASTIC_APM_CLOUD_PROVIDER": "none",
            },
        ),
        Peer("datadog", ("datadog",)),
        Peer("statsd", ("statsd",)),
        Peer("prometheus", ("prometheus_client",)),
        Peer("yappi", ("yappi",)),
        Peer("wrapt", ("wrapt",)),
    )
}


class AbsentError(Exception):
    """A peer cannot be measured; the text says why."""


def ended(peer: str, complaints: Path) -> Exception:
    """What to raise where a process has ended: only a peer may be absent, tach may not."""
    kind = AbsentError if peer else RuntimeError
    return kind(complaint(complaints.read_text(encoding="utf-8", errors="replace")))


def require(scratch: Scratch, name: str) -> None:
    """Set up the environment of that peer, unless that is done. Raises AbsentError."""
    reason = install(name) if scratch.peers else "left out"
    if reason:
        raise AbsentError(reason)


def attempt(make: Callable[[], Made]) -> Made | AbsentError:
    """What `make` returns, or the AbsentError that it raises."""
    try:
        return make()
    except AbsentError as why:
        return why


@functools.cache
def install(name: str) -> str:
    """Set up the environment of that peer, unless that is done. Returns why it cannot be had."""
    peer = PEERS[name]
    stamp = HOME / name / "installed.json"
    packages = [*peer.requirements, *SERVICE]
    constraints = hashlib.sha256(CONSTRAINTS.read_bytes()).hexdigest()
    wanted = json.dumps([str(peer.bin), sys.version, packages, constraints])
    if stamp.exists() and stamp.read_text() == wanted:
        return ""
    print(f"setting up {peer.bin.parent.relative_to(ROOT)}", file=sys.stderr, flush=True)
    shutil.rmtree(peer.bin.parent, ignore_errors=True)
    pip = (peer.python, *PIP_INSTALL, "--constraint", str(CONSTRAINTS), *packages)
    for command in (sys.executable, "-m", "venv", str(peer.bin.parent)), pip:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        if done.returncode:
            return complaint(done.stderr + done.stdout)
    stamp.write_text(wanted)
    return ""


def pinned() -> dict[str, str]:
    """By the name of a package, its version."""
    lines = CONSTRAINTS.read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def complaint(text: str) -> str:
    """What is wrong by what a command has said: its first line of an error, else its last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return [*errors, *lines[-1:], "it says nothing"][0]
