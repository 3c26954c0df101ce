"""Keeps secrets that somebody wrote into the settings from being shown by others.

`diffsettings` prints settings as they are, and so does many a debugging tool. What ought not to be
there, and what the system checks complain about, is at least not shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Self

from django.conf import global_settings, settings

from django_mqauth.broker_address import MaskedURL, RedactedURL, holds_password, without_login
from django_mqauth.conf import SETTING, option
from mqauth.config.options import option_keys
from mqauth.config.registry import provider_class, provider_names
from mqauth.errors import ConfigurationError
from mqauth.secret import REDACTED, Secret

BROKER_URLS = ("BROKER_URL", "BROKER_READ_URL", "BROKER_WRITE_URL")
"""Celery's settings that lead to a broker."""
_DJANGO_S_FILTER = global_settings.DEFAULT_EXCEPTION_REPORTER_FILTER
_SOUNDS_SECRET = ("secret", "password", "passwd", "passphrase", "token", "private_key")


class InlineSecret(Secret):
    """A secret that stands in the settings in plain text."""

    __slots__ = ()

    def __copy__(self) -> Self:
        """Return itself: it never changes."""
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        """Return itself: it never changes."""
        return self


class MaskedText(str):
    """Text that somebody else's library needs as it is, and that does not show itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return what it is replaced by wherever it is looked at."""
        return repr(REDACTED)


def redact_settings() -> None:
    """Hide the secrets of `MQAUTH` and of what Celery is told about its broker where they stand."""
    aliases = getattr(settings, SETTING, None)
    if isinstance(aliases, MutableMapping):
        for name, entry in aliases.items():
            if isinstance(entry, MutableMapping):
                _redact(entry)
            else:
                aliases[name] = _redacted_url(entry)
    elif aliases is not None:
        for entry in aliases if isinstance(aliases, list | tuple) else ():
            _redact_by_sound(entry)
        _replace(SETTING, _redacted_url(aliases))
    for key in celery_settings(*BROKER_URLS):
        _replace(key, _masked_url(getattr(settings, key)))
    for key in celery_settings("BROKER_PASSWORD"):
        _replace(key, _masked_text(getattr(settings, key)))
    for key in celery_settings("BROKER_TRANSPORT_OPTIONS"):
        _redact_kombu(getattr(settings, key))
    if settings.DEFAULT_EXCEPTION_REPORTER_FILTER == _DJANGO_S_FILTER:
        settings.DEFAULT_EXCEPTION_REPORTER_FILTER = "django_mqauth.error_page.URLReporterFilter"


def celery_settings(*names: str) -> Iterator[str]:
    """Return which of Celery's settings of these names there are, in its namespace."""
    namespace = option("CELERY_NAMESPACE")
    if isinstance(namespace, str):
        for name in names:
            if getattr(settings, f"{namespace}_{name}", None) is not None:
                yield f"{namespace}_{name}"


def secrets_within(options: object) -> Iterator[tuple[Any, ...]]:
    """Return where something that sounds secret stands in the settings in plain text."""
    for where, mapping in _each_mapping(options):
        for name, value in mapping.items():
            if _sounds_secret(name) and value and isinstance(value, str | InlineSecret):
                yield (*where, name)


def _each_mapping(options: object) -> Iterator[tuple[tuple[Any, ...], Mapping[Any, Any]]]:
    """Return each mapping within once, and where: settings may hold themselves, or be deep."""
    waiting: list[tuple[tuple[Any, ...], object]] = [((), options)]
    seen: set[int] = set()
    while waiting:
        where, found = waiting.pop()
        if isinstance(found, Mapping) and id(found) not in seen:
            seen.add(id(found))
            yield where, found
            waiting += reversed([((*where, name), value) for name, value in found.items()])


def _replace(key: str, value: object) -> None:
    if value is not getattr(settings, key):
        setattr(settings, key, value)


def _redact(entry: MutableMapping[str, Any]) -> None:
    provider, options = entry.get("PROVIDER"), entry.get("OPTIONS")
    if "BROKER" in entry:
        entry["BROKER"] = _redacted_url(entry["BROKER"])
    if isinstance(options, MutableMapping):
        for name in secret_options(provider) & options.keys():
            options[name] = _secret(options[name])
    _redact_kombu(entry.get("TRANSPORT_OPTIONS"))
    for name in entry.keys() - {"TRANSPORT_OPTIONS"}:
        if _sounds_secret(name):
            entry[name] = _secret(entry[name])
        else:
            _redact_by_sound(entry[name])


def _redact_kombu(options: object) -> None:
    """Hide what Kombu and librdkafka need as it is; what `auth` holds is ours."""
    for mapping in _each_mutable(options):
        for name, value in mapping.items():
            if name == "auth" and isinstance(value, MutableMapping):
                for each in plain_secrets(value):  # ours, so that it may be a Secret
                    value[each] = _secret(value[each])
                _redact_by_sound(value)
            elif _sounds_secret(name):
                mapping[name] = _masked_text(value)


def _redact_by_sound(options: object) -> None:
    """Wrap what sounds secret: a misspelt or unknown provider has options as well."""
    for mapping in _each_mutable(options):
        for name, value in mapping.items():
            if _sounds_secret(name):
                mapping[name] = _secret(value)


def _each_mutable(options: object) -> Iterator[MutableMapping[Any, Any]]:
    return (found for _, found in _each_mapping(options) if isinstance(found, MutableMapping))


def _secret(value: Any) -> Any:
    return InlineSecret(value) if isinstance(value, str) and value else value


def _masked_text(value: Any) -> Any:
    return MaskedText(value) if type(value) is str and value else value


def _masked_url(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_masked_url, value)) if any(map(_shows, value)) else value
    return MaskedURL(value) if _shows(value) else value


def _redacted_url(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_redacted_url, value))
    return RedactedURL(without_login(value)) if _shows(value) else value


def _shows(url: object) -> bool:
    return type(url) is str and holds_password(url)


def secret_options(provider: object) -> set[str]:
    """Return the options of a provider that hold a secret themselves."""
    if not isinstance(provider, str) or provider not in provider_names():
        return set()
    try:
        keys = option_keys(provider_class(provider))
    except ConfigurationError:
        return set()
    return {key for key, option in keys.items() if option.secret and key == option.name}


def plain_secrets(options: Mapping[str, Any]) -> set[str]:
    """Return the options that any provider holds for secret and that stand there in plain text."""
    declared: set[str] = set().union(*map(secret_options, provider_names()))
    return {
        name
        for name in declared & options.keys()
        if options[name] and isinstance(options[name], str | InlineSecret)
    }


def _sounds_secret(name: object) -> bool:
    return isinstance(name, str) and name.lower().endswith(_SOUNDS_SECRET)
