"""TLS options, as `TLS` of an alias and Celery's `broker_use_ssl` have them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.checks import CheckMessage

from django_mqauth.checks.kafka import check_kafka_tls
from django_mqauth.checks.messages import Place, error
from django_mqauth.kinds import kind_of
from mqauth.config.options import suggestion
from mqauth.config.small_file import check_readable, reason

_FILES = ("ca_certs", "certfile", "keyfile")
_KINDS = {"ciphers": str, "context": Mapping, "server_hostname": str}
_EXAMPLES = {
    "ciphers": 'names of OpenSSL, such as "ECDHE+AESGCM"',
    "context": 'a dict, such as {"cafile": "/path/to/ca.pem"}',
    "server_hostname": 'the name in the broker\'s certificate, such as "rabbit.example.com"',
}
_KAFKA_KEYS = (*_FILES, "cert_reqs")
_TLS_KEYS = (
    *_KAFKA_KEYS,
    "ciphers",
    "context",
    "do_handshake_on_connect",
    "server_hostname",
    "server_side",
    "suppress_ragged_eofs",
)

_ALONE = "there is no certfile beside it"
_ALONE_HINT = (
    "Name the PEM file of the certificate that the key belongs to as certfile, or take keyfile out."
)


def check_tls(
    where: Place, options: Mapping[str, Any], *, insecure: bool, kafka: bool = False
) -> Iterator[CheckMessage]:
    """Check TLS options: spelled right, verifying, and with files that are there."""
    found = list(_check(where, options, insecure=insecure, kafka=kafka))
    yield from found
    if kafka and not found:
        yield from check_kafka_tls(where, options, insecure=insecure)


def _check(
    where: Place, options: Mapping[str, Any], *, insecure: bool, kafka: bool
) -> Iterator[CheckMessage]:
    known, whose = (_KAFKA_KEYS, " with Kafka") if kafka else (_TLS_KEYS, "")
    for key in options:
        if key not in known:
            yield error(
                10,
                f"{where} has an option {str(key)[:60]!r}{suggestion(str(key), known)}.",
                f"Correct it, or take it out; there are {', '.join(known)}{whose}.",
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
        problem = _unusable(options, key)
        if problem:
            yield error(
                12,
                f"{where[key]} names {str(options[key])[:200]}, which cannot be used: {problem}.",
                _ALONE_HINT
                if problem == _ALONE
                else "Name a PEM file that the server's user may read, with what its name "
                "promises.",
                where=where[key],
            )
    for key, kind in _KINDS.items() if not kafka else ():
        problem = _unfit(options.get(key), kind)
        if key == "ciphers" and _no_ciphers(options.get(key)):
            problem = "names no cipher that OpenSSL has"
        if problem:
            yield error(
                29,
                f"{where[key]} {problem}.",
                f"Write {_EXAMPLES[key]}, or take it out.",
                where=where[key],
            )


def _unfit(value: Any, kind: type) -> str | None:
    """Return what is wrong with the kind of an option."""
    if value is None:
        return None
    if not isinstance(value, kind):
        return f"is {kind_of(value)}"
    if not value and kind is str:
        return "is empty"
    return None


def _no_ciphers(names: object) -> bool:
    try:
        if isinstance(names, str) and names:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(names)
    except ssl.SSLError:
        return True
    return False


def _verifies(options: Mapping[str, Any]) -> bool:
    context = options.get("context")
    return options.get("cert_reqs", ssl.CERT_REQUIRED) == ssl.CERT_REQUIRED and (
        not isinstance(context, Mapping) or bool(context.get("check_hostname", True))
    )


def _unusable(options: Mapping[str, Any], key: str) -> str | None:
    path = options.get(key)
    return None if path is None else _unreadable(path) or _unfit_for(options, key, path)


def _unfit_for(options: Mapping[str, Any], key: str, path: Any) -> str | None:
    """Return why a file that can be read is not what its option's name promises."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if key == "ca_certs":
            context.load_verify_locations(path)
        elif key == "certfile":
            beside = options.get("keyfile")
            if beside is None or not _unreadable(beside):  # else that one is told
                context.load_cert_chain(path, beside, password="")
        elif "certfile" not in options:
            return _ALONE
    except ssl.SSLError as failure:
        return failure.reason or "it holds no certificate"
    except OSError as failure:
        return failure.strerror
    return None


def _unreadable(path: Any) -> str | None:
    try:
        check_readable(path)
    except OSError as failure:
        return reason(failure)
    return None
