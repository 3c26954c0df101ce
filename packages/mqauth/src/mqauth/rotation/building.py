"""From a resolved configuration to the parts of a source."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqauth.config.hiding import hidden, plain
from mqauth.config.registry import provider_class
from mqauth.config.resolution import ResolvedConfig, resolve
from mqauth.errors import ConfigurationError
from mqauth.provider import Provider
from mqauth.rotation.cache import HostCache, default_directory, private_directory
from mqauth.rotation.freshness import RotationPolicy
from mqauth.secret import Secret

logger = logging.getLogger(__name__)

_POLICY_SETTINGS = ("renew_at", "timeout")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What a source is made of."""

    provider: Provider
    policy: RotationPolicy
    cache: HostCache | None


def parts_from_mapping(config: Mapping[str, Any]) -> Parts:
    """Return the parts for a mapping with the key `provider` (a provider or a named entry).

    Raises:
        ConfigurationError: The provider or an option is unknown, missing or contradictory.
    """
    config = hidden(config)
    name = plain(config.pop("provider", None))
    if not isinstance(name, str) or not name:
        raise ConfigurationError(
            "the configuration names no provider", remedy='add the key "provider"'
        )
    return parts(resolve(name, explicit=config))


def parts(config: ResolvedConfig) -> Parts:
    """Return the parts for a resolved configuration.

    Raises:
        ConfigurationError: The provider refuses its options.
    """
    provider = provider_class(config.provider).from_options(config.options)
    settings = {k: config.settings[k] for k in _POLICY_SETTINGS if k in config.settings}
    return Parts(
        provider=provider, policy=RotationPolicy(**settings), cache=_cache(provider, config)
    )


def _cache(provider: Provider, config: ResolvedConfig) -> HostCache | None:
    where = config.settings.get("cache", True)
    if where is False or not provider.shareable:
        return None
    if isinstance(where, str):
        return HostCache(private_directory(Path(where)), _cache_key(provider, config))
    directory = default_directory()
    if directory is None:
        logger.warning("no private directory for the credential cache: each process fetches alone")
        return None
    return HostCache(directory, _cache_key(provider, config))


def _cache_key(provider: Provider, config: ResolvedConfig) -> str:
    """Name the identity: everything that decides what is fetched, and no secret."""
    public = {k: v for k, v in config.options.items() if not isinstance(v, Secret)}
    text = json.dumps([provider.name, provider.identity, public], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
