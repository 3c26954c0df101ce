"""`PROVIDER` and `OPTIONS`: whether there is such a provider, and it understands its options."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.core.checks import CheckMessage

from django_mqauth import conf
from django_mqauth.broker_address import addresses
from django_mqauth.checks.messages import Place, error, from_error, warning
from django_mqauth.redaction import InlineSecret, secret_options
from mqauth.config.registry import provider_class, provider_names
from mqauth.config.resolution import resolve
from mqauth.config.source_settings import split_settings
from mqauth.errors import ConfigurationError, UnknownProviderError
from mqauth.hosts import derived_from_host

_KERNEL_S = (("/", "proc"), ("/", "sys"))


def check_provider(name: str, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Check who signs in as an alias."""
    where = Place(conf.SETTING)[name]
    provider = entry.get("PROVIDER")
    if not provider:
        yield error(
            13,
            f"{where['PROVIDER']} is missing.",
            f"Name one of {', '.join(provider_names())}, or set "
            f"{conf.environment_prefix(name)}PROVIDER in the environment.",
            where=where["PROVIDER"],
        )
        return
    if not isinstance(provider, str) or provider not in provider_names():
        yield _unknown(str(provider), where["PROVIDER"])
        return
    yield from _check_secrets(name, entry, where)
    yield from _check_settings(entry, where)
    yield from _check_options(entry, where)


def _unknown(provider: str, where: Place) -> CheckMessage:
    try:
        provider_class(provider)
    except UnknownProviderError as problem:
        return from_error(14, problem, where=where)
    except ConfigurationError as problem:
        return from_error(14, problem, where=where)
    return error(14, f"{where} is no text.", "Write the provider's name.", where=where)


def _check_secrets(name: str, entry: Mapping[str, Any], where: Place) -> Iterator[CheckMessage]:
    said = conf.said_by_environment(name)
    written = (entry.get("OPTIONS") or {}).items()
    options = {key: value for key, value in written if key not in said}
    provider = str(entry["PROVIDER"])
    for option in sorted(secret_options(provider) & options.keys()):
        value = options[option]
        if isinstance(value, InlineSecret) or (isinstance(value, str) and value):
            yield warning(
                5,
                f"{where['OPTIONS'][option]} is a secret in plain text.",
                f"Name a file with {option}_file, set "
                f"{conf.environment_prefix(name)}OPTIONS_{option.upper()} in the environment, or "
                "wrap what you read from elsewhere: mqauth.Secret(...).",
                where=where["OPTIONS"],
            )


def _check_settings(entry: Mapping[str, Any], where: Place) -> Iterator[CheckMessage]:
    given = {**_from_environment(), **conf.entry_of(entry)}
    for key in conf.SOURCE_SETTINGS:
        if key not in given:
            continue
        try:
            settings = split_settings({key: given[key]})[1]
        except ConfigurationError as problem:
            yield from_error(15, problem, where=where["OPTIONS"][key])
            continue
        directory = settings.get("cache")
        why = _unusable(Path(directory)) if isinstance(directory, str) else None
        if why:
            unusable = ConfigurationError(
                f"the setting cache names {str(directory)[:200]}, {why}",
                remedy="name a directory of this user's, which is made where there is none; its "
                "environment variable is MQAUTH_CACHE",
            )
            yield from_error(15, unusable, where=where["OPTIONS"][key])


def _from_environment() -> dict[str, str]:
    variables = {
        key: os.environ.get(f"{conf.SETTING}_{key.upper()}") for key in conf.SOURCE_SETTINGS
    }
    return {key: value for key, value in variables.items() if value}


def _unusable(directory: Path) -> str | None:
    """Return why a directory can be none, or cannot be made."""
    try:
        if directory.exists():
            return None if directory.is_dir() else "which is a file"
        above = next(each for each in directory.parents if each.exists())
    except (OSError, ValueError):
        return "which cannot be looked at"
    if not above.is_dir():
        return f"and {above} is a file"
    # Nobody makes anything there, though root may seem to be allowed to.
    if not os.access(above, os.W_OK | os.X_OK) or above.parts[:2] in _KERNEL_S:
        return f"which cannot be made in {above}"
    return None


def _check_options(entry: Mapping[str, Any], where: Place) -> Iterator[CheckMessage]:
    given = conf.entry_of(entry)
    options = {key: value for key, value in given.items() if key not in conf.SOURCE_SETTINGS}
    options.pop("provider", None)
    provider = str(entry["PROVIDER"])
    try:
        config = resolve(provider, explicit=options, derived=_derived(entry), environ=_environ())
        provider_class(config.provider).from_options(config.options)
    except ConfigurationError as problem:
        yield from_error(16, problem, where=where["OPTIONS"])


def _derived(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        host = addresses(entry.get("BROKER"))[0].host
    except ConfigurationError:
        return {}
    return derived_from_host(host)


def _environ() -> Mapping[str, str]:
    """Return the environment without what is another matter.

    That are the file of named entries, and the source's settings, which are checked by themselves.
    """
    others = {"MQAUTH_CONFIG", *(f"{conf.SETTING}_{key.upper()}" for key in conf.SOURCE_SETTINGS)}
    return {key: value for key, value in os.environ.items() if key not in others}
