"""Where a broker is, and who asks: amqp:// and amqps:// URLs, whose passwords stay out of texts."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urlsplit

PORTS = {"amqp": 5672, "amqps": 5671}
ENCODE = "write %2F for /, %3F for ?, %23 for #, %5B for [ and %5D for ] in user and password"


class Broker:
    """One broker. Its text and its repr hold neither user nor password."""

    def __init__(
        self, host: str, port: int, user: str | None, password: str, virtual_host: str, tls: bool
    ) -> None:
        self.host = host
        self.port = port
        self.user = user
        self.password = password
        self.virtual_host = virtual_host
        self.tls = tls

    @classmethod
    def parse(cls, url: str) -> Broker:
        """The broker of amqp[s]://[user[:password]@]host[:port][/vhost], the parts percent-encoded.

        No vhost, or `//`, is the one named /. Raises ValueError, in which no password is.
        """
        shown = masked(url)
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            # What stands where, and so what is secret, cannot be told.
            raise ValueError(f"url: the port, or what is in [], is wrong; {ENCODE}") from None
        _refuse(parts, shown)
        return cls(
            parts.hostname or "",
            PORTS[parts.scheme] if port is None else port,
            None if parts.username is None else unquote(parts.username),
            unquote(parts.password or ""),
            unquote(parts.path[1:]) or "/",
            parts.scheme == "amqps",
        )

    @property
    def address(self) -> str:
        """host:port, as a socket and a person want it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"<broker {self.address}>"


def masked(url: str) -> str:
    """The URL with *** for user and password, and for what follows a question mark."""
    without_user = re.sub(r"(?s)^([a-z0-9+.-]*://)?.*@", r"\1***@", url)
    return re.sub(r"(?s)\?.*", "?***", without_user)


def _refuse(parts: SplitResult, shown: str) -> None:
    if parts.scheme not in PORTS:
        raise ValueError(f"url {shown!r} must begin with amqp:// or amqps://")
    if not parts.hostname:
        raise ValueError(f"url {shown!r} names no host")
    if parts.query or parts.fragment:
        raise ValueError(
            f"url {shown!r} must end with the virtual host: what else there is to say are options "
            f"of the notifier; {ENCODE}"
        )
    try:
        parts.hostname.encode("idna")
    except UnicodeError:
        raise ValueError(f"url {shown!r} holds what cannot be the name of a host") from None
