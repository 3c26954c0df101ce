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
    options = entry.get("OPTIONS") or {}
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
    for key in conf.SOURCE_SETTINGS:
        given = conf.entry_of(entry)
        if key not in given:
            continue
        try:
            settings = split_settings({key: given[key]})[1]
        except ConfigurationError as problem:
            yield from_error(15, problem, where=where["OPTIONS"][key])
            continue
        if isinstance(settings.get("cache"), str) and Path(settings["cache"]).is_file():
            is_file = ConfigurationError(
                f"the setting cache names {settings['cache'][:200]}, which is a file",
                remedy="name a directory, which is made where there is none; its environment "
                "variable is MQAUTH_CACHE",
            )
            yield from_error(15, is_file, where=where["OPTIONS"][key])


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
    """Return the environment without the file of named entries, which is another matter."""
    return {key: value for key, value in os.environ.items() if key != "MQAUTH_CONFIG"}
