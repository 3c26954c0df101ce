"""What Celery is told about an alias: the URL of its broker and its TLS options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_mqauth import conf
from django_mqauth.defaults import DEFAULT_ALIAS
from mqauth.errors import ConfigurationError


def broker_url(alias: str = DEFAULT_ALIAS, *, settings: Mapping[str, Any] | None = None) -> str:
    """Return the broker URL of an alias, for `CELERY_BROKER_URL`; it holds no secret.

    Args:
        alias: Its name in `MQAUTH`.
        settings: `MQAUTH` itself, for a settings file that is not the one Django was told about.

    Raises:
        ImproperlyConfigured: There is no such alias, or it cannot work.
    """
    return _alias(alias, settings).url


def broker_use_ssl(
    alias: str = DEFAULT_ALIAS, *, settings: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """Return the TLS options of an alias, for `CELERY_BROKER_USE_SSL`; None if there are none.

    Args:
        alias: Its name in `MQAUTH`.
        settings: As in `broker_url`.

    Raises:
        ImproperlyConfigured: There is no such alias, or it cannot work.
    """
    return dict(_alias(alias, settings).tls) or None


def _alias(name: str, settings: Mapping[str, Any] | None) -> conf.Alias:
    try:
        return conf.alias(name, settings)
    except ConfigurationError as error:
        problem = error
    raise conf.improperly_configured(problem)
