"""What a connection attempt or a publish raises, in the classes that Kombu and Celery act on.

amqp.RecoverableConnectionError      Kombu and Celery reconnect and try again
 ├─ CredentialUnavailableError       no credential could be had (the issuer's error is the cause)
 ├─ CredentialRanOutError            the connection's credential expired before it was renewed
 ├─ CredentialRefusedError           a renewal or a repeated login was refused
 ├─ BrokerUnreachableError           no connection, or no trusted TLS, to the broker
 └─ VirtualHostError                 the virtual host is unknown or closed (amqp.NotAllowed as well)
amqp.ConnectionError
 └─ HeartbeatNotSentError            a worker's heartbeat met an expired credential; Celery goes on
amqp.AccessRefused
 └─ LoginRefusedError                the very first login was refused: a worker stops and says why
amqp.FrameError
 └─ TokenTooLargeError               the token does not fit into the broker's first frame

All of them are `mqauth.MQAuthError` too: one line, cause and remedy, no secret.
"""

from __future__ import annotations

import amqp

from mqauth.errors import MQAuthError


class OneLineError(MQAuthError):
    """Gives both parents what they expect; AMQP errors keep their text in `reply_text`."""

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.args = (str(self),)


class CredentialUnavailableError(OneLineError, amqp.RecoverableConnectionError):
    """The issuer gave no credential; see the exception's cause."""

    retryable = True


class CredentialRanOutError(OneLineError, amqp.RecoverableConnectionError):
    """The connection's credential has expired; nothing was written to it."""

    retryable = True


class HeartbeatNotSentError(OneLineError, amqp.ConnectionError):
    """A worker's heartbeat that Celery keeps and must not try again: see `worker_heartbeats`."""

    retryable = False


class CredentialRefusedError(OneLineError, amqp.RecoverableConnectionError):
    """The broker refused a credential of an identity that it has accepted before."""

    retryable = True


class BrokerUnreachableError(OneLineError, amqp.RecoverableConnectionError):
    """No connection to the broker could be made."""

    retryable = True


class LoginRefusedError(OneLineError, amqp.AccessRefused):
    """The broker refused this identity, and a freshly fetched credential as well."""


class VirtualHostError(OneLineError, amqp.NotAllowed, amqp.RecoverableConnectionError):
    """The virtual host does not exist, or this credential may not enter it.

    Recoverable though nobody knows when: over `amqp.NotAllowed` alone a worker would connect anew
    at once and for ever, without the pause between attempts that recoverable errors get.
    """

    retryable = True


class TokenTooLargeError(OneLineError, amqp.exceptions.FrameError):
    """The token does not fit into the frame in which a login must arrive."""
