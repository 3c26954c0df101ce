"""`BROKER`: whether the way to a broker is one, and safe for a credential."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage

from django_mqauth import conf
from django_mqauth.broker_address import Address, addresses
from django_mqauth.checks.messages import Place, error, warning
from mqauth.config.option_values import parse_bool
from mqauth.errors import ConfigurationError

_OTHER_PORTS = {
    (True, 5672): "plain AMQP, which amqp:// stands for",
    (False, 5671): "AMQP over TLS: write amqps://",
    **{(tls, port): "RabbitMQ's management" for tls in (True, False) for port in (15671, 15672)},
    **{(tls, port): "Kafka" for tls in (True, False) for port in range(9092, 9099)},
}
"""What listens on ports that are mistaken for AMQP's, with and without TLS."""


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
        secret = "password" in problem.message
        remedy = problem.remedy or ""
        yield error(
            8 if secret else 7,
            f"{where} {problem.message}.",
            f"{remedy[:1].upper()}{remedy[1:]}.",
            where=where,
        )
        return
    yield from check_protection(where, found, insecure=is_insecure(entry))
    for address in found:
        other = _OTHER_PORTS.get((address.tls, address.port or 0))
        if other:
            yield warning(
                10,
                f"{where} leads to port {address.port}, which usually is that of {other}.",
                "Take the port out, or write that on which the broker speaks AMQP: 5671 with TLS, "
                "5672 without.",
                where=where,
            )


def check_protection(
    where: Place, found: tuple[Address, ...], *, insecure: bool
) -> Iterator[CheckMessage]:
    """Check that a credential does not cross a network in clear."""
    for address in found:
        if address.tls or is_loopback(address.host) or insecure:
            continue
        if settings.DEBUG:
            yield warning(
                4,
                f"{where} leads to {address.host} in clear text; no credential is sent there.",
                'Write amqps://, or say "insecure": True in OPTIONS if the network is safe.',
                where=where,
            )
        else:
            yield error(
                9,
                f"{where} leads to {address.host} in clear text.",
                "Write amqps://: everybody on the way can read a credential. If the network is "
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
