"""`BROKER` and `TLS`: whether the way to a broker is one, and safe for a credential."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage

from django_mqauth import conf
from django_mqauth.broker_address import Address, addresses
from django_mqauth.checks.messages import Place, error, warning
from mqauth.config.option_values import parse_bool
from mqauth.config.options import suggestion
from mqauth.errors import ConfigurationError

_FILES = ("ca_certs", "certfile", "keyfile")
_TLS_KEYS = (
    *_FILES,
    "cert_reqs",
    "ciphers",
    "context",
    "do_handshake_on_connect",
    "server_hostname",
    "server_side",
    "suppress_ragged_eofs",
)


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


def check_tls(
    where: Place, options: Mapping[str, Any], *, insecure: bool
) -> Iterator[CheckMessage]:
    """Check TLS options: spelled right, verifying, and with files that are there."""
    for key in options:
        if key not in _TLS_KEYS:
            yield error(
                10,
                f"{where} has an option {str(key)[:60]!r}{suggestion(str(key), _TLS_KEYS)}.",
                f"Correct it; there are {', '.join(_TLS_KEYS)}.",
                where=where,
            )
    if not insecure and not _verifies(options):
        yield error(
            11,
            f"{where} switches the verification of the broker's certificate off.",
            'Take cert_reqs out and name the authority: {"ca_certs": "/path/to/ca.pem"}. If the '
            'network is safe, say "insecure": True in OPTIONS.',
            where=where,
        )
    for key in _FILES:
        problem = _unreadable(options.get(key))
        if problem:
            yield error(
                12,
                f"{where[key]} names {str(options[key])[:200]}, which cannot be read: {problem}.",
                "Name a PEM file that the server's user may read.",
                where=where[key],
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


def _verifies(options: Mapping[str, Any]) -> bool:
    context = options.get("context")
    return options.get("cert_reqs", ssl.CERT_REQUIRED) == ssl.CERT_REQUIRED and (
        not isinstance(context, Mapping) or context.get("check_hostname", True) is not False
    )


def _unreadable(path: Any) -> str | None:
    if path is None:
        return None
    try:
        with Path(path).open("rb"):
            return None
    except OSError as failure:
        return failure.strerror
    except TypeError:
        return f"it is a {type(path).__name__}"
