"""A small HTTPS server on loopback, for issuers that must be able to misbehave.

One thread per connection on the standard library's server. `stop` ends every connection, so a
client or a fault that hangs never holds it up, and `start` afterwards uses the same port again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.message import Message
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from mqauth_sandbox.faults import Endpoint, FaultMode, Faults
from mqauth_sandbox.ports import free_ports

logger = logging.getLogger(__name__)

HOST = "localhost"
_ADDRESS = "127.0.0.1"
_IDLE_TIMEOUT = 60.0
_PORT_TIMEOUT = 5.0
_END_LIMIT = 5.0
_LARGEST_REQUEST = 1 << 20
_GARBAGE_SIZE = 5 << 20
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends RST
_ANSWERED = ("none", "slow", "not_jwt", "expired", "empty_set", "no_expiration", "half_body")
_PAGE = b"<!doctype html><html><head><title>Sign in</title></head><body>Sign in</body></html>"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a client sent.

    Args:
        method: HTTP method, in capitals.
        target: Path and query as they stood on the request line.
        headers: All headers; looked up without regard to case.
        body: The whole body.
    """

    method: str
    target: str
    headers: Message
    body: bytes = field(repr=False)

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> str:
        """The target's query, still encoded."""
        return urlsplit(self.target).query


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """What goes back to the client; `Content-Length` and `Date` are added when it is sent.

    A truncated one ends in the middle of its body, whatever its length says.
    """

    status: int
    body: bytes = field(repr=False)
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    truncated: bool = False


def json_response(
    content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return `content` as a JSON response that no cache keeps."""
    return Response(
        status=status,
        body=json.dumps(content).encode(),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def not_found(path: str) -> Response:
    """Return the 404 for a path that the server does not have."""
    return json_response({"error": "not_found", "error_description": f"no such path: {path}"}, 404)


def retry_after_header(seconds: float | None) -> dict[str, str]:
    """Return the `Retry-After` header in whole seconds (RFC 9110, 10.2.3), if there is one."""
    return {} if seconds is None else {"Retry-After": str(-int(-seconds // 1))}


class Application(Protocol):
    """What a server serves."""

    def endpoint(self, path: str) -> Endpoint:
        """Return which half of the issuer `path` belongs to."""
        ...

    def respond(self, request: Request) -> Response:
        """Answer `request`; the faults `not_jwt`, `expired`, ... are honoured here."""
        ...

    def faulted(self, request: Request, mode: FaultMode) -> Response:
        """Take note of a request that a fault keeps from `respond`.

        Returns:
            The error in the application's own format; used for `error500`, `throttle` and
            `not_json`, ignored for the others.
        """
        ...


class HttpsServer:
    """Serves one application over HTTPS on a free port of the loopback interface.

    Args:
        application: What answers the requests.
        faults: How the server misbehaves.
        certificate: PEM file with the server's certificate and its chain.
        private_key: PEM file with the certificate's key.
        port: Port to use; 0 for a free one, which then stays the same over restarts.

    Attributes:
        port: Port it listens on once started.
    """

    def __init__(
        self,
        application: Application,
        faults: Faults,
        *,
        certificate: Path,
        private_key: Path,
        port: int = 0,
    ) -> None:
        """Read the certificate; nothing listens before `start`."""
        self._application = application
        self._faults = faults
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._tls.load_cert_chain(certificate, private_key)
        self.port = port or free_ports(1)[0]
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        return f"https://{HOST}:{self.port}"

    def start(self) -> None:
        """Listen, and answer from background threads; nothing happens if it does already."""
        if self._listener is not None:
            return
        self._listener = self._bind()
        self._thread = threading.Thread(
            target=self._listener.serve_forever,
            kwargs={"poll_interval": 0.05},
            name=f"mqauth-sandbox-https-{self.port}",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """End all connections and stop listening; the port is kept for the next `start`."""
        listener, thread = self._listener, self._thread
        if listener is None or thread is None:
            return
        self._listener = self._thread = None
        listener.shutdown()
        thread.join()
        listener.end_connections()
        listener.server_close()

    def _bind(self) -> _Listener:
        # After a restart an outgoing connection of anybody's may sit on our port for a moment.
        deadline = time.monotonic() + _PORT_TIMEOUT
        while True:
            try:
                return _Listener(self.port, self._tls, self._application, self._faults)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


class _Listener(ThreadingHTTPServer):
    """Accepts connections; the TLS handshake is left to each connection's own thread."""

    request_queue_size = 128
    server_address: tuple[str, int]

    def __init__(
        self, port: int, tls: ssl.SSLContext, application: Application, faults: Faults
    ) -> None:
        self.tls = tls
        self.application = application
        self.faults = faults
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._live: dict[threading.Thread, socket.socket] = {}
        super().__init__((_ADDRESS, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own looks up the host's full name, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._lock:
            self._live[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            request.settimeout(_IDLE_TIMEOUT)
            if self.faults.mode == "down" and self.faults.affects == "everything":
                _reset_when_spoken_to(request)
            else:
                self._speak_tls(request, client_address)
        except OSError as error:
            logger.debug("connection ended: %s", error)
        except Exception:
            logger.exception("a request failed")
        finally:
            request.close()
            with self._lock:
                del self._live[threading.current_thread()]

    def _speak_tls(self, request: socket.socket, client_address: Any) -> None:
        with self.tls.wrap_socket(
            request, server_side=True, do_handshake_on_connect=False
        ) as connection:
            with self._lock:
                self._live[threading.current_thread()] = connection
            # Looked at only once `end_connections` can see the connection, so one of both notices.
            if not self.stopping.is_set():
                connection.do_handshake()
                self.finish_request(connection, client_address)

    def end_connections(self) -> None:
        """Shut every connection's socket, which wakes its thread up, and wait for the threads."""
        self.stopping.set()
        with self._lock:
            live = dict(self._live)
        for connection in live.values():
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown: it drops the TLS object under the other thread's feet.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in live:
            thread.join(_END_LIMIT)


class _Handler(BaseHTTPRequestHandler):
    """Reads one request after the other from a connection, applies faults, answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one write
    timeout = _IDLE_TIMEOUT

    @property
    def listener(self) -> _Listener:
        return cast("_Listener", self.server)

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _serve(self) -> None:
        request = self._read()
        if request is None:
            return
        response = self._answer(request)
        if response is None:
            self.close_connection = True
            return
        logger.debug("%s %s -> %d", request.method, request.path, response.status)
        self._send(response)

    def _read(self) -> Request | None:
        length = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding"):
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
        elif not length.isdecimal():
            self._refuse(HTTPStatus.BAD_REQUEST)
        elif int(length) > _LARGEST_REQUEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            return Request(
                method=self.command,
                target=self.path,
                headers=self.headers,
                body=self.rfile.read(int(length)),
            )
        return None

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._send(json_response({"error": status.phrase}, status, {"Connection": "close"}))

    def _answer(self, request: Request) -> Response | None:
        application, faults = self.listener.application, self.listener.faults
        mode = faults.mode_for(application.endpoint(request.path))
        if mode == "slow" and self.listener.stopping.wait(faults.delay):
            return None
        if mode in _ANSWERED:
            response = self._respond(request)
            return replace(response, truncated=True) if mode == "half_body" else response
        return self._misbehave(mode, application.faulted(request, mode))

    def _misbehave(self, mode: FaultMode, own_error: Response) -> Response | None:
        match mode:
            case "down":
                _reset_on_close(self.connection)
                return None
            case "hang":
                self._hang()
                return None
            case "nothing":
                return None
            case "html":
                return Response(status=200, body=_PAGE, content_type="text/html; charset=utf-8")
            case "garbage":
                body = os.urandom(_GARBAGE_SIZE)
                return Response(status=200, body=body, content_type="application/json")
            case _:
                return own_error

    def _respond(self, request: Request) -> Response:
        try:
            return self.listener.application.respond(request)
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            return json_response({"error": "server_error"}, 500)

    def _hang(self) -> None:
        # Blocks until the client gives up or `stop` shuts the socket.
        self.connection.settimeout(None)
        while self.connection.recv(4096):
            pass

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if response.truncated:
            self.close_connection = True
            self.wfile.write(response.body[: len(response.body) // 2])
        elif self.command != "HEAD":
            self.wfile.write(response.body)

    def version_string(self) -> str:
        return "mqauth-sandbox"

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(timestamp or self.listener.faults.now(), usegmt=True)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        # The library's own lines hold the query; ours, in `_serve`, only the path.
        pass


def _reset_on_close(connection: socket.socket) -> None:
    """Make `close` send a reset, as a dead host does, instead of an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def _reset_when_spoken_to(connection: socket.socket) -> None:
    # Not at once: Python's ssl leaks the socket of a client that is reset before it speaks.
    connection.recv(1, socket.MSG_PEEK)
    _reset_on_close(connection)
