"""The credential source of each alias: one per identity and process, as everywhere in mqauth."""

from __future__ import annotations

from django_mqauth import conf
from django_mqauth.defaults import DEFAULT_ALIAS
from mqauth.config.registry import provider_class
from mqauth.config.resolution import resolve
from mqauth.errors import ConfigurationError
from mqauth.events import CredentialEvent
from mqauth.hosts import derived_from_host
from mqauth.rotation.source import CredentialSource
from mqauth.shared import SharedSource, known_source, shared_source


def source(alias: str = DEFAULT_ALIAS) -> CredentialSource:
    """Return the source of an alias, for clients that sign in by other means than Kombu.

    Args:
        alias: Its name in `MQAUTH`.

    Raises:
        ImproperlyConfigured: There is no such alias, or it cannot work.
    """
    try:
        return shared(conf.alias(alias)).source
    except ConfigurationError as error:
        problem = error
    raise conf.improperly_configured(problem)


def shared(alias: conf.Alias) -> SharedSource:
    """Return this process's source of an alias, the very one that Celery uses for its URL.

    Raises:
        ConfigurationError: An option cannot work.
    """
    return shared_source(alias.name, derived=derived(alias))


def derived(alias: conf.Alias) -> dict[str, str]:
    """Return the options that the broker's host tells."""
    return dict(derived_from_host(alias.brokers[0].host))


def existing(alias: conf.Alias) -> CredentialSource | None:
    """Return the source of an alias if this process has one by now; makes none."""
    try:
        found = known_source(alias.name, derived=derived(alias))
    except ConfigurationError:
        return None
    return found.source if found else None


_aliases_by_identity: dict[str, tuple[str, ...]] = {}


def aliases_of(event: CredentialEvent) -> tuple[str, ...]:
    """Return the aliases that an event is about.

    Looked up once for an identity: this runs on the thread that renews, before connections hear of
    the new credential, and reading options takes milliseconds.
    """
    identity = event.identity
    if identity not in _aliases_by_identity:
        _aliases_by_identity[identity] = tuple(
            alias.name for alias in conf.aliases().values() if _identity(alias) == identity
        )
    return _aliases_by_identity[identity]


def forget_aliases() -> None:
    """Look identities up anew, as after a change of settings."""
    _aliases_by_identity.clear()


def _identity(alias: conf.Alias) -> str | None:
    try:
        config = resolve(alias.name, derived=derived(alias))
        return provider_class(config.provider).from_options(config.options).identity
    except ConfigurationError:
        return None
