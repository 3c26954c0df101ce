"""Broker URLs as people write them in `BROKER`, taken apart and put together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from django_mqauth.kinds import kind_of
from mqauth.errors import ConfigurationError
from mqauth.secret import REDACTED

_SCHEMES = {"amqps": True, "mqauths": True, "amqp": False, "mqauth": False}
_KAFKA = {"mqauths-kafka": True, "mqauth-kafka": False}
_BETWEEN = re.compile(r";(?=\s*[\w.+-]+://)")
_SECRET_QUERY = re.compile(r"[?&][^=&]*(password|passwd|secret|token)[^=&]*=", re.IGNORECASE)
_URL = re.compile(r"[\w.+-]+://")
_HOST = re.compile(r"[\w.-]+|[0-9a-fA-F:.]+(%\w+)?", re.ASCII)


class HoldsPasswordError(ConfigurationError):
    """A broker URL has a password in it, which is worse than one that cannot be understood."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """One broker.

    Args:
        tls: Whether the link is encrypted.
        host: Its name or address.
        port: Its port, None for the usual one.
        vhost: Its virtual host, None where none is named.
        kafka: Whether it is Kafka's, not RabbitMQ's.
    """

    tls: bool
    host: str
    port: int | None
    vhost: str | None
    kafka: bool = False

    @property
    def usual_port(self) -> int:
        """The port where none is named."""
        if self.kafka:
            return 9098 if self.tls else 9092
        return 5671 if self.tls else 5672

    def url(self, alias: str) -> str:
        """Return the URL under which Celery and Kombu sign in as `alias`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port else ""
        vhost = "" if self.vhost is None else quote(self.vhost, safe="")
        scheme = ("mqauths" if self.tls else "mqauth") + "-kafka" * self.kafka
        return f"{scheme}://{quote(alias, safe='')}@{host}{port}/{vhost}"

    def __str__(self) -> str:
        """Return it as people read it."""
        where = f"{self.host}:{self.port or self.usual_port}"
        return f"Kafka at {where}" if self.kafka else f"{where}, virtual host {self.vhost or '/'}"


class RedactedURL(str):
    """A broker URL out of which a password was taken, so that no page and no report shows it."""

    __slots__ = ()


class MaskedURL(str):
    """A broker URL that is what it was, and shows no password where it is looked at."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return it as Django's `diffsettings` and error page show it."""
        text = str(self)
        within = masked_within(text)
        return repr(masked(text) if within == text else within)


def addresses(broker: object) -> tuple[Address, ...]:
    """Return the brokers of `BROKER`: one URL, several with `;` between them, or a list.

    Raises:
        ConfigurationError: It cannot be understood, or names a user; never quotes a password.
        HoldsPasswordError: It holds a password.
    """
    if isinstance(broker, RedactedURL):
        urls: Sequence[object] = [broker]
    elif isinstance(broker, str):
        urls = [url for url in broker.split(";") if url.strip()]
    elif isinstance(broker, (list, tuple)):
        urls = broker
    else:
        raise ConfigurationError(
            f"is {kind_of(broker)}", remedy="write a URL such as amqps://rabbit.example.com/prod"
        )
    if not urls:
        raise ConfigurationError(
            "is empty", remedy="write a URL such as amqps://rabbit.example.com/prod"
        )
    return tuple(_address(url) for url in urls)


def each_url(urls: str) -> list[str]:
    """Return the URLs of a failover list; a `;` that begins no URL is part of a password."""
    return _BETWEEN.split(urls)


def holds_password(url: str) -> bool:
    """Return whether a broker URL has a password in it, or one of a failover list has."""
    return any(_holds_password(part) for part in each_url(url))


def without_login(url: str) -> str:
    """Return a broker URL without user and password."""
    return ";".join(_with_login(part, "") for part in each_url(url))


def masked(url: str) -> str:
    """Return a broker URL with asterisks in the place of each login that has a password."""
    return ";".join(
        _with_login(part, f"{REDACTED}@") if _holds_password(part) else part
        for part in each_url(url)
    )


def masked_within(text: str) -> str:
    """Return a text with the logins of the URLs in it masked, whatever stands around them."""
    found = _URL.search(text)
    if found is None or not holds_password(text[found.start() :]):
        return text
    return text[: found.start()] + masked(text[found.start() :])


def _holds_password(url: str) -> bool:
    return ":" in _login(url) or _SECRET_QUERY.search(url) is not None


def _with_login(url: str, login: str) -> str:
    scheme, rest = _scheme(url)
    authority, slash, path = _authority(rest), *_path(rest)
    host = authority.rpartition("@")[2]
    if _SECRET_QUERY.search(url):
        host, path = host.partition("?")[0], path.partition("?")[0]
    return f"{scheme}{login if '@' in authority else ''}{host}{slash}{path}"


def _scheme(url: str) -> tuple[str, str]:
    scheme, separator, rest = url.partition("://")
    return (scheme + separator, rest) if separator else ("", url)


def _login(url: str) -> str:
    return _authority(_scheme(url)[1]).rpartition("@")[0]


def _authority(rest: str) -> str:
    # A password may hold a slash that nobody encoded: the host stands behind the last @.
    before, at, after = rest.rpartition("@")
    return before + at + after.partition("/")[0]


def _path(rest: str) -> tuple[str, str]:
    _, slash, path = rest.rpartition("@")[2].partition("/")
    return slash, path


def _address(url: object) -> Address:
    if not isinstance(url, str):
        raise ConfigurationError(f"holds {kind_of(url)}", remedy="write each broker as a URL")
    if isinstance(url, RedactedURL) or holds_password(url):
        raise HoldsPasswordError(
            "holds a password",
            remedy="take it out, wherever the URL has been copied to: PROVIDER and OPTIONS say who "
            "signs in",
        )
    if _login(url):
        raise ConfigurationError(
            "names a user", remedy="take the part before the @ out: PROVIDER says who signs in"
        )
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, 0
    if port == 0:
        raise ConfigurationError(
            "has a port or an address that cannot be read",
            remedy="write a port from 1 to 65535 or none, and an IPv6 address in brackets, as in "
            "amqps://[2001:db8::1]:5671/prod",
        )
    if parts.scheme not in {**_SCHEMES, **_KAFKA}:
        raise ConfigurationError(
            "is no broker URL" if not parts.scheme else f"has the scheme {parts.scheme[:20]}",
            remedy="begin it with amqps:// (or amqp:// for this host alone)",
        )
    if not host or not _HOST.fullmatch(host):
        raise ConfigurationError(
            "names no host", remedy="write it as in amqps://rabbit.example.com/prod"
        )
    if parts.query or parts.fragment:
        raise ConfigurationError(
            "has a query string", remedy="take it out: OPTIONS, TLS and TRANSPORT_OPTIONS say more"
        )
    return Address(
        tls={**_SCHEMES, **_KAFKA}[parts.scheme],
        host=host,
        port=port,
        vhost=_vhost(parts.path),
        kafka=parts.scheme in _KAFKA,
    )


def _vhost(path: str) -> str | None:
    name = path[1:]
    if "/" in name and name != "/":
        raise ConfigurationError(
            "has a virtual host with a slash in it", remedy="write each slash in its name as %2F"
        )
    return unquote(name) or None
