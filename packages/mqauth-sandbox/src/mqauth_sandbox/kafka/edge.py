"""What Amazon MSK has in front of a Kafka broker: TLS, and sign-in by IAM over OAUTHBEARER.

`MskEdge` speaks SASL with the client (requests 17 and 36 of the Kafka protocol) and has a judge
look at the token. What follows goes to a real broker, where the edge has signed in by itself. As a
broker does, it lets nothing through before, and nothing after the end of the session unless the
client has signed in again.

Source: the Kafka protocol guide (SaslHandshake 0-1, SaslAuthenticate 0-2); RFC 7628.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mqauth_sandbox.msk_token import MskLogin, MskTokenError
from mqauth_sandbox.running import Running

Judge = Callable[[str], MskLogin]
"""Returns what a token stands for, or raises `MskTokenError`."""

_HANDSHAKE, _API_VERSIONS, _AUTHENTICATE = 17, 18, 36
_MECHANISM = b"OAUTHBEARER"
_UNSUPPORTED_MECHANISM, _AUTHENTICATION_FAILED = 33, 58
_TOKEN = re.compile(rb"n,[^,]*,\x01auth=Bearer ([^\x01]+)\x01(?:[^\x01]*\x01)*\x01", re.DOTALL)
_LIMIT = 20.0
_LARGEST = 100_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class MskSignIn:
    """One attempt to sign in.

    Args:
        outcome: `ok`, or why the token was refused.
        arn: Whose it was.
        again: Whether the client was signed in already.
    """

    outcome: str
    arn: str | None = None
    again: bool = False


class MskEdge(Running):
    """A TLS port that signs clients in by IAM and passes them on.

    Args:
        port: Port to listen on.
        certificate: The server's certificate chain.
        private_key: Its key.
        broker_port: The broker's port for this edge: SASL_PLAINTEXT with PLAIN.
        broker_login: Name and password for it.
        judge: Looks at tokens.
        max_reauth: Seconds after which a client must sign in again; 0 for no sooner than its token
            ends.

    Attributes:
        port: Where it listens.
        sign_ins: All attempts so far, oldest first.
    """

    def __init__(
        self,
        *,
        port: int,
        certificate: Path,
        private_key: Path,
        broker_port: int,
        broker_login: tuple[str, str],
        judge: Judge,
        max_reauth: float = 0.0,
    ) -> None:
        """Read the certificate; nothing listens before `start`."""
        self.port = port
        self.sign_ins: list[MskSignIn] = []
        self.judge = judge
        self.max_reauth = max_reauth
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, private_key)
        self._broker = broker_port, broker_login
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Listen."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """End everything."""
        with self._lock:
            ending = [*self._open, *([self._listener] if self._listener else [])]
            self._open.clear()
        for one in ending:
            _end(one)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        client: socket.socket = plain
        broker: socket.socket | None = None
        try:
            plain.settimeout(_LIMIT)
            client = self._context.wrap_socket(plain, server_side=True)
            client.settimeout(None)
            broker = _signed_in_at_broker(*self._broker)
            with self._lock:
                self._open |= {client, broker}
            _Conversation(self, client, broker).run()
        except (OSError, ConnectionError, struct.error, IndexError):
            pass  # the client is gone, or was no Kafka client
        finally:
            for one in (client, broker):
                if one is not None:
                    with self._lock:
                        self._open.discard(one)
                    _end(one)


class _Conversation:
    """One client's way through the edge."""

    def __init__(self, edge: MskEdge, client: socket.socket, broker: socket.socket) -> None:
        self._edge, self._client, self._broker = edge, client, broker
        self._writing = threading.Lock()
        self._ends_at = 0.0
        self._login: MskLogin | None = None
        self._handshaken = False

    def run(self) -> None:
        answers = threading.Thread(target=self._pass_answers, daemon=True)
        answers.start()
        while True:
            frame = _read_frame(self._client)
            api, version, correlation = struct.unpack_from(">hhi", frame)
            if api == _HANDSHAKE:
                self._answer(correlation, self._handshake(_body(frame, flexible=False)))
            elif api == _AUTHENTICATE:
                if not self._authenticate(frame, version, correlation):
                    return
            elif api == _API_VERSIONS or time.time() < self._ends_at:
                self._broker.sendall(_framed(frame))
            else:
                return  # not signed in, or not any more

    def _handshake(self, body: bytes) -> bytes:
        (length,) = struct.unpack_from(">h", body)
        self._handshaken = body[2 : 2 + length] == _MECHANISM
        error = 0 if self._handshaken else _UNSUPPORTED_MECHANISM
        return struct.pack(">hih", error, 1, len(_MECHANISM)) + _MECHANISM

    def _authenticate(self, frame: bytes, version: int, correlation: int) -> bool:
        flexible = version >= 2
        sent = _auth_bytes(_body(frame, flexible=flexible), flexible=flexible)
        refusal, again = None, self._login is not None
        try:
            self._login = self._judged(sent)
        except MskTokenError as error:
            refusal = str(error)
        login = None if refusal else self._login
        self._edge.sign_ins.append(
            MskSignIn(outcome=refusal or "ok", arn=login.arn if login else None, again=again)
        )
        lifetime = 0.0
        if login is not None:
            lifetime = login.ends_at - time.time()
            if self._edge.max_reauth:
                lifetime = min(lifetime, self._edge.max_reauth)
            self._ends_at = time.time() + lifetime
        answer = _authenticated(version, lifetime, None if refusal is None else b"Access denied")
        self._answer(correlation, answer, flexible=flexible)
        return refusal is None

    def _judged(self, sent: bytes) -> MskLogin:
        found = _TOKEN.fullmatch(sent)
        if found is None or not self._handshaken:
            raise MskTokenError("no OAUTHBEARER message")
        return self._edge.judge(found[1].decode("ascii", "replace"))

    def _answer(self, correlation: int, body: bytes, *, flexible: bool = False) -> None:
        header = struct.pack(">i", correlation) + (b"\0" if flexible else b"")
        with self._writing:
            self._client.sendall(_framed(header + body))

    def _pass_answers(self) -> None:
        with contextlib.suppress(OSError, ConnectionError):
            while True:
                frame = _read_frame(self._broker)
                with self._writing:
                    self._client.sendall(_framed(frame))
        _end(self._client)


def _signed_in_at_broker(port: int, login: tuple[str, str]) -> socket.socket:
    """Return a connection to the broker that has signed in with PLAIN."""
    broker = socket.create_connection(("127.0.0.1", port), _LIMIT)
    try:
        _ask(broker, _HANDSHAKE, 1, struct.pack(">h", 5) + b"PLAIN")
        secret = f"\0{login[0]}\0{login[1]}".encode()
        answer = _ask(broker, _AUTHENTICATE, 0, struct.pack(">i", len(secret)) + secret)
        if struct.unpack_from(">h", answer, 4)[0]:
            raise ConnectionError("the broker does not take the edge's login")  # noqa: TRY301
    except BaseException:
        broker.close()
        raise
    broker.settimeout(None)
    return broker


def _ask(broker: socket.socket, api: int, version: int, body: bytes) -> bytes:
    broker.sendall(_framed(struct.pack(">hhih", api, version, 0, 4) + b"edge" + body))
    return _read_frame(broker)


def _framed(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content


def _read_frame(connection: socket.socket) -> bytes:
    (length,) = struct.unpack(">i", _read(connection, 4))
    if not 0 < length < _LARGEST:
        raise ConnectionError("no Kafka")
    return _read(connection, length)


def _read(connection: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = connection.recv(min(length - len(parts), 65536))
        if not part:
            raise ConnectionError("closed")
        parts += part
    return bytes(parts)


def _body(frame: bytes, *, flexible: bool) -> bytes:
    """Return a request without its header (version 1, or 2 if flexible)."""
    (length,) = struct.unpack_from(">h", frame, 8)
    end = 10 + max(length, 0)
    return frame[end + 1 :] if flexible else frame[end:]


def _auth_bytes(body: bytes, *, flexible: bool) -> bytes:
    if not flexible:
        (length,) = struct.unpack_from(">i", body)
        return body[4 : 4 + length]
    length, shift, at = 0, 0, 0
    while True:
        length |= (body[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not body[at - 1] & 0x80:
            return body[at : at + length - 1]


def _authenticated(version: int, lifetime: float, refusal: bytes | None) -> bytes:
    """Return the body of an answer to SaslAuthenticate."""
    error = 0 if refusal is None else _AUTHENTICATION_FAILED
    if version >= 2:
        text = b"\0" if refusal is None else bytes((len(refusal) + 1,)) + refusal
        return struct.pack(">h", error) + text + b"\1" + struct.pack(">q", _ms(lifetime)) + b"\0"
    text = struct.pack(">h", -1) if refusal is None else struct.pack(">h", len(refusal)) + refusal
    tail = struct.pack(">q", _ms(lifetime)) if version >= 1 else b""
    return struct.pack(">h", error) + text + struct.pack(">i", 0) + tail


def _ms(seconds: float) -> int:
    return max(0, int(seconds * 1000))


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        connection.close()
