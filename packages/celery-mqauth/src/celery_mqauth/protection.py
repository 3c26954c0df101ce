"""Whether a link is fit for a credential: TLS that verifies its peer, or loopback."""

from __future__ import annotations

import inspect
import ipaddress
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from amqp.transport import SSLTransport

from mqauth.config.small_file import check_readable, reason
from mqauth.errors import ConfigurationError, InsecureTransportError

_PLAIN_OPTIONS = SSLTransport._wrap_socket_sni  # noqa: SLF001 - whose keywords they are
_FILES = ("ca_certs", "certfile", "keyfile")


def link_protection(given: Any, host: str, *, insecure: bool) -> dict[str, Any] | bool:
    """Return py-amqp's TLS options, or False for a plain link that may be one.

    Args:
        given: Celery's `broker_use_ssl`: False, True, or a dict such as `{"ca_certs": path}`.
        host: The name that the broker's certificate must bear.
        insecure: Whether the user allows a credential to travel unprotected.

    Raises:
        InsecureTransportError: The link is not safe and nobody said `insecure`.
        ConfigurationError: There is no such TLS option.
    """
    if given is not None and given is not False:
        return _tls_options(given, host, insecure=insecure)
    if not insecure and not is_loopback(host):
        raise InsecureTransportError(
            f"a credential would be sent to {host} in clear text",
            remedy='use mqauths://, or say {"auth": {"insecure": true}} if the network is safe',
        )
    return False


def is_loopback(host: str) -> bool:
    """Return whether `host` names this host by a loopback name or address."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def unusable_file(options: Any) -> ConfigurationError | None:
    """Return what is wrong with the files that TLS options name, if anything is."""
    given = {key: options[key] for key in _FILES if isinstance(options, dict) and options.get(key)}
    for key, path in given.items():
        try:
            check_readable(path)
        except OSError as error:
            return _unusable(key, path, reason(error))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if "ca_certs" in given:
            context.load_verify_locations(given["ca_certs"])
    except ssl.SSLError as error:
        return _unusable("ca_certs", given["ca_certs"], error.reason or "no certificates")
    try:
        if "certfile" in given:
            context.load_cert_chain(given["certfile"], given.get("keyfile"))
    except ssl.SSLError as error:
        return _unusable("certfile", given["certfile"], error.reason or "no certificate and key")
    return None


def _unusable(key: str, path: object, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the file {path} that broker_use_ssl names as {key} cannot be used: {why}",
        remedy="name a PEM file that this user may read",
    )


def _tls_options(given: Any, host: str, *, insecure: bool) -> dict[str, Any]:
    options = dict(given) if isinstance(given, Mapping) else {}
    context = options.get("context")
    _refuse_unknown(options, ssl.SSLContext.wrap_socket if context else _PLAIN_OPTIONS, "context")
    if context:
        _refuse_unknown(context, ssl.create_default_context, "check_hostname")
        # py-amqp leaves the host name unchecked here, and the handshake without time limit.
        options["context"] = context = {"check_hostname": True, **context}
        options.setdefault("do_handshake_on_connect", False)
    verifies = options.get("cert_reqs", ssl.CERT_REQUIRED) == ssl.CERT_REQUIRED
    if not insecure and not (verifies and (context or {}).get("check_hostname", True)):
        raise InsecureTransportError(
            "broker_use_ssl switches the verification of the broker's certificate off",
            remedy='name its CA with {"ca_certs": path} instead',
        )
    if options.get("server_hostname") is None:
        options["server_hostname"] = host
    return options


def _refuse_unknown(options: Mapping[str, Any], taker: Callable[..., Any], besides: str) -> None:
    known = {*inspect.signature(taker).parameters, besides}
    for key in sorted(options.keys() - known, key=str):
        raise ConfigurationError(
            f"broker_use_ssl has no option {str(key)[:60]!r} here",
            remedy=f"known options: {', '.join(sorted(known - {'self', 'sock', 'server_side'}))}",
        )
