"""Kombu connections by alias, for views that publish without Celery.

from django_mqauth import connections

with connections["default"].Producer() as producer:
    producer.publish({"order": 7}, routing_key="orders", retry=True)
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from django_mqauth import conf, defaults
from mqauth.errors import ConfigurationError

if TYPE_CHECKING:
    from kombu import Connection

MOST_SPARE = 10
"""Connections of an alias that are kept for the next thread; Celery's pool holds as many."""


class ConnectionHandler:
    """One connection per alias and thread, opened when first used.

    A connection stays open over requests and is renewed in place. A thread that has none goes on
    with one whose thread has ended: under ASGI, Django runs the synchronous part of each request on
    a thread of its own. After a fork the child makes its own.

    Greenlets of gevent and eventlet count as threads. Tasks of an event loop do not: they share the
    connection of the loop's thread, which is sound because Kombu never awaits, so that no task gets
    its turn in the midst of another's call; and it blocks the loop.
    """

    def __init__(self) -> None:
        """Begin without any."""
        # Not asgiref's: what that holds goes with a copied context to several threads at a time.
        self._open = threading.local()
        self._spares = _Spares()

    def __getitem__(self, alias: str) -> Connection:
        """Return the connection of an alias.

        Raises:
            ImproperlyConfigured: There is no such alias, it cannot work, or Kombu is missing.
        """
        held = self._held()
        if alias not in held:
            held[alias] = self._spares.take(alias) or new_connection(alias)
        return held[alias]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of all aliases."""
        return iter(conf.aliases())

    def close_all(self) -> None:
        """Close those of this thread, and those of threads that have ended."""
        held = self._held()
        while held:
            held.popitem()[1].release()
        # Threads that end from now on hand nothing on: what they have may be out of date.
        spares, self._spares = self._spares, _Spares()
        self._open.mine = None
        spares.close()

    def _held(self) -> dict[str, Connection]:
        mine: _Held | None = getattr(self._open, "mine", None)
        if mine is None or mine.pid != os.getpid():
            # A parent's socket is the parent's: forgotten, not closed.
            if self._spares.pid != os.getpid():
                self._spares = _Spares()
            self._open.mine = mine = _Held(self._spares)
        return mine.connections


class _Held:
    """What one thread holds; its end is that of the thread."""

    def __init__(self, spares: _Spares) -> None:
        self.pid = os.getpid()
        self.connections: dict[str, Connection] = {}
        weakref.finalize(self, spares.put, self.connections).atexit = False


class _Spares:
    """Open connections whose threads have ended.

    Threads end, and others take, at the same moment: each step on a list is one that nothing
    interrupts, so that no lock is needed where a thread's end must not wait.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._closed = False
        self._kept: dict[str, list[Connection]] = {}

    def take(self, alias: str) -> Connection | None:
        """Return the one that was used last, None if there is none."""
        try:
            return self._kept.get(alias, []).pop()
        except IndexError:
            return None

    def put(self, held: dict[str, Connection]) -> None:
        """Keep what a thread held."""
        if self.pid != os.getpid():
            return  # in the child of a fork, where the parent's other threads are not
        for alias, connection in held.items():
            kept = self._kept.setdefault(alias, [])
            if self._closed or len(kept) >= MOST_SPARE:
                _drop(connection)
            else:
                kept.append(connection)

    def close(self) -> None:
        """Close all, and what comes later."""
        self._closed = True
        for kept in self._kept.values():
            while kept:
                kept.pop().release()


def _drop(connection: Connection) -> None:
    """Close a connection without waiting for the broker's answer, as a thread's end must not."""
    with contextlib.suppress(Exception):
        connection.collect(socket_timeout=0.1)


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
