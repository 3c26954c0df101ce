"""Turns what Kombu knows about a connection into a source and safe connection options."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from typing import Any

from mqauth.amazonmq import region_from_host
from mqauth.errors import ConfigurationError, InsecureTransportError
from mqauth.shared import SharedSource, shared_source

AUTH = "auth"
"""Key of the provider's options in `broker_transport_options`."""
CONNECT_TIMEOUT = 10.0
"""Seconds, where neither Celery nor Kombu set a time limit."""


def source_for(client: Any) -> SharedSource:
    """Return the process's source for the identity that a Kombu connection names.

    Raises:
        ConfigurationError: Nobody is named, a secret stands in the URL, or options do not fit.
        UnknownProviderError: Neither a provider nor a named entry has that name.
    """
    auth = (client.transport_options or {}).get(AUTH) or {}
    if not isinstance(auth, Mapping):
        raise ConfigurationError(
            f"the transport option {AUTH!r} is a {type(auth).__name__}",
            remedy="give a mapping of provider options",
        )
    if client.password:
        raise ConfigurationError(
            "the broker URL holds a password",
            remedy="take it out, and out of the places it has been copied to; the part before @ "
            "only names who signs in",
        )
    options = dict(auth)
    name = _who_signs_in(client.userid, options.pop("provider", None))
    region = region_from_host(client.hostname or "")
    return shared_source(name, explicit=options, derived={"region": region} if region else {})


def _who_signs_in(user_part: str | None, provider: str | None) -> str:
    if user_part and provider and user_part != provider:
        raise ConfigurationError(
            f"the broker URL names {user_part!r} and the options name {provider!r}",
            remedy="name who signs in once",
        )
    name = user_part or provider
    if not name:
        raise ConfigurationError(
            "the broker URL does not say who signs in",
            remedy="put a provider before the host, as in mqauths://oauth2@host/vhost",
        )
    return name


def broker_options(transport_options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the transport options that are meant for py-amqp's connection.

    Raises:
        ConfigurationError: One of them would sign in by other means.
    """
    options = {k: v for k, v in (transport_options or {}).items() if k != AUTH}
    if "authentication" in options:
        raise ConfigurationError(
            "the transport option 'authentication' contradicts the broker URL's scheme",
            remedy="take it out; mqauth signs in by itself",
        )
    return options


def link_protection(given: Any, host: str, *, insecure: bool) -> dict[str, Any] | bool:
    """Return py-amqp's TLS options, or False for a plain link that may be one.

    Args:
        given: Celery's `broker_use_ssl`: False, True, or a dict such as `{"ca_certs": path}`.
        host: The name that the broker's certificate must bear.
        insecure: Whether the user allows a credential to travel unprotected.

    Raises:
        InsecureTransportError: The link is not safe and nobody said `insecure`.
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


def _tls_options(given: Any, host: str, *, insecure: bool) -> dict[str, Any]:
    options = dict(given) if isinstance(given, Mapping) else {}
    if options.get("cert_reqs", ssl.CERT_REQUIRED) != ssl.CERT_REQUIRED and not insecure:
        raise InsecureTransportError(
            "broker_use_ssl switches the verification of the broker's certificate off",
            remedy='name its CA with {"ca_certs": path} instead',
        )
    if options.get("server_hostname") is None and "context" not in options:
        options["server_hostname"] = host
    return options
