"""The credential source of each alias: one per identity and process, as everywhere in mqauth."""

from __future__ import annotations

from django_mqauth import conf
from django_mqauth.defaults import DEFAULT_ALIAS
from mqauth import amazonmq, apsaramq
from mqauth.errors import ConfigurationError
from mqauth.events import CredentialEvent
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
    host = alias.brokers[0].host
    region = amazonmq.region_from_host(host)
    return {"region": region} if region else dict(apsaramq.derived_from_host(host))


def existing(alias: conf.Alias) -> CredentialSource | None:
    """Return the source of an alias if this process has one by now; makes none."""
    try:
        found = known_source(alias.name, derived=derived(alias))
    except ConfigurationError:
        return None
    return found.source if found else None


def aliases_of(event: CredentialEvent) -> list[str]:
    """Return the aliases that an event is about."""
    found = []
    for alias in conf.aliases().values():
        candidate = existing(alias)
        if candidate is not None and candidate.provider.identity == event.identity:
            found.append(alias.name)
    return found
