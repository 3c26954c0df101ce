"""The proxy between real TCP sockets."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from mqauth_sandbox.errors import SandboxError
from mqauth_sandbox.proxy import TcpProxy

LIMIT = 20.0


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets."""

    def handle(self) -> None:
        """Echo until the client ends, then say good-bye."""
        try:
            while data := self.request.recv(65536):
                self.request.sendall(data)
            self.request.sendall(b"bye")
        except ConnectionResetError:
            self.server.resets.release()  # type: ignore[attr-defined]


class EchoServer(socketserver.ThreadingTCPServer):
    """An echo server that counts the resets it sees."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a free port."""
        self.resets = threading.Semaphore(0)
        super().__init__(("127.0.0.1", 0), Echo)


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    """A running echo server."""
    with EchoServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[TcpProxy]:
    """A running proxy to the echo server."""
    with TcpProxy(echo.server_address[1]) as proxy:
        yield proxy


def connect(proxy: TcpProxy) -> socket.socket:
    """Connect through the proxy."""
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=LIMIT)


def read(client: socket.socket, count: int) -> bytes:
    """Read exactly so many bytes, or fewer at the end of the stream."""
    received = b""
    while len(received) < count and (data := client.recv(count - len(received))):
        received += data
    return received


def test_bytes_pass_in_both_directions(proxy: TcpProxy) -> None:
    """A megabyte comes back unchanged while the client writes and reads at once."""
    sent = bytes(range(256)) * 4096
    with connect(proxy) as client:
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        assert read(client, len(sent)) == sent
        writer.join(LIMIT)
    assert not writer.is_alive()


def test_a_half_closed_link_still_answers(proxy: TcpProxy) -> None:
    """The end of one direction reaches the target, and its last words reach the client."""
    with connect(proxy) as client:
        client.sendall(b"x")
        assert read(client, 1) == b"x"
        client.shutdown(socket.SHUT_WR)
        assert read(client, 100) == b"bye"
        assert client.recv(1) == b""


def test_cut_resets_both_sides(proxy: TcpProxy, echo: EchoServer) -> None:
    """A cut is a reset, not an orderly end, for client and target, and counts the links."""
    with connect(proxy) as first, connect(proxy) as second:
        for client in (first, second):
            client.sendall(b"x")
            assert read(client, 1) == b"x"
        assert proxy.links == 2
        assert proxy.cut() == 2
        for client in (first, second):
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert all(echo.resets.acquire(timeout=LIMIT) for _ in range(2))
    assert proxy.links == 0
    with connect(proxy) as client:  # and new ones are welcome
        client.sendall(b"y")
        assert read(client, 1) == b"y"


def test_stall_keeps_sockets_open_and_loses_nothing(proxy: TcpProxy) -> None:
    """While stalled nothing passes, not even over a new connection; afterwards all of it does."""
    with connect(proxy) as old:
        old.sendall(b"a")
        assert read(old, 1) == b"a"
        proxy.stall()
        with connect(proxy) as new:
            for client in (old, new):
                client.sendall(b"bc")
                client.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    client.recv(1)
                client.settimeout(LIMIT)
            proxy.resume()
            assert read(old, 2) == b"bc"
            assert read(new, 2) == b"bc"


def test_refuse_leaves_live_links_alone(proxy: TcpProxy) -> None:
    """New connections are refused while the live one works; later they are accepted again."""
    with connect(proxy) as live:
        live.sendall(b"1")
        assert read(live, 1) == b"1"
        proxy.refuse(True)
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        live.sendall(b"2")
        assert read(live, 1) == b"2"
        proxy.refuse(False)
        with connect(proxy) as client:
            client.sendall(b"3")
            assert read(client, 1) == b"3"


def test_an_unreachable_target_resets_the_client(proxy: TcpProxy, echo: EchoServer) -> None:
    """A link whose target does not listen is reset."""
    echo.server_close()
    with connect(proxy) as client, pytest.raises(ConnectionResetError):
        client.recv(1)


def test_close_is_final_and_can_be_repeated(echo: EchoServer) -> None:
    """After close nothing listens, no thread is left, and a switch says that it has no effect."""
    proxy = TcpProxy(echo.server_address[1])
    proxy.start()
    with connect(proxy) as client:
        client.sendall(b"x")
        assert read(client, 1) == b"x"
        proxy.close()
        proxy.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    assert not [t for t in threading.enumerate() if t.name.endswith(f"proxy-{proxy.port}")]
    with pytest.raises(SandboxError, match="does not run"):
        proxy.stall()


def test_a_long_line(proxy: TcpProxy) -> None:
    """The first answer takes two round trips, the next one; everything arrives in order."""
    proxy.round_trip = 0.1
    sent = bytes(range(256)) * 2048
    with connect(proxy) as client:
        started = time.monotonic()
        client.sendall(b"x")
        assert read(client, 1) == b"x"
        assert time.monotonic() - started >= 0.2
        started = time.monotonic()
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        assert read(client, len(sent)) == sent
        assert time.monotonic() - started >= 0.1
        writer.join(LIMIT)
        client.shutdown(socket.SHUT_WR)
        assert read(client, 100) == b"bye"
