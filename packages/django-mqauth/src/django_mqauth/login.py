"""One login at a broker for its own sake: does it work, and what does it say if not?"""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from django_mqauth import conf
from django_mqauth.errand import Errand
from django_mqauth.kombu_connections import new_connection
from django_mqauth.sources import existing
from mqauth.errors import ConfigurationError, MQAuthError

if TYPE_CHECKING:
    from kombu import Connection

TIMEOUT = 5.0
_REFUSALS = (403, 530)
"""Reply codes of AMQP: ACCESS_REFUSED, NOT_ALLOWED."""


class NoCredentialInTimeError(TimeoutError):
    """The time was over before there was a credential to sign in with."""


def sign_in_once(alias: str, timeout: float = TIMEOUT) -> str | None:
    """Sign in and out again.

    Args:
        alias: The alias.
        timeout: Seconds that it may take.

    Returns:
        What went wrong, in one line without a secret; None if nothing did.
    """
    try:
        sign_in(alias, timeout)
    except Exception as error:  # noqa: BLE001 - Kombu hands transports' errors through
        return explain(error)
    return None


def sign_in(alias: str, timeout: float = TIMEOUT) -> None:
    """Sign in and out again.

    Raises:
        TimeoutError: The time was over before the broker or the issuer answered.
        Exception: It did not work; Kombu hands transports' errors through.
    """
    if not signed_in_to_kafka(alias, timeout):
        with signed_in(alias, timeout):
            return


def was_refused(error: BaseException) -> bool:
    """Return whether it is the broker that says no: to the login, or to its virtual host."""
    return getattr(error, "reply_code", None) in _REFUSALS


def signed_in_to_kafka(alias: str, timeout: float, *, topic: str | None = None) -> bool:
    """Sign in to Kafka and out again.

    Args:
        alias: The alias.
        timeout: Seconds that it may take.
        topic: A topic to send a message over and to read it back.

    Returns:
        Whether it did; False, without having done anything, where the broker is another one.

    Raises:
        TimeoutError: The time was over before the broker or the issuer answered.
        MQAuthError: It did not work.
    """
    probe: Callable[..., None] | None = getattr(new_connection(alias).transport, "probe", None)
    if probe is None:
        return False
    errand = Errand(functools.partial(probe, timeout, topic=topic))
    try:
        # What is no time limit, the probe itself tells, and does not wait.
        errand.wait(timeout if 0 < timeout < threading.TIMEOUT_MAX else None)
    except TimeoutError as error:
        raise _named(error, alias, timeout) from None
    return True


@contextlib.contextmanager
def signed_in(alias: str, timeout: float) -> Iterator[Connection]:
    """Sign in as an alias, on a connection of its own that ends after `timeout` seconds.

    Raises:
        TimeoutError: That is what ended it.
    """
    try:
        with bounded(new_connection(alias, connect_timeout=timeout), timeout) as connection:
            yield connection
    except TimeoutError as error:
        raise _named(error, alias, timeout) from error.__cause__


@contextlib.contextmanager
def bounded(connection: Connection, timeout: float) -> Iterator[Connection]:
    """Open a connection for the block, and cut it after `timeout` seconds, come what may.

    Kombu and py-amqp wait for answers without limit; a socket that is shut ends every wait. While
    the issuer is asked there is no socket yet: the login is another thread's, which drops what it
    gets too late.

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
    login = Errand(connection.connect, too_late=lambda: _drop(connection))
    try:
        login.wait(timeout)
        if over.is_set():  # while there was no socket yet that could have been shut
            raise TimeoutError  # noqa: TRY301 - told below, as any other end by the time
        yield connection
    except Exception as error:
        if over.is_set() or login.late:
            raise TimeoutError(f"no answer within {timeout:g} s") from error
        raise
    finally:
        timer.cancel()
        # A link that answers nothing would not answer to a goodbye either.
        if over.is_set() and not login.given_up:
            connection.collect(socket_timeout=0.1)
        elif not login.given_up:
            with contextlib.suppress(Exception):
                connection.release()


def _named(error: TimeoutError, alias: str, timeout: float) -> TimeoutError:
    """Return the error, or one that names the issuer if it is what kept us waiting."""
    try:
        source = existing(conf.alias(alias))
    except ConfigurationError:
        return error
    if source is None or (source.current is not None and not source.current.expired()):
        return error
    return NoCredentialInTimeError(f"no credential within {timeout:g} s")


def _drop(connection: Connection) -> None:
    _shut(connection)
    connection.collect(socket_timeout=0.1)


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
