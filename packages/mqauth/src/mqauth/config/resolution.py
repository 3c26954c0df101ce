"""From a name in a broker URL to a provider and everything it needs to know."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mqauth.config.hiding import HiddenVariables, hidden, plain
from mqauth.config.named_entries import (
    NamedEntry,
    named_entries,
    register_named_entries,
    warn_if_exposed,
)
from mqauth.config.options import from_environment, merge, option_keys, validate
from mqauth.config.registry import provider_class, provider_names, unknown_provider
from mqauth.config.source_settings import settings_from_environment, split_settings
from mqauth.errors import ConfigurationError
from mqauth.provider import Option, Provider

__all__ = ["ResolvedConfig", "register_named_entries", "resolve", "secret_options"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedConfig:
    """A provider's name with its options, and the settings of the source around it.

    Args:
        provider: Name of the provider.
        options: Validated options, ready for `Provider.from_options`; secrets are wrapped.
        settings: Those of `cache`, `renew_at`, `insecure`, `timeout` and `rotation` that were
            given.
    """

    provider: str
    options: dict[str, Any]
    settings: dict[str, Any]


def resolve(
    name_or_provider: str,
    *,
    explicit: Mapping[str, Any] | None = None,
    derived: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> ResolvedConfig:
    """Find out which provider a name means, and with which options.

    Where several places give an option, the first of these counts: what was passed in, the named
    entry, the environment, what could be derived.

    Args:
        name_or_provider: The user part of a broker URL: a named entry or a provider.
        explicit: Options and settings, such as `broker_transport_options["auth"]`; its key
            `provider` may say what the name does not.
        derived: Options guessed from elsewhere, such as the region in a broker's host name; those
            that the provider does not have are left out.
        environ: Environment variables; None for those of the process.

    Raises:
        UnknownProviderError: The name is neither a named entry nor an installed provider.
        ConfigurationError: An option or a setting cannot work.
    """
    explicit = hidden(explicit or {})
    environ = HiddenVariables(os.environ if environ is None else environ)
    given, given_settings = split_settings(explicit)
    entries = named_entries(environ)
    entry = entries.get(name_or_provider, NamedEntry(options={}))
    named, entry_settings = split_settings(hidden(entry.options))
    cls = provider_class(_provider_name(name_or_provider, given, named, entries))
    variables = hidden(from_environment(cls, environ))
    layers = (given, named, variables, _known(cls, derived or {}))
    options = validate(cls, _readable(cls, merge(cls, layers)))
    warn_if_exposed(entry, _inline_secrets(cls, named))
    settings = settings_from_environment(environ) | entry_settings | given_settings
    return ResolvedConfig(provider=cls.name, options=options, settings=settings)


def secret_options(
    name_or_provider: str,
    explicit: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
) -> frozenset[str]:
    """Return the names of those options of the provider that a name means that hold secrets.

    Given options that it does not have are among them: one may be a misspelt secret. See `resolve`
    for the arguments; nothing is checked but whose options they are.

    Raises:
        UnknownProviderError: The name is neither a named entry nor an installed provider.
        ConfigurationError: The provider is named twice, or a setting cannot work.
    """
    explicit = hidden(explicit)
    environ = HiddenVariables(os.environ if environ is None else environ)
    given, _ = split_settings(explicit)
    entries = named_entries(environ)
    entry = entries.get(name_or_provider, NamedEntry(options={}))
    named, _ = split_settings(hidden(entry.options))
    cls = provider_class(_provider_name(name_or_provider, given, named, entries))
    secret = {option.name for option in cls.options if option.secret}
    return frozenset(secret | (given.keys() - option_keys(cls).keys()))


def _provider_name(
    name: str,
    given: dict[str, Any],
    options: dict[str, Any],
    entries: Mapping[str, NamedEntry],
) -> str:
    mappings = [mapping for mapping in (given, options) if "provider" in mapping]
    said = {str(plain(mapping.pop("provider"))) for mapping in mappings}
    installed = name in provider_names()
    if installed and name not in entries:
        said.add(name)
    if len(said) > 1:
        raise ConfigurationError(
            f"the name {name} and its options contradict each other about the provider: "
            + " or ".join(sorted(said)),
            remedy="name the provider in one place",
        )
    if said:
        return said.pop()
    if installed:
        return name
    if name not in entries:
        raise unknown_provider(name, entries)
    raise ConfigurationError(
        f"the named entry {name} does not say which provider it is for",
        remedy='add provider = "..." to it; known providers: ' + ", ".join(provider_names()),
    )


def _known(cls: type[Provider], derived: Mapping[str, Any]) -> dict[str, Any]:
    keys = option_keys(cls)
    return {key: value for key, value in derived.items() if key in keys}


def _readable(cls: type[Provider], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of which those that hold no secret are hidden no longer."""
    keys = option_keys(cls)
    return {
        key: plain(value) if key in keys and not _holds_secret(keys[key], key) else value
        for key, value in options.items()
    }


def _holds_secret(option: Option, key: str) -> bool:
    return option.secret and key == option.name


def _inline_secrets(cls: type[Provider], options: Mapping[str, Any]) -> list[str]:
    return [option.name for option in cls.options if option.secret and option.name in options]
