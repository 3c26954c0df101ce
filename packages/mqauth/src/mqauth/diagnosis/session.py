"""One AMQP connection that looks and leaves: login, virtual host, channels, update-secret.

Source: AMQP 0-9-1, "Protocol Specification"; RabbitMQ, "connection.update-secret".
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from typing import Self

from mqauth.diagnosis.wire import (
    CONTENT_HEADER,
    FRAME_END,
    HEADER,
    HEARTBEAT,
    MAX_FRAME,
    METHOD,
    Frame,
    NotAmqpError,
    Reader,
    Value,
    frame,
    long,
    short,
    table,
)
from mqauth.secret import Secret

_START, _TUNE, _OPEN_OK, _CLOSE, _UPDATED = (10, 10), (10, 30), (10, 41), (10, 50), (10, 71)
_CHANNEL_CLOSE = (20, 40)
_IGNORED = ((10, 60), (10, 61), (60, 60))
_CLIENT: dict[str, Value] = {
    "product": "mqauth doctor",
    "capabilities": {"authentication_failure_close": True, "consumer_cancel_notify": True},
}


class Refusal(Exception):  # noqa: N818 - an answer, and often the one that is asked for
    """The broker closed the connection or a channel.

    Args:
        code: Its reply code, such as 403.
        text: What it says.
    """

    def __init__(self, code: int, text: str) -> None:
        """Keep the answer."""
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text


class LostError(Exception):
    """The connection ended without a word."""


class Session:
    """An AMQP connection.

    Args:
        link: An open connection, TLS already begun.
        timeout: Seconds that one answer may take.
    """

    def __init__(self, link: socket.socket, timeout: float) -> None:
        """Say nothing yet."""
        self._link = link
        self._timeout = timeout
        self._buffer = b""
        self._channel = 0
        self.properties: dict[str, Value] = {}
        self.mechanisms: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The broker's version, as it says."""
        return str(self.properties.get("version") or "")

    def greet(self) -> None:
        """Say what is spoken, and read who answers.

        Raises:
            NotAmqpError: Nobody who speaks AMQP 0-9-1.
            LostError: The connection ended.
        """
        self._link.sendall(HEADER)
        reader = Reader(self._expect(_START).payload)
        reader.number("H")
        self.properties = reader.table()
        self.mechanisms = tuple(reader.long().split())

    def sign_in(self, mechanism: str, response: Secret) -> None:
        """Sign in.

        Raises:
            Refusal: The broker refuses.
            LostError: It ended the connection instead.
        """
        payload = table(_CLIENT) + short(mechanism) + long(response.reveal()) + short("en_US")
        self._send(0, 10, 11, payload)
        reader = Reader(self._expect(_TUNE).payload)
        channels, largest = reader.number("H"), reader.number("I")
        self._send(0, 10, 31, struct.pack("!HIH", channels, largest, 0))

    def enter(self, vhost: str) -> None:
        """Enter a virtual host.

        Raises:
            Refusal: The broker refuses.
            LostError: It ended the connection instead.
        """
        self._send(0, 10, 40, short(vhost) + short("") + b"\x00")
        self._expect(_OPEN_OK)

    def update_secret(self, secret: Secret) -> None:
        """Renew the credential in place.

        Raises:
            Refusal: The broker refuses.
            LostError: It ended the connection instead.
        """
        self._send(0, 10, 70, long(secret.reveal()) + short("mqauth doctor"))
        self._expect(_UPDATED)

    def ask(self, channel_class: int, method: int, payload: bytes, *answers: int) -> None:
        """Call a method on a channel of its own and wait for its answer.

        Raises:
            Refusal: The broker closes the channel or the connection instead.
            LostError: It ended the connection instead.
        """
        with self.channel() as number:
            self._send(number, channel_class, method, payload)
            self._expect(*((channel_class, answer) for answer in answers))

    def publish_and_take_back(self, exchange: str, routing_key: str) -> None:
        """Publish a message in a transaction that is rolled back: permissions are looked at before.

        Raises:
            Refusal: The broker refuses.
            LostError: It ended the connection instead.
        """
        with self.channel() as number:
            self._send(number, 90, 10, b"")
            self._expect((90, 11))
            payload = struct.pack("!H", 0) + short(exchange) + short(routing_key) + b"\x00"
            self._send(number, 60, 40, payload)
            header = struct.pack("!HHQH", 60, 0, 0, 0)
            self._link.sendall(frame(CONTENT_HEADER, number, header))
            self._send(number, 90, 30, b"")
            self._expect((90, 31))

    @contextlib.contextmanager
    def channel(self) -> Iterator[int]:
        """Open a channel for a while."""
        self._channel += 1
        number = self._channel
        self._send(number, 20, 10, short(""))
        self._expect((20, 11))
        yield number  # a refusal closes the channel by itself
        self._send(number, 20, 40, struct.pack("!H", 200) + short("") + b"\x00" * 4)
        self._expect((20, 41))

    def close(self) -> None:
        """Say goodbye and end the connection; never raises."""
        with contextlib.suppress(OSError, LostError, NotAmqpError, Refusal):
            self._timeout = min(self._timeout, 2.0)
            self._send(0, 10, 50, struct.pack("!H", 200) + short("") + b"\x00" * 4)
            self._expect((10, 51))
        self._link.close()

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _send(self, channel: int, kind: int, method: int, payload: bytes) -> None:
        try:
            self._link.sendall(frame(METHOD, channel, struct.pack("!HH", kind, method) + payload))
        except OSError as error:
            raise LostError(str(error)) from None

    def _expect(self, *methods: tuple[int, int]) -> Frame:
        deadline = time.monotonic() + self._timeout
        while True:
            received = self._receive(deadline)
            if received.kind == HEARTBEAT or received.kind != METHOD:
                continue
            if received.method in methods:
                return received
            if received.method in (_CLOSE, _CHANNEL_CLOSE):
                raise self._closed(received)
            if received.method not in _IGNORED:
                raise NotAmqpError(f"method {received.method} where it does not belong")

    def _closed(self, received: Frame) -> Refusal:
        reader = Reader(received.payload)
        code, text = reader.number("H"), reader.short()
        kind = 10 if received.method == _CLOSE else 20
        with contextlib.suppress(LostError):
            self._send(received.channel, kind, 51 if kind == 10 else 41, b"")
        return Refusal(code, text)

    def _receive(self, deadline: float) -> Frame:
        head = self._read(7, deadline)
        if head[:4] == b"AMQP":
            raise NotAmqpError("another version of AMQP")
        kind, channel, size = struct.unpack("!BHI", head)
        if size > MAX_FRAME or kind not in (1, 2, 3, 8):
            raise NotAmqpError("no AMQP at all")
        body = self._read(size + 1, deadline)
        if body[-1] != FRAME_END:
            raise NotAmqpError("a frame without its end")
        return Frame(kind, channel, body[:-1])

    def _read(self, size: int, deadline: float) -> bytes:
        while len(self._buffer) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._link.settimeout(left)
            try:
                received = self._link.recv(65_536)
            except TimeoutError:
                raise
            except OSError as error:
                raise LostError(error.strerror or str(error)) from None
            if not received:
                raise LostError("it was closed")
            self._buffer += received
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken
