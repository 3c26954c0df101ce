"""Which broker a URL names."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote, urlsplit

from mqauth.broker_url import check_parameters
from mqauth.errors import ConfigurationError

_TLS_SCHEMES = ("mqauths", "amqps")
_PLAIN_SCHEMES = ("mqauth", "amqp", "pyamqp")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A broker, and where on it.

    Attributes:
        host: Its host.
        port: Its port.
        vhost: The virtual host.
        tls: Whether it is spoken to over TLS.
        user: Who signs in, as the URL says it: a provider or a named entry; or empty.
        ca_file: PEM file of the authorities to trust; None for those that the host trusts.
    """

    host: str
    port: int
    vhost: str = "/"
    tls: bool = True
    user: str = ""
    ca_file: str | None = None

    @classmethod
    def parse(cls, url: str, *, ca_file: str | None = None) -> Self:
        """Read a broker URL such as `mqauths://oauth2@host/vhost`.

        Raises:
            ConfigurationError: It is none, or holds a password or parameters.
        """
        try:
            parts = urlsplit(url.partition(";")[0])
            port = parts.port
        except ValueError as error:
            raise ConfigurationError(f"the broker URL cannot be read: {error}") from None
        if parts.scheme not in (*_TLS_SCHEMES, *_PLAIN_SCHEMES) or not parts.hostname:
            raise ConfigurationError(
                "the broker URL is none that mqauth knows",
                remedy="write it as mqauths://PROVIDER@HOST/VHOST",
            )
        if parts.password:
            raise ConfigurationError(
                "the broker URL holds a password", remedy="take it out; name who signs in instead"
            )
        check_parameters(parts.query)
        tls = parts.scheme in _TLS_SCHEMES
        return cls(
            host=parts.hostname,
            port=port or (5671 if tls else 5672),
            vhost=unquote(parts.path[1:]) or "/",
            tls=tls,
            user=unquote(parts.username or ""),
            ca_file=ca_file,
        )

    @property
    def loopback(self) -> bool:
        """Whether the broker runs on this very host."""
        if self.host.lower().rstrip(".") == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        """Name it for people."""
        return f"{self.host}:{self.port}"
