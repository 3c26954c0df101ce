"""What Celery is told about an alias: the URL of its broker and its TLS options."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NoReturn, Self

from django_mqauth import conf
from django_mqauth.defaults import DEFAULT_ALIAS
from mqauth.errors import ConfigurationError


class BrokerURL(str):
    """The URL that `broker_url` returned to settings while they were being read."""

    __slots__ = ()


class UnusableURL(str):
    """What settings get for an alias that cannot work: it says why as soon as it is used.

    So that they can be read at all, and `manage.py check` tell what is wrong with them. Kombu and
    Celery look into a URL before all else; a copy as plain text has a scheme that nobody knows.

    Args:
        alias: The alias.
        error: What is wrong.
    """

    __slots__ = ("alias", "error")
    SCHEME = "mqauth-unusable"
    alias: str
    error: ConfigurationError

    def __new__(cls, alias: str, error: ConfigurationError) -> Self:
        """Keep both."""
        url = super().__new__(cls, f"{cls.SCHEME}://manage.py-check-tells-why")
        # Without its frames: they hold the settings that were being read, secrets included.
        url.alias, url.error = alias, error.with_traceback(None)
        return url

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how it is copied."""
        return (type(self), (self.alias, self.error))

    def __repr__(self) -> str:
        """Return what is wrong."""
        return f"<unusable: {conf.improperly_configured(self.error)}>"

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise conf.improperly_configured(self.error)

    __contains__ = __getitem__ = __iter__ = _refuse
    split = partition = index = find = encode = _refuse


def broker_url(alias: str = DEFAULT_ALIAS, *, settings: Mapping[str, Any] | None = None) -> str:
    """Return the broker URL of an alias, for `CELERY_BROKER_URL`; it holds no secret.

    Settings that call it while they are read get a URL in any case. If the alias cannot work, the
    system checks say why, and so does the error of whoever uses the URL.

    Args:
        alias: Its name in `MQAUTH`.
        settings: `MQAUTH` itself, for settings that neither are Django's nor have it by that name.

    Raises:
        ImproperlyConfigured: There is no such alias, or it cannot work.
    """
    reading = conf.being_read() is not None
    try:
        url = conf.alias(alias, _given(settings, sys._getframe(1).f_globals)).url  # noqa: SLF001
    except ConfigurationError as error:
        problem = error
    else:
        return BrokerURL(url) if reading else url
    if reading:
        return UnusableURL(alias, problem)
    raise conf.improperly_configured(problem)


def broker_use_ssl(
    alias: str = DEFAULT_ALIAS, *, settings: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """Return the TLS options of an alias, for `CELERY_BROKER_USE_SSL`; None if there are none.

    Args:
        alias: Its name in `MQAUTH`.
        settings: As in `broker_url`.

    Raises:
        ImproperlyConfigured: There is no such alias, or it cannot work; while settings are read it
            has no options instead, and no usable URL either.
    """
    try:
        found = conf.alias(alias, _given(settings, sys._getframe(1).f_globals))  # noqa: SLF001
    except ConfigurationError as error:
        problem = error
    else:
        return dict(found.tls) or None
    if conf.being_read() is not None:
        return None
    raise conf.improperly_configured(problem)


def _given(settings: Any, caller: Mapping[str, Any]) -> Any:
    """Return the aliases that are meant, None for those of Django's settings.

    Settings are often split: the module that asks while they are read knows its `MQAUTH`, whichever
    module of all Django was told about.
    """
    if settings is None and conf.being_read() is not None:
        return caller.get(conf.SETTING)
    return settings
