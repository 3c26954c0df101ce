"""Keeps secrets that somebody wrote into the settings from being shown by others.

`diffsettings` prints settings as they are, and so does many a debugging tool. What ought not to be
there, and what the system checks complain about, is at least not shown.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Self

from django.conf import settings

from django_mqauth.broker_address import RedactedURL, holds_password, without_login
from django_mqauth.conf import SETTING
from mqauth.config.options import option_keys
from mqauth.config.registry import provider_class, provider_names
from mqauth.errors import ConfigurationError
from mqauth.secret import Secret

_SOUNDS_SECRET = ("secret", "password", "token", "private_key")


class InlineSecret(Secret):
    """A secret that stands in the settings in plain text."""

    __slots__ = ()

    def __copy__(self) -> Self:
        """Return itself: it never changes."""
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        """Return itself: it never changes."""
        return self


def redact_setting() -> None:
    """Wrap the secrets of `MQAUTH` where they stand."""
    aliases = getattr(settings, SETTING, None)
    if not isinstance(aliases, MutableMapping):
        return
    for entry in aliases.values():
        if isinstance(entry, MutableMapping):
            _redact(entry)


def _redact(entry: MutableMapping[str, Any]) -> None:
    broker, options = entry.get("BROKER"), entry.get("OPTIONS")
    if isinstance(broker, str) and holds_password(broker):
        entry["BROKER"] = RedactedURL(without_login(broker))
    elif isinstance(broker, list):
        entry["BROKER"] = [
            RedactedURL(without_login(url)) if isinstance(url, str) and holds_password(url) else url
            for url in broker
        ]
    if isinstance(options, MutableMapping):
        for name in secret_options(entry.get("PROVIDER")) | _by_sound(options):
            if isinstance(options.get(name), str) and options[name]:
                options[name] = InlineSecret(options[name])
    _redact_by_sound(entry.get("TRANSPORT_OPTIONS"))


def _redact_by_sound(options: object) -> None:
    if not isinstance(options, MutableMapping):
        return
    for name in _by_sound(options):
        if isinstance(options[name], str) and options[name]:
            options[name] = InlineSecret(options[name])
    for value in options.values():
        _redact_by_sound(value)


def secret_options(provider: object) -> set[str]:
    """Return the options of a provider that hold a secret themselves."""
    if not isinstance(provider, str) or provider not in provider_names():
        return set()
    try:
        keys = option_keys(provider_class(provider))
    except ConfigurationError:
        return set()
    return {key for key, option in keys.items() if option.secret and key == option.name}


def _by_sound(options: MutableMapping[Any, Any]) -> set[str]:
    """Return what sounds secret: a misspelt or unknown provider has options as well."""
    return {name for name in options if isinstance(name, str) and name.endswith(_SOUNDS_SECRET)}
