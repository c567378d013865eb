from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ports import HOST
from rabbitmq_broker import RabbitmqBroker, require_rabbitmq
from test_amqp import certificates, events

from tach.notifiers.amqp import Amqp

__all__ = ["certificates"]
PLUGIN = "rabbitmq_auth_mechanism_ssl"


class ExternalBroker(RabbitmqBroker):
    """A broker whose TLS clients log in by nothing but their certificate's common name."""

    def logins(self) -> list[str]:
        """User and mechanism of each connection."""
        table = self.control("list_connections", "--no-table-headers", "user", "auth_mechanism")
        return [" ".join(line.split()) for line in table.splitlines()]

    def _write_configuration(self) -> None:
        super()._write_configuration()
        with (self.directory / "rabbitmq.conf").open("a") as file:
            file.write(
                "ssl_cert_login_from = common_name\n"
                "auth_mechanisms.1 = EXTERNAL\n"
                "auth_mechanisms.2 = PLAIN\n"
            )
        (self.directory / "enabled_plugins").write_text(f"[{PLUGIN}].\n")


@pytest.fixture(scope="module")
def broker(certificates: Path) -> Iterator[ExternalBroker]:
    """A broker that knows the user `client`, who has no password."""
    require_rabbitmq()
    files = {"ca": "ca.pem", "cert": "server.pem", "key": "server.key"}
    with ExternalBroker({name: certificates / file for name, file in files.items()}) as running:
        running.control("add_user", "client", "unused")
        running.control("clear_password", "client")
        running.control("set_permissions", "client", ".*", ".*", ".*")
        yield running


def shown(certificates: Path, name: str) -> dict[str, Any]:
    """The options for a certificate to show."""
    files = {"tls_ca": "ca.pem", "tls_cert": f"{name}.pem", "tls_key": f"{name}.key"}
    return {option: str(certificates / file) for option, file in files.items()}


def test_the_certificate_is_the_login(broker, certificates) -> None:
    """Without a user in the URL the certificate logs in, and events are confirmed."""
    url = f"amqps://{HOST}:{broker.tls_port}//"
    with closing(Amqp(url, "nova", **shown(certificates, "client"))) as amqp:
        assert amqp.deliver(events(10)) == [True] * 10
        assert broker.logins() == ["client EXTERNAL"]

    assert broker.depth("notifications.info") == 10


def test_a_certificate_of_nobody_is_refused(broker, certificates) -> None:
    """A common name that is no user of the broker: an error that says so, without any secret."""
    url = f"amqps://{HOST}:{broker.tls_port}//"
    with (
        closing(Amqp(url, "nova", timeout=5, **shown(certificates, "server"))) as amqp,
        pytest.raises(OSError, match="refus") as caught,
    ):
        amqp.deliver(events(1))

    assert "guest" not in str(caught.value)


def test_a_user_in_the_url_logs_in_by_password(broker, certificates) -> None:
    """A certificate does not replace the user that the configuration names."""
    url = f"amqps://guest:guest@{HOST}:{broker.tls_port}//"
    with closing(Amqp(url, "nova", **shown(certificates, "client"))) as amqp:
        assert amqp.deliver(events(1)) == [True]
        assert broker.logins() == ["guest PLAIN"]
