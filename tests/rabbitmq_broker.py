"""Runs a real RabbitMQ for tests, on free ports of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ports import HOST, free_ports
from processes import wait_until

BIN = Path("/usr/lib/rabbitmq/bin")
HOW_TO_GET_IT = (
    "RabbitMQ is missing: install it (Debian: apt-get install rabbitmq-server; it need not run)"
)
START_TIMEOUT = 90.0
# The broker ends with the tests, even when these are killed: then its standard input is closed.
RUN = 'exec 3<&0 </dev/null; (cat <&3; kill $$) >/dev/null & exec "$0" 3<&-'


def require_rabbitmq() -> None:
    """Skip the test where there is no RabbitMQ, or fail it under CI=true."""
    if not (BIN / "rabbitmq-server").exists():
        if os.environ.get("CI") == "true":
            pytest.fail(HOW_TO_GET_IT)
        pytest.skip(HOW_TO_GET_IT)


class RabbitmqBroker:
    """A broker with its own node name, ports, data and epmd; a context manager.

    `port` stays the same over `stop` and `start`; `tls_port` too, if `tls` is given: paths of PEM
    files by the names ca, cert and key. Clients with TLS must then show a certificate of that CA.
    """

    def __init__(self, tls: Mapping[str, Path] | None = None) -> None:
        self.tls = tls
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RabbitmqBroker:
        self.directory = Path(tempfile.mkdtemp(prefix="rabbitmq-"))
        self._start_on_free_ports()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._end_epmd()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def url(self) -> str:
        """Of the user guest in the virtual host /."""
        return f"amqp://guest:guest@{HOST}:{self.port}//"

    def start(self) -> None:
        """Start the broker on its ports and wait until it accepts clients."""
        self._write_configuration()
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", RUN, BIN / "rabbitmq-server"],
                env=self._variables(),
                cwd=self.directory,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._answers, "RabbitMQ answers", START_TIMEOUT)
        self.control("await_startup")

    def stop(self) -> None:
        """End the broker in good order; nothing if it is stopped already."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker without a warning."""
        self._end(signal.SIGKILL)

    def process_group(self) -> int:
        """The group of all processes of the running broker."""
        assert self._process is not None
        return self._process.pid

    def control(self, *command: str) -> str:
        """What `rabbitmqctl command...` prints."""
        done = subprocess.run(
            [BIN / "rabbitmqctl", "--quiet", *command],
            env=self._variables(),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def memory_alarm(self) -> Iterator[None]:
        """The broker is short of memory, and does not read what is published."""
        self.control("set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            yield
        finally:
            self.control("set_vm_memory_high_watermark", "0.4")

    def close_all_connections(self) -> None:
        """Close all connections of clients, as an operator may."""
        self.control("close_all_connections", "a test")

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """A channel of a new connection to the broker."""
        import amqp

        with amqp.Connection(f"{HOST}:{self.port}", connect_timeout=10, read_timeout=30) as client:
            yield client.channel()

    def depth(self, queue: str) -> int:
        """How many messages are in the queue and not taken."""
        with self.connected() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)

    def take_all(self, queue: str) -> list[Any]:
        """All messages of the queue, taken from it: py-amqp's with `body` and `properties`."""
        with self.connected() as channel:
            return list(iter(lambda: channel.basic_get(queue, no_ack=True), None))

    def delete(self, exchange: str, queues: Sequence[str]) -> None:
        """Delete what there is of these."""
        with self.connected() as channel:
            for queue in queues:
                channel.queue_delete(queue)
            channel.exchange_delete(exchange)

    def _start_on_free_ports(self) -> None:
        for attempts_left in (2, 1, 0):
            self.port, self.tls_port, self._dist_port, self._epmd_port = free_ports(4)
            try:
                self.start()
                break
            except AssertionError:  # another process was quicker to take one of the ports
                self.kill()
                self._end_epmd()
                if not attempts_left:
                    shutil.rmtree(self.directory, ignore_errors=True)
                    raise

    def _write_configuration(self) -> None:
        lines = [f"listeners.tcp.1 = {HOST}:{self.port}", "log.console = true"]
        if self.tls:
            lines += [
                f"listeners.ssl.1 = {HOST}:{self.tls_port}",
                f"ssl_options.cacertfile = {self.tls['ca']}",
                f"ssl_options.certfile = {self.tls['cert']}",
                f"ssl_options.keyfile = {self.tls['key']}",
                "ssl_options.verify = verify_peer",
                "ssl_options.fail_if_no_peer_cert = true",
            ]
        (self.directory / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.directory / "enabled_plugins").write_text("[].\n")

    def _variables(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name[:8] != "RABBITMQ"}
        return {
            **kept,
            "HOME": str(self.directory),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_NODENAME": "test@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log.d"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none",
        }

    def _answers(self) -> bool:
        import amqp

        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"RabbitMQ ended: {(self.directory / 'log').read_text()[-3000:]}")
        client = amqp.Connection(f"{HOST}:{self.port}", connect_timeout=2, read_timeout=2)
        try:
            client.connect()
            client.close()
        except (OSError, amqp.AMQPError):
            client.collect()
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        with self._process as process:  # closes its standard input, and reaps it
            os.killpg(process.pid, how)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        self._process = None

    def _end_epmd(self) -> None:
        """The broker leaves this one behind, which holds its port; it ends when asked."""
        epmd = shutil.which("epmd")
        if epmd:
            subprocess.run(
                [epmd, "-kill"], env=self._variables(), capture_output=True, timeout=30, check=False
            )
