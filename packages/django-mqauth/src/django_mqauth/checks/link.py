"""`BROKER`: whether the way to a broker is one, and safe for a credential."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage

from django_mqauth import conf
from django_mqauth.broker_address import Address, HoldsPasswordError, addresses
from django_mqauth.checks.messages import Place, error, warning
from mqauth.config.option_values import parse_bool
from mqauth.errors import ConfigurationError

_MANAGEMENT = {
    (tls, port): "RabbitMQ's management" for tls in (True, False) for port in (15671, 15672)
}
_OTHER_PORTS = {
    (True, 5672): "plain AMQP, which amqp:// stands for",
    (False, 5671): "AMQP over TLS: write amqps://",
    **_MANAGEMENT,
    **{(tls, port): "Kafka" for tls in (True, False) for port in range(9092, 9099)},
}
"""What listens on ports that are mistaken for AMQP's, with and without TLS."""
_OTHER_PORTS_THAN_KAFKA_S = {
    **{(tls, port): "AMQP" for tls in (True, False) for port in (5671, 5672)},
    (False, 9098): "Kafka over TLS: write mqauths-kafka://",
    **_MANAGEMENT,
}
"""The same of Kafka's, whose listeners have many a port: only what is surely something else."""


def check_broker(name: str, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Check where an alias signs in."""
    where = Place(conf.SETTING)[name]["BROKER"]
    if not entry.get("BROKER"):
        yield error(
            6,
            f"{where} is missing.",
            'Write the broker\'s URL, such as "amqps://rabbit.example.com/prod", or set '
            f"{conf.environment_prefix(name)}BROKER in the environment.",
            where=where,
        )
        return
    try:
        found = addresses(entry["BROKER"])
    except ConfigurationError as problem:
        remedy = problem.remedy or ""
        yield error(
            8 if isinstance(problem, HoldsPasswordError) else 7,
            f"{where} {problem.message}.",
            f"{remedy[:1].upper()}{remedy[1:]}.",
            where=where,
        )
        return
    yield from check_protection(where, found, insecure=is_insecure(entry))
    for address in found:
        others = _OTHER_PORTS_THAN_KAFKA_S if address.kafka else _OTHER_PORTS
        other = others.get((address.tls, address.port or 0))
        if other:
            right = (
                "of the listener that takes OAUTHBEARER: often 9098 with TLS, 9092 without"
                if address.kafka
                else "on which the broker speaks AMQP: 5671 with TLS, 5672 without"
            )
            yield warning(
                10,
                f"{where} leads to port {address.port}, which usually is that of {other}.",
                f"Take the port out, or write that {right}.",
                where=where,
            )


def check_protection(
    where: Place, found: tuple[Address, ...], *, insecure: bool
) -> Iterator[CheckMessage]:
    """Check that a credential does not cross a network in clear."""
    for address in found:
        if address.tls or is_loopback(address.host) or insecure:
            continue
        scheme = "mqauths-kafka://" if address.kafka else "amqps://"
        if settings.DEBUG:
            yield warning(
                4,
                f"{where} leads to {address.host} in clear text; no credential is sent there.",
                f'Write {scheme}, or say "insecure": True in OPTIONS if the network is safe.',
                where=where,
            )
        else:
            yield error(
                9,
                f"{where} leads to {address.host} in clear text.",
                f"Write {scheme}: everybody on the way can read a credential. If the network is "
                'safe, say "insecure": True in OPTIONS.',
                where=where,
            )


def is_loopback(host: str) -> bool:
    """Return whether a host is this very one."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_insecure(entry: Mapping[str, Any]) -> bool:
    """Return whether somebody said `insecure` for an alias."""
    try:
        return parse_bool(conf.entry_of(entry).get("insecure", False))
    except ValueError:
        return False


def leads_to_kafka(entry: Mapping[str, Any]) -> bool:
    """Return whether an alias is one on Kafka."""
    try:
        return any(address.kafka for address in addresses(entry.get("BROKER")))
    except ConfigurationError:
        return False
