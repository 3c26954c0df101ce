"""A TCP proxy on loopback that breaks links on demand."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from mqauth_sandbox.errors import SandboxError
from mqauth_sandbox.ports import free_ports, has_ipv6_loopback
from mqauth_sandbox.running import Running

T = TypeVar("T")

_CALL_LIMIT = 10.0
_CONNECT_LIMIT = 5.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER without time: close() sends RST


class TcpProxy(Running):
    """Forwards TCP connections to a port of this machine.

    It works in a thread of its own; every method may be called from any thread and has taken
    effect when it returns. Usable as a context manager.

    Args:
        target_port: Where connections go, on 127.0.0.1.

    Attributes:
        port: Where the proxy listens, on localhost.
        round_trip: Seconds that bytes take there and back, and that opening a connection takes,
            as over a long line; holds for connections that are opened afterwards.
    """

    def __init__(self, target_port: int) -> None:
        """Choose a port; nothing listens before `start`."""
        (self.port,) = free_ports(1)
        self._target_port = target_port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._listener: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._stalled = False
        self.round_trip = 0.0

    @property
    def links(self) -> int:
        """How many connections pass through at present."""
        return len(self._links)

    def start(self) -> None:
        """Listen; nothing happens if it does already."""
        if self._loop is not None:
            return
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=f"mqauth-sandbox-proxy-{self.port}", daemon=True
        )
        self._thread.start()
        try:
            self.refuse(False)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Reset all links and stop listening for good."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self.refuse(True)
        self.cut()
        self._loop = None
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_CALL_LIMIT)
        loop.close()

    def cut(self) -> int:
        """Reset every live link on both sides, as a broken network does; return how many."""
        return self._call(self._cut())

    def stall(self) -> None:
        """Let no more bytes pass; the sockets stay open and new ones are accepted."""
        self._call(self._set_stalled(True))

    def resume(self) -> None:
        """Let bytes pass again, those that waited included."""
        self._call(self._set_stalled(False))

    def refuse(self, refused: bool) -> None:  # noqa: FBT001 - a switch, named by the method
        """Refuse new connections, or accept them again. Live links are not touched."""
        self._call(self._refuse(refused))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise SandboxError("the proxy does not run", remedy="call start() first")
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_LIMIT)
        except TimeoutError:
            raise SandboxError("the proxy's thread does not answer") from None

    async def _refuse(self, refused: bool) -> None:  # noqa: FBT001
        if refused and self._listener is not None:
            self._listener.close()
            self._listener = None
        elif not refused and self._listener is None:
            hosts = ["127.0.0.1", *(["::1"] if has_ipv6_loopback() else [])]
            self._listener = await asyncio.get_running_loop().create_server(
                self._accept, hosts, self.port
            )

    async def _set_stalled(self, stalled: bool) -> None:  # noqa: FBT001
        self._stalled = stalled
        for link in self._links:
            link.set_stalled(stalled)

    async def _cut(self) -> int:
        links = list(self._links)
        for link in links:
            link.reset()
        await asyncio.sleep(0)  # aborted transports close their sockets in the loop's next round
        return len(links)

    def _accept(self) -> _Side:
        link = _Link(
            self._target_port,
            stalled=self._stalled,
            round_trip=self.round_trip,
            ended=self._links.discard,
        )
        self._links.add(link)
        return link.client


class _Link:
    """One client's connection and the one to the target that belongs to it."""

    def __init__(
        self,
        target_port: int,
        *,
        stalled: bool,
        round_trip: float,
        ended: Callable[[_Link], None],
    ) -> None:
        self.stalled = stalled
        self._target_port = target_port
        self._ended = ended
        # Loopback connects at once; the round trip that opens a connection is made up for before
        # the client's first bytes, which could not have been sent any earlier.
        self.client = _Side(self, delay=round_trip / 2, extra=round_trip)
        self.target = _Side(self, delay=round_trip / 2)
        self.client.other, self.target.other = self.target, self.client
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_LIMIT):
                await loop.create_connection(lambda: self.target, "127.0.0.1", self._target_port)
        except (OSError, TimeoutError):
            self.reset()

    def set_stalled(self, stalled: bool) -> None:  # noqa: FBT001
        self.stalled = stalled
        self.update()

    def update(self) -> None:
        """Let each side read if nothing stands against it."""
        self.client.update()
        self.target.update()

    def finish(self) -> None:
        """Both sides have said all: close them once that is sent."""
        self.client.close()
        self.target.close()
        self._ended(self)

    def reset(self) -> None:
        self._connecting.cancel()
        self.client.reset()
        self.target.reset()
        self._ended(self)


class _Side(asyncio.Protocol):
    """One end of a link; what it receives goes to the other end."""

    other: _Side

    def __init__(self, link: _Link, *, delay: float = 0.0, extra: float = 0.0) -> None:
        self._link = link
        self._delay = delay
        self._not_before = extra  # relative until the connection is made, then the loop's time
        self.transport: asyncio.Transport | None = None
        self.full = False
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._not_before += asyncio.get_running_loop().time() + self._delay
        self._link.update()

    def data_received(self, data: bytes) -> None:
        self._after_the_line(self._pass_on, data)

    def _pass_on(self, data: bytes) -> None:
        if self.other.transport is not None:
            self.other.transport.write(data)

    def _after_the_line(self, act: Callable[..., object], *arguments: object) -> None:
        """Act when what came now has travelled the line, and never before what came earlier."""
        if not self._delay:
            act(*arguments)
            return
        loop = asyncio.get_running_loop()
        # Timers for the same moment may fire in any order.
        self._not_before = max(loop.time() + self._delay, self._not_before + 1e-6)
        loop.call_at(self._not_before, act, *arguments)

    def eof_received(self) -> bool:
        self._after_the_line(self._pass_on_end)
        return True  # the other direction may go on

    def _pass_on_end(self) -> None:
        self.ended = True
        if self.other.ended:
            self._link.finish()
        elif self.other.transport is not None:
            self.other.transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if exc is not None:
            self._link.reset()

    def pause_writing(self) -> None:
        self.full = True
        self.other.update()

    def resume_writing(self) -> None:
        self.full = False
        self.other.update()

    def update(self) -> None:
        """Read only while the link flows and the other side takes what comes."""
        if self.transport is None or self.transport.is_closing() or self.ended:
            return
        if self._link.stalled or self.other.transport is None or self.other.full:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            connection: socket.socket = self.transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()
