"""The two AMQP methods that renew a credential on an open connection.

RabbitMQ's extension `connection.update-secret` (class 10, method 70) and its answer
`connection.update-secret-ok` (10, 71); see RabbitMQ's AMQP 0-9-1 extensions document. py-amqp knows
neither.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import amqp
from amqp import spec
from amqp.method_framing import frame_writer

from celery_mqauth.confirms import note

UPDATE_SECRET = (10, 70)
UPDATE_SECRET_OK = (10, 71)
OK_METHOD = spec.method(UPDATE_SECRET_OK)

INTERRUPTED = "a signal's handler uses the connection in the middle of a frame"

_METHOD_FRAME = 1
_CONNECTION_CHANNEL = 0
_FRAME_END = 0xCE


def encode_update_secret(secret: str, reason: str) -> bytes:
    """Return the whole frame that tells the broker the new `secret` (longstr, shortstr)."""
    secret_bytes, reason_bytes = secret.encode(), reason.encode()[:255]
    payload = b"".join(
        (
            struct.pack(">HHI", *UPDATE_SECRET, len(secret_bytes)),
            secret_bytes,
            struct.pack(">B", len(reason_bytes)),
            reason_bytes,
        )
    )
    header = struct.pack(">BHI", _METHOD_FRAME, _CONNECTION_CHANNEL, len(payload))
    return header + payload + bytes((_FRAME_END,))


def locked_frame_writer(connection: Any, transport: Any) -> Callable[..., None]:
    """Return py-amqp's frame writer behind the connection's `frame_lock`.

    A message is one to many frames in a row, and py-amqp before 5.4.2 packs them in a buffer
    without a lock of its own. Whoever writes from another thread needs the same lock.

    A renewal that found the lock taken goes out first: an owner that writes all the time might
    keep the renewal thread out until the credential has expired.

    A signal's handler that closes a connection, as Celery's beat has one, may interrupt a write of
    the same thread: it finds the link broken off, where py-amqp would wait for itself for ever.
    """
    write = frame_writer(connection, transport)
    lock, confirms, confirm_select = connection.frame_lock, connection.confirms, spec.Confirm.Select

    def write_frame(type_: int, channel: int, method_sig: Any, args: Any, content: Any) -> None:
        if connection.inherited:
            connection.give_up_inherited()
        with lock:
            if connection.writing:  # by this very thread, as the lock lets no other in
                transport.break_off()
                raise amqp.RecoverableConnectionError(INTERRUPTED)
            connection.writing, begun = True, transport.writes
            try:
                if connection.postponed is not None:
                    connection.send_postponed()
                    begun = transport.writes
                write(type_, channel, method_sig, args, content)
                # Not later: a strike between the two would leave the numbers wrong on a good link.
                if channel in confirms or method_sig == confirm_select:
                    note(connection, channel, method_sig, content)
            except BaseException:
                # A time limit or a signal may strike between two frames of one message.
                if transport.writes != begun:
                    transport.break_off()
                raise
            finally:
                connection.writing = False

    return write_frame


def methods_with_update_secret() -> dict[Any, Any]:
    """Return the methods an AMQP connection understands, and the answer to a renewal."""
    return {**amqp.Connection._METHODS, UPDATE_SECRET_OK: OK_METHOD}  # noqa: SLF001 - no public way
