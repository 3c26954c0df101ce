"""The HTTP server: on the loopback interface only, and bounded in everything.

It is the standard library's, which asks for no further dependency in a program that handles
secrets. What that lacks for a server that other programs of the host may reach is added here: one
request per connection, a time limit for the whole of it (not only between two bytes), a limit on
connections and so on threads, and small limits on what is read. Handlers look things up in memory
and do nothing slow.
"""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import threading
import time
from http import HTTPStatus
from typing import ClassVar

from credproc.errors import UsageError
from credproc.serve.routes import Answer, Routes

ADDRESS = "127.0.0.1"
MOST_CONNECTIONS = 64
REQUEST_LIMIT = 5.0
"""Seconds from the connection to the end of the answer."""

LARGEST_BODY = 4096
POLL_INTERVAL = 0.5
"""Seconds between two looks for late connections, and whether to stop."""


class Server(socketserver.ThreadingTCPServer):
    """Listens on 127.0.0.1.

    Args:
        port: The port; 0 for a free one.
        hop_limit: IP time to live of what is sent, so that answers do not leave the host.
        routes: What to answer.

    Raises:
        UsageError: The port is in use or may not be used.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, *, port: int, hop_limit: int, routes: Routes) -> None:
        """Listen; nothing is answered before `start`."""
        self.routes = routes
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._lock = threading.Lock()
        self._open: dict[socket.socket, float] = {}
        try:
            super().__init__((ADDRESS, port), Handler)
            # What is accepted inherits it, so it holds from the first packet on.
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hop_limit)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {ADDRESS}:{port}: {error.strerror}",
                remedy="choose another with --port, or stop what uses it",
            ) from None
        except OverflowError:
            raise UsageError(f"there is no port {port}", remedy="choose one below 65536") from None
        self._thread = threading.Thread(
            target=self.serve_forever, args=(POLL_INTERVAL,), name="credproc-http"
        )

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self.server_address[1]
        return port

    def start(self) -> None:
        """Answer requests in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests, and let the answers under way go out."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join(REQUEST_LIMIT)
        self.server_close()
        deadline = time.monotonic() + 1.0
        while self._open and time.monotonic() < deadline:
            time.sleep(0.01)

    def service_actions(self) -> None:
        """Cut off connections whose time is over (called twice a second and per request)."""
        now = time.monotonic()
        with self._lock:
            late = [connection for connection, end in self._open.items() if end <= now]
        for connection in late:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def verify_request(self, request: object, client_address: object) -> bool:
        """Wait for a free place, so that there are never more threads than places."""
        while not self._places.acquire(timeout=0.1):
            self.service_actions()
        return True

    def process_request(self, request: object, client_address: object) -> None:
        """Answer in a thread of its own."""
        assert isinstance(request, socket.socket)  # noqa: S101 - a TCP server's
        with self._lock:
            self._open[request] = time.monotonic() + REQUEST_LIMIT
        super().process_request(request, client_address)

    def shutdown_request(self, request: object) -> None:
        """Close a connection and give its place to the next."""
        assert isinstance(request, socket.socket)  # noqa: S101 - a TCP server's
        with self._lock:
            known = self._open.pop(request, None) is not None
        super().shutdown_request(request)
        if known:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing when a client goes away in the middle: that is its own affair."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Reads one request and answers it."""

    server: Server
    server_version = "EC2ws"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = REQUEST_LIMIT
    wbufsize = 64 * 1024  # an answer in one packet, so that Nagle's algorithm delays none
    bodiless: ClassVar[set[str]] = {"HEAD"}

    def handle(self) -> None:
        """Answer one request and close: every connection's time is then bounded."""
        self.close_connection = True
        self.handle_one_request()

    def do_GET(self) -> None:
        """Answer."""
        self._answer()

    do_PUT = do_POST = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = do_GET

    def _answer(self) -> None:
        if self._skip_body():
            path = self.path.partition("?")[0]
            answer = self.server.routes.answer(self.command, path, self.headers)  # type: ignore[arg-type]
        else:
            answer = Answer(status=413, body="the request has a body that is not wanted")
        self._send(answer)

    def _skip_body(self) -> bool:
        # What is not read makes the kernel reset the connection, and the answer is lost with it.
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 6):
            return False
        if int(length) > LARGEST_BODY or "Transfer-Encoding" in self.headers:
            return False
        self.rfile.read(int(length))
        return True

    def _send(self, answer: Answer) -> None:
        body = answer.body.encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command not in self.bodiless:
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that is no HTTP, without repeating any of it."""
        self._send(Answer(status=code, body=HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing: a log of every request is of use to nobody."""
