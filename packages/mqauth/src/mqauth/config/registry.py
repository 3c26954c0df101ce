"""Which providers are installed: found by entry point, loaded when first asked for."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import EntryPoint, entry_points
from typing import TypeGuard

from mqauth import forks
from mqauth.config.extras import missing_extra
from mqauth.config.options import suggestion
from mqauth.errors import ConfigurationError, UnknownProviderError
from mqauth.provider import Provider

GROUP = "mqauth.providers"

_MEMBERS = ("name", "options", "shareable", "from_options", "identity", "fetch")


def provider_names() -> tuple[str, ...]:
    """Return the names of all installed providers, sorted."""
    return tuple(sorted(entry_points(group=GROUP).names))


def provider_class(name: str) -> type[Provider]:
    """Load a provider.

    Args:
        name: Its name, such as `oauth2`.

    Raises:
        UnknownProviderError: No installed distribution offers it.
        ConfigurationError: It is installed and cannot be loaded.
    """
    found = _by_value(name)
    if not found:
        raise unknown_provider(name)
    if len(found) > 1:
        raise ConfigurationError(
            f"several distributions offer the provider {name}: "
            + ", ".join(f"{_origin(point)} ({value})" for value, point in found.items()),
            remedy="uninstall all but one of them",
        )
    return _load(next(iter(found.values())))


def unknown_provider(
    name: str, named_entries: Collection[str] | None = None
) -> UnknownProviderError:
    """Return the error for a name that stands for nothing.

    Args:
        name: What the user wrote.
        named_entries: Names of configured entries that would have been understood, too.
    """
    known = provider_names()
    remedy = f"known providers: {', '.join(known) or 'none'}"
    if named_entries is not None:
        remedy += f"; named entries: {', '.join(sorted(named_entries)) or 'none'}"
    names = {*known, *(named_entries or ())}
    return UnknownProviderError(
        f"there is no provider {name[:60]!r}{suggestion(name, names)}", remedy=remedy
    )


def _by_value(name: str) -> dict[str, EntryPoint]:
    # An editable installation shows the same entry point twice: only differing ones compete.
    return {point.value: point for point in entry_points(group=GROUP, name=name)}


def _load(point: EntryPoint) -> type[Provider]:
    try:
        with forks.held_off():
            loaded = point.load()
    except ImportError as error:
        failure = missing_extra(error) or _broken(point, error)
    except Exception as error:  # noqa: BLE001 - foreign code may raise anything at import
        failure = _broken(point, error)
    else:
        if _is_provider(loaded, point.name):
            return loaded
        failure = _misshapen(point, loaded)
    raise failure


def _is_provider(loaded: object, name: str) -> TypeGuard[type[Provider]]:
    named = getattr(loaded, "name", None) == name
    return isinstance(loaded, type) and named and not _missing(loaded)


def _missing(loaded: object) -> list[str]:
    return [member for member in _MEMBERS if not hasattr(loaded, member)]


def _broken(point: EntryPoint, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"the provider {point.name} of {_origin(point)} cannot be loaded: "
        f"{type(error).__name__}: {str(error)[:200]}",
        remedy=f"repair or uninstall {_origin(point)}",
    )


def _misshapen(point: EntryPoint, loaded: object) -> ConfigurationError:
    missing = _missing(loaded)
    why = f"it lacks {', '.join(missing)}" if missing else f"it is no class named {point.name}"
    return ConfigurationError(
        f"the entry point {point.name} = {point.value} of {_origin(point)} is no provider: {why}",
        remedy="see mqauth.provider.Provider for what a provider has",
    )


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unnamed distribution"
