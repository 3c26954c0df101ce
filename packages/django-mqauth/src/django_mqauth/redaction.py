"""Keeps secrets that somebody wrote into the settings from being shown by others.

`diffsettings` prints settings as they are, and so does many a debugging tool. What ought not to be
there, and what the system checks complain about, is at least not shown.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from django.conf import global_settings, settings

from django_mqauth.broker_address import (
    MaskedURL,
    RedactedURL,
    holds_password,
    masked_within,
    without_login,
)
from django_mqauth.conf import SETTING, option
from mqauth.config.options import option_keys
from mqauth.config.registry import provider_class, provider_names
from mqauth.errors import ConfigurationError
from mqauth.secret import REDACTED, Secret

BROKER_URLS = ("BROKER_URL", "BROKER_READ_URL", "BROKER_WRITE_URL")
"""Celery's settings that lead to a broker."""
_DJANGO_S_FILTER = global_settings.DEFAULT_EXCEPTION_REPORTER_FILTER
_SOUNDS_SECRET = ("secret", "password", "passwd", "passphrase", "token", "private_key")
_LEADS_TO_IT = ("_file", "_path", "_url", "_endpoint")
_ALIKE = 0.8
"""How alike to a secret's name an option is that was meant to be it; `path` is less."""


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


class MaskedBytes(bytes):
    """The same for bytes, which are no secret that anybody takes, but are one all the same."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return what they are replaced by wherever they are looked at."""
        return repr(REDACTED.encode())


@dataclass(frozen=True, slots=True)
class _Rules:
    """What is hidden, and how.

    Args:
        is_secret: Tells by a key's name.
        wrap: Hides a text.
        within: Other rules for what stands under a key.
    """

    is_secret: Callable[[object], bool]
    wrap: Callable[[str], str | Secret]
    within: Mapping[str, _Rules] = field(default_factory=dict)


def redact_settings() -> None:
    """Hide the secrets of `MQAUTH` and of what Celery is told about its broker where they stand."""
    aliases = getattr(settings, SETTING, None)
    if aliases is not None:
        _replace(SETTING, _redacted_aliases(aliases))
    for key in celery_settings(*BROKER_URLS):
        _replace(key, _masked_url(getattr(settings, key)))
    for key in celery_settings("BROKER_PASSWORD"):
        _replace(key, _masked_text(getattr(settings, key)))
    for key in celery_settings("BROKER_TRANSPORT_OPTIONS"):
        options = _mutable(getattr(settings, key))
        _redact_within(options, _KOMBU)
        _replace(key, options)
    if settings.DEFAULT_EXCEPTION_REPORTER_FILTER == _DJANGO_S_FILTER:
        settings.DEFAULT_EXCEPTION_REPORTER_FILTER = "django_mqauth.error_page.URLReporterFilter"


def _redacted_aliases(given: Any) -> Any:
    aliases = _mutable(given)
    if isinstance(aliases, MutableMapping):
        for name in aliases:
            aliases[name] = _redacted_alias(_mutable(aliases[name]))
        return aliases
    aliases = _redacted_url(aliases)
    _redact_within(aliases, _BY_NAME)
    return aliases


def _redacted_alias(entry: Any) -> Any:
    if isinstance(entry, MutableMapping):
        _redact(entry)
    else:
        _redact_within(entry, _BY_NAME)
    return entry if isinstance(entry, Mapping | list) else _redacted_url(entry)


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
        if not isinstance(found, Mapping | list | tuple) or id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, Mapping):
            yield where, found
        waiting += reversed([((*where, name), value) for name, value in _items(found)])


def _replace(key: str, value: object) -> None:
    if value is not getattr(settings, key):
        setattr(settings, key, value)


def _redact(entry: MutableMapping[str, Any]) -> None:
    """Hide what an alias holds; an option that is misspelt may hold a secret as well."""
    if "BROKER" in entry:
        entry["BROKER"] = _redacted_url(entry["BROKER"])
    kombu = entry.get("TRANSPORT_OPTIONS")
    if kombu is not None:
        entry["TRANSPORT_OPTIONS"] = kombu = _mutable(kombu)
        _redact_within(kombu, _KOMBU)
    secret = secret_options(entry.get("PROVIDER"))
    options = replace(_BY_NAME, is_secret=lambda name: name in secret or _may_be_secret(name))
    within = {"OPTIONS": options, "TRANSPORT_OPTIONS": _KOMBU}
    _redact_within(entry, replace(_BY_NAME, within=within))


def _redact_within(root: object, rules: _Rules) -> None:
    """Hide secrets wherever they stand: settings may hold themselves, or be deep.

    What cannot be changed, such as a tuple that holds a secret, is replaced by what can.
    """
    waiting: list[tuple[Any, _Rules, bool]] = [(root, rules, False)]
    seen: set[int] = set()
    copies: dict[int, tuple[object, object]] = {}
    while waiting:
        found, ruled, secret = waiting.pop()
        if not isinstance(found, MutableMapping | list) or id(found) in seen:
            continue
        seen.add(id(found))
        for name, value in _items(found):
            is_key = isinstance(found, Mapping)
            hidden = secret or (is_key and ruled.is_secret(name))
            _, shown = copies.get(id(value), (value, None))
            if shown is None:
                shown = _hidden(value, hidden, ruled)
                if isinstance(shown, MutableMapping | list):
                    copies[id(value)] = (value, shown)  # held, so that its id stays its own
            if shown is not value:
                found[name] = shown
            waiting.append((shown, ruled.within.get(name, ruled) if is_key else ruled, hidden))


def _hidden(value: Any, secret: bool, rules: _Rules) -> Any:  # noqa: FBT001 - a verdict
    if type(value) is str:
        if secret and value:
            return rules.wrap(value)
        return MaskedURL(value) if masked_within(value) != value else value
    if type(value) is bytes:
        text = value.decode("latin-1")
        return MaskedBytes(value) if value and (secret or masked_within(text) != text) else value
    if isinstance(value, tuple | set | frozenset):
        plain = all(
            not isinstance(each, Mapping | list | tuple | frozenset)
            and _hidden(each, secret, rules) is each
            for each in value
        )
        return value if plain else list(value)
    return _mutable(value)


def _mutable(value: Any) -> Any:
    """Return a mapping that cannot be changed as a dict, a tuple as a list, all else as it is."""
    if isinstance(value, Mapping) and not isinstance(value, MutableMapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _items(found: Any) -> list[tuple[Any, Any]]:
    return list(found.items() if isinstance(found, Mapping) else enumerate(found))


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


@functools.lru_cache(maxsize=1024)
def _may_be_secret(name: object) -> bool:
    """Return whether an option holds a secret by its name, or is a misspelt one that does."""
    if not isinstance(name, str):
        return False
    secret, known = _option_names()
    lower = name.lower()
    if lower in secret or _sounds_secret(lower):
        return True
    if lower in known or lower.endswith(_LEADS_TO_IT):
        return False
    return any(word in lower for word in (*_SOUNDS_SECRET, "pwd")) or bool(
        difflib.get_close_matches(lower, {*_SOUNDS_SECRET, *secret}, n=1, cutoff=_ALIKE)
    )


@functools.cache
def _option_names() -> tuple[frozenset[str], frozenset[str]]:
    """Return the options of all providers that hold a secret themselves, and all options."""
    names = provider_names()
    known: set[str] = set()
    for provider in names:
        with contextlib.suppress(ConfigurationError):  # what it needs is not installed
            known.update(option_keys(provider_class(provider)))
    return frozenset(itertools.chain(*map(secret_options, names))), frozenset(known)


_BY_NAME = _Rules(is_secret=_may_be_secret, wrap=InlineSecret)
"""For what is ours: a secret may be a `Secret`, which any provider takes."""
_KOMBU = _Rules(is_secret=_sounds_secret, wrap=MaskedText, within={"auth": _BY_NAME})
"""For what Kombu and librdkafka need as it is; what `auth` holds is ours."""
