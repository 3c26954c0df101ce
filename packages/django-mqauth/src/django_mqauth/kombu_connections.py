"""Kombu connections by alias, for views that publish without Celery.

from django_mqauth import connections

with connections["default"].Producer() as producer:
    producer.publish({"order": 7}, routing_key="orders", retry=True)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from asgiref.local import Local
from django.core.exceptions import ImproperlyConfigured

from django_mqauth import conf, defaults
from mqauth.errors import ConfigurationError

if TYPE_CHECKING:
    from kombu import Connection


class ConnectionHandler:
    """One connection per alias and thread (or asynchronous task), opened when first used.

    A connection stays open over requests and is renewed in place. After a fork the child makes its
    own.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._open = Local()

    def __getitem__(self, alias: str) -> Connection:
        """Return the connection of an alias.

        Raises:
            ImproperlyConfigured: There is no such alias, it cannot work, or Kombu is missing.
        """
        held: dict[str, Connection] = self._held()
        if alias not in held:
            held[alias] = new_connection(alias)
        return held[alias]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of all aliases."""
        return iter(conf.aliases())

    def close_all(self) -> None:
        """Close those of this thread."""
        held = self._held()
        while held:
            held.popitem()[1].release()

    def _held(self) -> dict[str, Any]:
        pid, held = getattr(self._open, "held", (None, {}))
        if pid != os.getpid():
            # A parent's socket is the parent's: forgotten, not closed.
            held = {}
            self._open.held = (os.getpid(), held)
        return held


def new_connection(alias: str, **options: Any) -> Connection:
    """Return a connection of an alias that is not open yet and belongs to the caller.

    Args:
        alias: Its name in `MQAUTH`.
        **options: Further keywords of `kombu.Connection`.

    Raises:
        ImproperlyConfigured: There is no such alias, it cannot work, or Kombu is missing.
    """
    try:
        import kombu  # noqa: PLC0415 - optional

        import celery_mqauth  # noqa: F401, PLC0415 - registers the schemes
    except ModuleNotFoundError as error:
        missing = error.name
    else:
        try:
            found = conf.alias(alias)
        except ConfigurationError as problem:
            refused = conf.improperly_configured(problem)
        else:
            transport_options = {
                **found.transport_options,
                **options.pop("transport_options", {}),
            }
            return kombu.Connection(
                found.url,
                ssl=dict(found.tls) or None,
                transport_options=transport_options,
                **{"connect_timeout": defaults.CONNECT_TIMEOUT, **options},
            )
        raise refused
    raise ImproperlyConfigured(
        f'connections need {missing}, which is not installed (pip install "django-mqauth[celery]")'
    )


connections = ConnectionHandler()
