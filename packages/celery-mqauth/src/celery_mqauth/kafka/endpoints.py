"""From a Kombu connection to the settings of librdkafka that say where and how to connect."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kombu.utils.url import parse_url

from celery_mqauth.endpoints import AUTH, source_for
from celery_mqauth.kafka.limits import LIMITS, check_limits
from celery_mqauth.misspelt_options import warn_of_misspelt
from celery_mqauth.protection import is_loopback, unusable_file
from mqauth.broker_url import check_host, unreadable
from mqauth.credentials import BrokerCredentials
from mqauth.errors import ConfigurationError, InsecureTransportError
from mqauth.provider import Provider
from mqauth.wording import kind_of

CLIENT_OPTIONS = (
    "kafka_common_config",
    "kafka_producer_config",
    "kafka_consumer_config",
    "kafka_admin_config",
)
"""Transport options that hold settings of librdkafka."""
OPTIONS = (
    *(AUTH, *CLIENT_OPTIONS, *LIMITS),
    *("num_partitions", "replication_factor", "topic_config"),
)
"""All transport options that are read, besides Kombu's own."""

_SIGNS_IN = frozenset({"security_protocol", "sasl_mechanism"})
_SAID_ELSEWHERE = frozenset(
    {"bootstrap.servers", "metadata.broker.list", "security.protocol", "oauth_cb"}
)
_VERIFICATION = "enable.ssl.certificate.verification"
_HOST_NAME_CHECK = "ssl.endpoint.identification.algorithm"
_TLS_OPTIONS = {
    "ca_certs": "ssl.ca.location",
    "certfile": "ssl.certificate.location",
    "keyfile": "ssl.key.location",
}


class Tokens(Protocol):
    """What a link needs of a `CredentialSource`."""

    @property
    def provider(self) -> Provider:
        """Who fetches them."""
        ...

    @property
    def current(self) -> BrokerCredentials | None:
        """The present one, or None."""
        ...

    def get(self) -> BrokerCredentials:
        """Return a good one."""
        ...

    def invalidate(self, rejected: BrokerCredentials) -> None:
        """Do not hand this one out again."""
        ...

    def attach(self, listener: Any) -> None:
        """Count a user."""
        ...

    def detach(self, listener: Any) -> None:
        """Count it no longer."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaLink:
    """Where a connection goes and who signs in.

    Args:
        source: Gives the tokens.
        servers: Bootstrap servers, `host:port`.
        settings: What librdkafka needs to know to get there.
        insecure: Whether the user allows tokens to travel unprotected.
    """

    source: Tokens
    servers: tuple[str, ...]
    settings: Mapping[str, Any]
    insecure: bool

    @property
    def tls(self) -> bool:
        """Whether the link has TLS."""
        return bool(self.settings["security.protocol"] == "SASL_SSL")

    def __str__(self) -> str:
        return ",".join(self.servers)


def link_of(client: Any, default_port: int) -> KafkaLink:
    """Return the link that a Kombu connection stands for.

    Args:
        client: The Kombu connection.
        default_port: Port where the URL names none.

    Raises:
        ConfigurationError: What the user wrote cannot work.
        InsecureTransportError: Tokens would cross the network in clear.
    """
    shared = source_for(client)
    return link_to(
        addresses_of(client, default_port),
        source=shared.source,
        given_tls=client.ssl,
        options=client.transport_options or {},
        insecure=shared.insecure,
    )


def link_to(
    addresses: Sequence[tuple[str, int]],
    *,
    source: Tokens,
    given_tls: Any,
    options: Mapping[str, Any],
    insecure: bool,
) -> KafkaLink:
    """Return the link to bootstrap servers.

    Args:
        addresses: Host and port of each.
        source: Gives the tokens.
        given_tls: As Celery's `broker_use_ssl`; None or False for no TLS.
        options: As Celery's `broker_transport_options`.
        insecure: Whether the user allows tokens to travel unprotected.

    Raises:
        ConfigurationError: What the user wrote cannot work.
        InsecureTransportError: Tokens would cross the network in clear.
    """
    _check_options(options, insecure=insecure)
    for host, _ in addresses:
        check_host(host)
    servers = tuple(_joined(host, port) for host, port in addresses)
    settings = {"bootstrap.servers": ",".join(servers), "sasl.mechanism": "OAUTHBEARER"}
    if given_tls is None or given_tls is False:
        if not insecure:
            for host, _ in addresses:
                check_loopback(host)
        settings["security.protocol"] = "SASL_PLAINTEXT"
    else:
        settings |= _tls(given_tls, insecure=insecure)
    return KafkaLink(source=source, servers=servers, settings=settings, insecure=insecure)


def check_loopback(host: str) -> None:
    """Raise `InsecureTransportError` if `host` is not this host."""
    if not is_loopback(host):
        raise InsecureTransportError(
            f"a credential would be sent to {host} in clear text",
            remedy='use mqauths-kafka://, or say {"auth": {"insecure": true}} if the network is '
            "safe",
        )


def addresses_of(client: Any, default_port: int) -> list[tuple[str, int]]:
    """Return host and port of all bootstrap servers, the one Kombu is at first.

    Raises:
        ConfigurationError: The URL that Kombu is at names none, or another cannot be read.
    """
    found = dict.fromkeys(_hosts(client.hostname, client.port, default_port))
    if not found:
        raise ConfigurationError(
            "the broker URL names no bootstrap server",
            remedy="write it as mqauths-kafka://PROVIDER@HOST[,HOST...]:PORT",
        )
    for url in client.alt or ():
        parsed = _parsed(url) if "://" in url else {}
        same = parsed.get("transport") == client.transport_cls
        if same and parsed["userid"] == client.userid:
            found |= dict.fromkeys(_hosts(parsed["hostname"], parsed["port"], default_port))
    return list(found)


def _parsed(url: str) -> Mapping[str, Any]:
    try:
        parsed: Mapping[str, Any] = parse_url(url)
    except ValueError:
        raise unreadable(url) from None
    return parsed


def _hosts(hosts: str | None, port: int | None, default: int) -> Iterable[tuple[str, int]]:
    return [(host, port or default) for host in (hosts or "localhost").split(",") if host]


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tls(given: Any, *, insecure: bool) -> dict[str, Any]:
    options = dict(given) if isinstance(given, Mapping) else {}
    known = {*_TLS_OPTIONS, "cert_reqs"}
    for key in sorted(options.keys() - known, key=str):
        raise ConfigurationError(
            f"broker_use_ssl has no option {str(key)[:60]!r} with Kafka",
            remedy=f"known options: {', '.join(sorted(known))}",
        )
    unusable = unusable_file(options)
    if unusable is not None:
        raise unusable
    verified = options.pop("cert_reqs", ssl.CERT_REQUIRED) == ssl.CERT_REQUIRED
    if not verified and not insecure:
        raise _unverified("broker_use_ssl")
    settings = {_TLS_OPTIONS[key]: str(value) for key, value in options.items() if value}
    return {
        "security.protocol": "SASL_SSL",
        _HOST_NAME_CHECK: "https",
        _VERIFICATION: verified,
        **settings,
    }


def _check_options(options: Mapping[str, Any], *, insecure: bool) -> None:
    warn_of_misspelt(options, OPTIONS)
    check_limits(options)
    for key in sorted(_SIGNS_IN & options.keys()):
        raise ConfigurationError(
            f"the transport option {key!r} contradicts the broker URL's scheme",
            remedy="take it out; mqauth signs in by itself",
        )
    for name in CLIENT_OPTIONS:
        given = options.get(name) or {}
        if not isinstance(given, Mapping):
            raise ConfigurationError(
                f"the transport option {name!r} is {kind_of(given)}",
                remedy="give a mapping of librdkafka's settings",
            )
        for key in given:
            if key in _SAID_ELSEWHERE or str(key).startswith("sasl."):
                raise ConfigurationError(
                    f"the setting {key!r} in {name!r} contradicts the broker URL",
                    remedy="take it out; the URL, broker_use_ssl and the options in "
                    f"{AUTH!r} say it",
                )
        if not insecure and not (verifies(given) and names(given)):
            raise _unverified(name)


def verifies(settings: Mapping[str, Any]) -> bool:
    """Return whether settings have the broker's certificate verified."""
    # librdkafka has several spellings of either, and what is none of them it refuses later.
    return str(settings.get(_VERIFICATION, True)).lower() in {"true", "t", "1"}


def names(settings: Mapping[str, Any]) -> bool:
    """Return whether settings have the name in the broker's certificate compared."""
    return str(settings.get(_HOST_NAME_CHECK, "https")).lower() == "https"


def _unverified(where: str) -> InsecureTransportError:
    return InsecureTransportError(
        f"{where} switches the verification of the broker's certificate off",
        remedy='name its CA with broker_use_ssl={"ca_certs": path} instead',
    )
