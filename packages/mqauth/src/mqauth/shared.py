"""One source per identity and process, however many connections name it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mqauth import forks
from mqauth.config.hiding import hidden
from mqauth.config.resolution import ResolvedConfig, resolve
from mqauth.config.source_settings import ROTATIONS
from mqauth.errors import ConfigurationError
from mqauth.rotation.building import parts
from mqauth.rotation.source import CredentialSource
from mqauth.secret import Secret

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedSource:
    """A source, and what its configuration says about the way to the broker."""

    source: CredentialSource
    insecure: bool
    """Whether the user allows credentials to travel unprotected."""
    rotation: str
    """How open connections come to a newer credential; one of `ROTATIONS`."""


class _Registry:
    """Sources by configuration; secrets take part in the comparison, not in any text."""

    def __init__(self) -> None:
        self.sources: dict[Any, SharedSource] = {}
        self.answers: dict[tuple[Secret, ...], SharedSource] = {}
        self.reset()
        forks.after_in_child(self, _Registry.reset)

    def reset(self) -> None:
        self.lock = threading.Lock()

    def get(self, config: ResolvedConfig) -> SharedSource:
        key = _key(config)
        with self.lock:
            if key not in self.sources:
                self.sources[key] = SharedSource(
                    source=CredentialSource.from_parts(parts(config)),
                    insecure=bool(config.settings.get("insecure", False)),
                    rotation=config.settings.get("rotation", ROTATIONS[0]),
                )
            return self.sources[key]


_registry = _Registry()


def shared_source(
    name: str,
    *,
    explicit: Mapping[str, Any] | None = None,
    derived: Mapping[str, Any] | None = None,
) -> SharedSource:
    """Return this process's source for a provider or a named entry.

    See `mqauth.config.resolution.resolve` for the arguments.

    Raises:
        ConfigurationError: The name or an option cannot work.
    """
    # Wrapped, as it may hold secrets that the user wrote out; those wrapped by now all look alike.
    explicit = hidden(explicit or {})
    text = Secret(repr((name, _frozen(explicit), _frozen(derived or {}))))
    wrapped = (explicit[key] for key in sorted(explicit) if isinstance(explicit[key], Secret))
    request = (text, *wrapped)
    try:
        shared = _registry.get(resolve(name, explicit=explicit, derived=derived))
    except ConfigurationError as error:
        remembered = _registry.answers.get(request)
        if remembered is None:
            raise
        # A file may be half written at this moment; what has worked goes on working meanwhile.
        logger.warning("going on with the configuration from before: %s", error)
        return remembered
    _registry.answers[request] = shared
    return shared


def known_source(name: str, *, derived: Mapping[str, Any] | None = None) -> SharedSource | None:
    """Return what `shared_source` would, if this process has it by now; makes nothing.

    Raises:
        ConfigurationError: The name or an option cannot work.
    """
    key = _key(resolve(name, derived=derived))
    with _registry.lock:
        return _registry.sources.get(key)


def shared_sources() -> list[CredentialSource]:
    """Return all sources that this process has used so far."""
    with _registry.lock:
        return [shared.source for shared in _registry.sources.values()]


def forget_shared_sources() -> None:
    """Close all of them and start anew, as after a change of settings in tests."""
    with _registry.lock:
        forgotten = list(_registry.sources.values())
        _registry.sources.clear()
        _registry.answers.clear()
    for shared in forgotten:
        shared.source.close()


def _key(config: ResolvedConfig) -> Any:
    return (config.provider, _frozen(config.options), _frozen(config.settings))


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple(sorted((key, _frozen(item)) for key, item in value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(item) for item in value)
    return value
