"""Turns what Kombu knows about a connection into a source and safe connection options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery_mqauth.auth_options import AuthOptions
from mqauth.config.hiding import hidden, plain
from mqauth.config.resolution import secret_options
from mqauth.config.source_settings import SETTINGS
from mqauth.errors import ConfigurationError, MQAuthError
from mqauth.hosts import derived_from_host
from mqauth.provider import Provider
from mqauth.shared import SharedSource, shared_source
from mqauth.wording import kind_of

AUTH = "auth"
"""Key of the provider's options in `broker_transport_options`."""
CONNECT_TIMEOUT = 10.0
"""Seconds, where neither Celery nor Kombu set a time limit."""

_SIGNS_IN = frozenset(
    {"authentication", "login_method", "login_response", "password", "userid"}
    | {"credentials", "source", "frame_writer"}
)
_BESIDE_AUTH = frozenset({"provider", *SETTINGS} - {"timeout"})
"""What is read inside of `auth` alone; Kombu reads a `timeout` of its own beside it."""
_SAID_ELSEWHERE = frozenset({"host", "ssl", "virtual_host"})


def source_for(client: Any) -> SharedSource:
    """Return the process's source for the identity that a Kombu connection names.

    Raises:
        ConfigurationError: Nobody is named, a secret stands in the URL, or options do not fit.
        UnknownProviderError: Neither a provider nor a named entry has that name.
    """
    given = (client.transport_options or {}).get(AUTH) or {}
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"the transport option {AUTH!r} is {kind_of(given)}",
            remedy="give a mapping of provider options",
        )
    # Whoever reports an error with the variables of its frames shows no secret.
    auth = given = hidden(given)
    if client.password:
        raise ConfigurationError(
            "the broker URL holds a password",
            remedy="take it out, and out of the places it has been copied to; the part before @ "
            "only names who signs in",
        )
    name = _who_signs_in(client.userid, plain(auth.pop("provider", None)))
    return shared_source(name, explicit=auth, derived=derived_from_host(client.hostname))


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


def hide_inline_secrets(client: Any) -> None:
    """Keep secrets among a Kombu connection's options out of its `info()`.

    What whose options they are cannot be told of is hidden altogether.
    """
    auth = (client.transport_options or {}).get(AUTH)
    if not isinstance(auth, Mapping) or isinstance(auth, AuthOptions):
        return
    secret = _secret_options(client.userid or auth.get("provider"), auth)
    hidden = auth.keys() if secret is None else secret
    client.transport_options = {**client.transport_options, AUTH: AuthOptions(auth, hidden)}


def _secret_options(name: str | None, auth: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the names of options that hold secrets; None if nobody knows whose they are."""
    try:
        return secret_options(name, auth) if name else None
    except MQAuthError:
        return None


def without_secrets_shown(transport_options: Any, provider: Provider) -> Any:
    """Return equal transport options whose secrets do not show in `repr`, logs and messages."""
    auth = (transport_options or {}).get(AUTH)
    if not auth:
        return transport_options
    secret = {option.name for option in provider.options if option.secret}
    if isinstance(auth, AuthOptions):  # on a failover list, each URL may name another provider
        secret |= auth.secret
    return {**transport_options, AUTH: AuthOptions(auth, secret)}


def broker_options(transport_options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the transport options that are meant for py-amqp's connection.

    Raises:
        ConfigurationError: One of them would sign in by other means, or somewhere else, or is a
            setting of `auth`.
    """
    options = {k: v for k, v in (transport_options or {}).items() if k != AUTH}
    for key in sorted(_BESIDE_AUTH & options.keys()):
        raise ConfigurationError(
            f"the transport option {key!r} stands beside {AUTH!r}, where nobody reads it",
            remedy=f"write it inside {AUTH!r}",
        )
    for key in sorted(_SIGNS_IN & options.keys()):
        raise ConfigurationError(
            f"the transport option {key!r} contradicts the broker URL's scheme",
            remedy="take it out; mqauth signs in by itself",
        )
    for key in sorted(_SAID_ELSEWHERE & options.keys()):
        raise ConfigurationError(
            f"the transport option {key!r} contradicts the broker URL",
            remedy="take it out; the URL and broker_use_ssl say it",
        )
    return options
