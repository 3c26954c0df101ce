"""Whether a link is fit for a credential: TLS that verifies its peer, or loopback."""

from __future__ import annotations

import inspect
import ipaddress
import os
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from amqp.transport import SSLTransport

from mqauth.config.small_file import check_readable, reason
from mqauth.errors import ConfigurationError, InsecureTransportError
from mqauth.host_names import is_host_name
from mqauth.wording import kind_of

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
        ConfigurationError: There is no such TLS option, or it cannot have that value.
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
        return _unusable("ca_certs", given["ca_certs"], reason_of_tls(error, "no certificates"))
    try:
        if "certfile" in given:
            context.load_cert_chain(given["certfile"], given.get("keyfile"))
    except ssl.SSLError as error:
        why = reason_of_tls(error, "no certificate and key")
        return _unusable("certfile", given["certfile"], why)
    return None


def reason_of_tls(error: ssl.SSLError, otherwise: str | None = None) -> str:
    """Return OpenSSL's reason, which Python's own errors of this class do not have.

    Args:
        error: The error.
        otherwise: What to say without a reason; None for the error's own words.
    """
    words = error.args[-1] if error.args else type(error).__name__
    return str(getattr(error, "reason", None) or otherwise or words)


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
        _check_paths(context, "context.")
    _check_paths(options)
    _check_ciphers(options.get("ciphers"))
    verifies = options.get("cert_reqs", ssl.CERT_REQUIRED) == ssl.CERT_REQUIRED
    if not insecure and not (verifies and (context or {}).get("check_hostname", True)):
        raise InsecureTransportError(
            "broker_use_ssl switches the verification of the broker's certificate off",
            remedy='name its CA with {"ca_certs": path} instead',
        )
    if options.get("server_hostname") is None:
        options["server_hostname"] = host
    name = options["server_hostname"]
    if not isinstance(name, str) or not is_host_name(name):
        raise ConfigurationError(
            "the option server_hostname of broker_use_ssl is no host name",
            remedy="write the name that the broker's certificate bears, or leave it out",
        )
    return options


def _check_paths(options: Mapping[str, Any], where: str = "") -> None:
    """Refuse what no library takes as a path; whether the files are well is seen on connecting."""
    for key in (*_FILES, "cafile", "capath"):
        path = options.get(key)
        if path is None:
            continue
        if not isinstance(path, str | bytes | os.PathLike):
            raise _unusable(where + key, path, f"it is {kind_of(path)}")
        if not _is_path(path):
            raise _unusable(where + key, ascii(path), "no path has such characters")


def _is_path(path: str | bytes | os.PathLike[Any]) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeError:
        return False


def _check_ciphers(ciphers: object) -> None:
    if ciphers is None:
        return
    problem = f"it is {kind_of(ciphers)}"
    if isinstance(ciphers, str):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(ciphers)
        except (ssl.SSLError, ValueError):
            problem = "this host's OpenSSL knows none of them"
        else:
            return
    raise ConfigurationError(
        f"the option ciphers of broker_use_ssl cannot be used: {problem}",
        remedy="write a list in OpenSSL's format, or leave it out",
    )


def _refuse_unknown(options: Mapping[str, Any], taker: Callable[..., Any], besides: str) -> None:
    known = {*inspect.signature(taker).parameters, besides}
    for key in sorted(options.keys() - known, key=str):
        raise ConfigurationError(
            f"broker_use_ssl has no option {str(key)[:60]!r} here",
            remedy=f"known options: {', '.join(sorted(known - {'self', 'sock', 'server_side'}))}",
        )
