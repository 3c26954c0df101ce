"""One login at a broker for its own sake: does it work, and what does it say if not?"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from django_mqauth.kombu_connections import new_connection
from mqauth.errors import MQAuthError

if TYPE_CHECKING:
    from kombu import Connection

TIMEOUT = 5.0


def sign_in_once(alias: str, timeout: float = TIMEOUT) -> str | None:
    """Sign in and out again.

    Args:
        alias: The alias.
        timeout: Seconds that it may take.

    Returns:
        What went wrong, in one line without a secret; None if nothing did.
    """
    try:
        if (probe := kafka_probe(alias)) is not None:
            probe(timeout)
            return None
        with signed_in(alias, timeout):
            return None
    except Exception as error:  # noqa: BLE001 - Kombu hands transports' errors through
        return explain(error)


def kafka_probe(alias: str) -> Callable[..., None] | None:
    """Return what signs an alias in to Kafka once, given seconds; None on any other broker."""
    connection = new_connection(alias)
    found: Callable[..., None] | None = getattr(connection.transport, "probe", None)
    return found


@contextlib.contextmanager
def signed_in(alias: str, timeout: float) -> Iterator[Connection]:
    """Sign in as an alias, on a connection of its own that ends after `timeout` seconds.

    Raises:
        TimeoutError: That is what ended it.
    """
    with bounded(new_connection(alias, connect_timeout=timeout), timeout) as connection:
        yield connection


@contextlib.contextmanager
def bounded(connection: Connection, timeout: float) -> Iterator[Connection]:
    """Open a connection for the block, and cut it after `timeout` seconds, come what may.

    Kombu and py-amqp wait for answers without limit; a socket that is shut ends every wait.

    Raises:
        TimeoutError: That is what ended it.
    """
    over = threading.Event()

    def cut() -> None:
        over.set()
        _shut(connection)

    timer = threading.Timer(timeout, cut)
    timer.daemon = True
    timer.start()
    try:
        connection.connect()
        yield connection
    except Exception as error:
        if over.is_set():
            raise TimeoutError(f"no answer within {timeout:g} s") from error
        raise
    finally:
        timer.cancel()
        # A link that answers nothing would not answer to a goodbye either.
        if over.is_set():
            connection.collect(socket_timeout=0.1)
        else:
            with contextlib.suppress(Exception):
                connection.release()


def explain(error: BaseException) -> str:
    """Return one line about a failed login or operation."""
    if isinstance(error, MQAuthError | ImproperlyConfigured):
        return " ".join(str(error).split())
    code: Any = getattr(error, "reply_code", None)
    said = str(getattr(error, "reply_text", "") or str(error) or type(error).__name__)
    return " ".join(f"{said} ({code})".split() if code else said.split())[:500]


def _shut(connection: Any) -> None:
    raw = getattr(connection, "_connection", None)
    transport: Callable[..., Any] | None = getattr(raw, "transport", None)
    sock = getattr(transport, "sock", None)
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
