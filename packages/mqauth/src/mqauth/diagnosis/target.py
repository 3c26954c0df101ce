"""Which broker a URL names."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import SplitResult, unquote, urlsplit

from mqauth.broker_url import check_host, check_parameters, unreadable
from mqauth.errors import ConfigurationError

_TLS_SCHEMES = ("mqauths", "amqps")
_PLAIN_SCHEMES = ("mqauth", "amqp", "pyamqp")
KAFKA_PORTS = {"mqauths-kafka": 9098, "mqauth-kafka": 9092}
"""Schemes of Kafka, with the port of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TopicUse:
    """What is to be done with a topic of Kafka.

    Attributes:
        name: Its name.
        read: Whether it is read, as a member of its consumers' group.
        write: Whether it is written.
    """

    name: str
    read: bool = True
    write: bool = True

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `NAME`, `read:NAME` or `write:NAME`.

        Raises:
            ConfigurationError: It is none of these.
        """
        what, separator, name = text.rpartition(":")
        if not name or (separator and what not in ("read", "write")):
            raise ConfigurationError(
                f"{text[:60]!r} is no topic", remedy="write NAME, read:NAME or write:NAME"
            )
        return cls(name=name, read=what != "write", write=what != "read")


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
        kind: `rabbitmq` or `kafka`.
        servers: Kafka's bootstrap servers, host and port, the first of which `host` and `port` are.
        ssl: What an app says about TLS beside `ca_file`, as its `broker_use_ssl`.
        client: What an app tells the broker's client, as its `broker_transport_options`.
    """

    host: str
    port: int
    vhost: str = "/"
    tls: bool = True
    user: str = ""
    ca_file: str | None = None
    kind: str = "rabbitmq"
    servers: tuple[tuple[str, int], ...] = ()
    ssl: Mapping[str, Any] = field(default_factory=dict, repr=False)
    client: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str, *, ca_file: str | None = None) -> Self:
        """Read a broker URL such as `mqauths://oauth2@host/vhost`.

        Of several URLs with `;` between them the first counts, and with Kafka all of them.

        Raises:
            ConfigurationError: It is none, or holds a password or parameters.
        """
        first, *others = url.split(";")
        if first.partition("://")[0] in KAFKA_PORTS:
            return cls._of_kafka([first, *others], ca_file)
        try:
            parts = urlsplit(first)
            port = parts.port
        except ValueError:
            raise unreadable(url) from None
        if parts.scheme not in (*_TLS_SCHEMES, *_PLAIN_SCHEMES) or not parts.hostname:
            raise ConfigurationError(
                "the broker URL is none that mqauth knows",
                remedy="write it as mqauths://PROVIDER@HOST/VHOST",
            )
        _refuse_password(parts)
        check_parameters(parts.query)
        check_host(parts.hostname)
        tls = parts.scheme in _TLS_SCHEMES
        return cls(
            host=parts.hostname,
            port=port or (5671 if tls else 5672),
            vhost=unquote(parts.path[1:]) or "/",
            tls=tls,
            user=unquote(parts.username or ""),
            ca_file=ca_file,
        )

    @classmethod
    def _of_kafka(cls, urls: Sequence[str], ca_file: str | None) -> Self:
        scheme = urls[0].partition("://")[0]
        servers: list[tuple[str, int]] = []
        users: set[str] = set()
        for url in filter(None, urls):
            try:
                parts = urlsplit(url)
                port = parts.port or KAFKA_PORTS[scheme]
            except ValueError:
                raise unreadable(urls[0]) from None
            _refuse_password(parts)
            check_parameters(parts.query)
            hosts = [host for host in (parts.hostname or "").split(",") if host]
            if parts.scheme != scheme or not hosts:
                raise ConfigurationError(
                    "the broker URL is none that mqauth knows",
                    remedy=f"write it as {scheme}://PROVIDER@HOST[,HOST...]:PORT",
                )
            for host in hosts:
                check_host(host)
            users.add(unquote(parts.username or ""))
            servers += [(host, port) for host in hosts]
        if len(users) > 1:
            # An app goes on to the second only when the first is gone, and with its own token.
            raise ConfigurationError(
                "the broker URLs name different users, and one token is not for them all",
                remedy="write the same PROVIDER in each of them, or look at one at a time",
            )
        return cls(
            host=servers[0][0],
            port=servers[0][1],
            tls=scheme.startswith("mqauths"),
            user=users.pop(),
            ca_file=ca_file,
            kind="kafka",
            servers=tuple(servers),
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


def _refuse_password(parts: SplitResult) -> None:
    if parts.password:
        raise ConfigurationError(
            "the broker URL holds a password", remedy="take it out; name who signs in instead"
        )
