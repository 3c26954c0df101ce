"""An HTTP proxy on loopback that notes who wants where, and opens tunnels to this machine only."""

from __future__ import annotations

import base64
import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_LIMIT = 10.0


class ConnectProxy(socketserver.ThreadingTCPServer):
    """Answers CONNECT.

    Args:
        password: What `user` has to prove itself with; None lets everybody through.
        tunnels: The port of this machine behind each host and port that may be asked for.

    Attributes:
        wanted: Host and port of each request, in order.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self, password: str | None = None, tunnels: Mapping[str, int] | None = None
    ) -> None:
        """Listen on a free port."""
        self.tunnels = dict(tunnels or {})
        self.wanted: list[str] = []
        self.authorization: str | None = None
        if password is not None:
            encoded = base64.b64encode(f"user:{password}".encode()).decode()
            self.authorization = f"Basic {encoded}"
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])


class _Handler(socketserver.StreamRequestHandler):
    server: ConnectProxy
    timeout = _LIMIT

    def handle(self) -> None:
        first = self.rfile.readline().decode("latin-1").split()
        headers: dict[str, str] = {}
        while (line := self.rfile.readline().decode("latin-1").strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if len(first) != 3 or first[0] != "CONNECT":
            return
        self.server.wanted.append(first[1])
        wanted = self.server.authorization
        if wanted is not None and headers.get("proxy-authorization") != wanted:
            self._say("407 Proxy Authentication Required")
            return
        port = self.server.tunnels.get(first[1])
        if port is None:
            self._say("403 Forbidden")
            return
        with socket.create_connection(("127.0.0.1", port), timeout=_LIMIT) as target:
            self._say("200 Connection established")
            answers = threading.Thread(target=_copy, args=(target, self.connection))
            answers.start()
            _copy(self.connection, target)
            answers.join(_LIMIT)

    def _say(self, status: str) -> None:
        # What follows a 200 belongs to the tunnel, so it has no length (RFC 9110, 9.3.6).
        length = "" if status.startswith("200") else "Content-Length: 0\r\n"
        self.wfile.write(f"HTTP/1.1 {status}\r\n{length}\r\n".encode())


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def connect_proxy(
    password: str | None = None, tunnels: Mapping[str, int] | None = None
) -> Iterator[ConnectProxy]:
    """Run a proxy for as long as the block lasts."""
    with ConnectProxy(password, tunnels) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join(_LIMIT)
