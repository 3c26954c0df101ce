"""Sockets to which a second thread may write one frame while the owner reads or waits.

py-amqp sets the socket's timeout around every read, which would cut short a write that happens at
the same moment, and OpenSSL forbids reading and writing one connection in two threads at once. So
here the socket never blocks, waiting happens outside of it, and with TLS every single read or write
runs under a lock, held only for the time it takes.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from types import BuiltinFunctionType, TracebackType
from typing import Any

from amqp.transport import SSLTransport, TCPTransport

from celery_mqauth import farewell

WHOLE_FRAME_LIMIT = 2.0
"""Seconds for the rest of a frame of which a part is already written."""

GOODBYE_LIMIT = 0.5
"""Seconds to wait for another thread's read or write before a TLS link is ended without a word."""

_DISCARDED_AT_ONCE = 65536
_DISCARDS = 64

CLOSED = "the connection has been closed"
OUT_OF_STEP = "the connection was ended: a signal or a time limit has interrupted what was read"

_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class NothingCameError(TimeoutError):
    """A read has waited long enough, and goes on later.

    A handler of a signal may raise a `TimeoutError` too, at any point of a frame; one that reads
    another connection may even raise this.
    """

    def __init__(self, transport: Any) -> None:
        """Say which transport's read it was."""
        super().__init__("timed out")
        self.transport = transport


def wait_until_ready(sock: Any, *, writable: bool, timeout: float | None) -> bool:
    """Wait until `sock` can be read (or written); return False after `timeout` seconds."""
    descriptor = -1 if sock is None else sock.fileno()
    if descriptor < 0:
        raise OSError(CLOSED)
    # Looked up at each call: gevent and eventlet replace these, and eventlet removes `poll`.
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT if writable else select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))
    reading, writing = ([], [descriptor]) if writable else ([descriptor], [])
    return any(select.select(reading, writing, [], timeout))


class _Limit:
    """Context manager that sets how long reads and writes of a transport may wait."""

    __slots__ = ("_limit", "_previous", "_transport")

    def __init__(self, transport: _NeverBlocking, limit: float) -> None:
        self._transport = transport
        self._limit = limit

    def __enter__(self) -> Any:
        self._previous = self._transport.limit
        self._transport.limit = self._limit
        return self._transport.sock

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._transport.limit = self._previous


class _NeverBlocking:
    """What both kinds of transport share."""

    sock: Any
    connected: bool
    connect_timeout: float | None
    read_timeout: float | None
    write_timeout: float | None
    limits: threading.local
    _usual_limit: contextlib.AbstractContextManager[Any]
    _read_buffer: bytes
    _readable: Callable[[int], list[tuple[int, int]]] | None = None
    writes: int = 0
    """How many writes have begun; whoever is interrupted can tell whether anything is out."""
    in_frame: bool = False
    """Whether a part of the frame that is being read has been taken from the socket."""
    out_of_step: bool = False
    """Whether a part of what was read, or whose answer comes next, is not known any more."""
    _receive_now: Callable[[int], bytes]
    _send_now: Callable[[Any], int]

    @property
    def limit(self) -> float | None:
        """Seconds that this thread's reads and writes may wait; None: as long as it takes.

        Each thread has its own: one that only looks whether there is news (0 seconds) must not cut
        short what another, such as a task that acknowledges, writes at the same moment.
        """
        limit: float | None = getattr(self.limits, "seconds", None)
        return limit

    @limit.setter
    def limit(self, seconds: float | None) -> None:
        self.limits.seconds = seconds

    def having_timeout(self, timeout: float | None) -> contextlib.AbstractContextManager[Any]:
        """Let reads and writes wait at most `timeout` seconds, unless it is None."""
        return self._usual_limit if timeout is None else _Limit(self, timeout)

    def nothing_to_read(self) -> bool:
        """Return whether nothing has arrived; False also if that takes a read to tell.

        py-amqp looks before every publish, and a read that finds nothing costs many times this.
        """
        if self._readable is None or self.sock is None or self._read_buffer:
            return False
        try:
            return not self._readable(0)
        except RuntimeError:  # another thread looks at this moment
            return False

    def _setup_transport(self) -> None:
        super()._setup_transport()  # type: ignore[misc]  # the other base has it
        self.limits = threading.local()
        self._usual_limit = contextlib.nullcontext(self.sock)
        self.sock.setblocking(False)
        # gevent's takes a turn of its event loop, and eventlet has none.
        if isinstance(getattr(select, "poll", None), BuiltinFunctionType):
            poll = select.poll()
            poll.register(self.sock.fileno(), select.POLLIN)
            self._readable = poll.poll
        self._quick_recv = self._receive
        self._write = self._write_fully
        farewell.at_exit(self)

    def read_frame(self, *options: Any) -> Any:
        """Read one frame, or go on with one after a time-out."""
        if self.out_of_step:  # the kernel keeps what had arrived before the link was ended
            raise OSError(OUT_OF_STEP)
        self.in_frame = bool(self._read_buffer)
        return super().read_frame(*options)  # type: ignore[misc]  # the other base has it

    def lose_step(self) -> None:
        """End a link where what comes next would be taken for something else."""
        if not self.out_of_step:
            self.out_of_step = True
            self.break_off()

    def go_on_between_frames(self) -> None:
        """Go back to a read that waits for a frame, and has been interrupted by others."""
        self.in_frame = False
        if self._read_buffer:  # it would not look for what they have left there
            self.lose_step()

    def _receive(self, size: int) -> bytes:
        while True:
            # Before the read, as a signal that comes during it is handled before it returns.
            in_frame, self.in_frame = self.in_frame, True
            try:
                received = self._receive_now(size)
            except _WOULD_BLOCK as error:
                self.in_frame = in_frame
                if self.limit == 0:  # before every publish py-amqp looks whether there is news
                    raise NothingCameError(self) from None
                writable = isinstance(error, ssl.SSLWantWriteError)
            else:
                if self.out_of_step:  # a handler has taken a part while this waited
                    raise OSError(OUT_OF_STEP)
                return received
            limit = self.read_timeout if self.limit is None else self.limit
            if not wait_until_ready(self.sock, writable=writable, timeout=limit):
                raise NothingCameError(self)

    def _write_fully(self, data: Any) -> None:
        self.writes += 1
        try:
            sent = self._send_now(data)
        except _WOULD_BLOCK:
            sent = 0
        if sent == len(data):  # as almost always
            return
        limit = self.write_timeout if self.limit is None else self.limit
        deadline = None if limit is None else time.monotonic() + limit
        self._send_all(memoryview(data)[sent:], deadline)

    def forget(self) -> None:
        """Close this process's copy of a socket that another process goes on using."""
        sock, self.sock, self.connected = self.sock, None, False
        if sock is not None:
            sock.close()

    def _open_socket(self) -> Any:
        # Another thread may have closed the connection; py-amqp's callers expect an OSError then.
        sock = self.sock
        if sock is None:
            raise OSError(CLOSED)
        return sock

    def try_write(self, frame: memoryview) -> bool:
        """Write `frame` if it can go out now; the caller holds the frame lock.

        Returns:
            False if the link takes nothing at the moment; then nothing was written.

        Raises:
            OSError: The link broke, or stalled in the middle of the frame. It is of no use after
                that and its owner will notice.
        """
        if not wait_until_ready(self.sock, writable=True, timeout=0):
            return False
        self._send_all(frame, time.monotonic() + WHOLE_FRAME_LIMIT)
        return True

    def _send_all(self, data: memoryview, deadline: float | None) -> None:
        self.writes += 1
        while True:
            try:
                sent = self._send_now(data)
            except _WOULD_BLOCK as error:
                self._wait_to_send(deadline, wants_read=isinstance(error, ssl.SSLWantReadError))
                continue
            if sent == len(data):
                return
            data = data[sent:]

    def _wait_to_send(self, deadline: float | None, *, wants_read: bool) -> None:
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        if wait_until_ready(self.sock, writable=not wants_read, timeout=timeout):
            return
        # A part may be out already.
        self.break_off()
        raise TimeoutError("timed out")

    def break_off(self) -> None:
        """End a link on which half a frame is out: what followed would be read as garbage."""
        self.connected = False
        with contextlib.suppress(OSError), self._handle() as handle:
            handle.shutdown(socket.SHUT_RDWR)

    def end(self) -> socket.socket | None:
        """Tell the peer that nothing more will be written.

        Returns:
            Another handle of the socket, to wait for the peer's end; None if there is no link.
        """
        try:
            handle = self._handle()
        except OSError:
            return None
        try:
            self._say_goodbye()
            handle.shutdown(socket.SHUT_WR)
        except OSError:
            handle.close()
            return None
        return handle

    def close(self) -> None:
        """Close the socket, after throwing away what has arrived and nobody will read.

        The kernel would reset the link otherwise, and the peer might miss what was written last.
        """
        try:
            handle = self._handle()
        except OSError:
            handle = None
        super().close()  # type: ignore[misc]  # the other base has it
        if handle is None:
            return
        with handle, contextlib.suppress(OSError):
            # Not until nothing comes: a peer that goes on sending must not keep us here.
            for _ in range(_DISCARDS):
                if not handle.recv(_DISCARDED_AT_ONCE):
                    break

    def _handle(self) -> socket.socket:
        # Shutting the TLS socket itself down would take OpenSSL's state away from a thread that is
        # using it.
        sock = self.sock
        if sock is None or sock.fileno() < 0:
            raise OSError(CLOSED)
        handle = socket.socket(fileno=os.dup(sock.fileno()))
        handle.setblocking(False)
        return handle

    def _say_goodbye(self) -> None:
        """Write what the protocol below AMQP has for an end."""


class TCPSocketTransport(_NeverBlocking, TCPTransport):
    """Plain TCP; the kernel lets two threads use the two directions at once."""

    def _setup_transport(self) -> None:
        super()._setup_transport()
        self._receive_now = self.sock.recv
        self._send_now = self.sock.send


class TLSSocketTransport(_NeverBlocking, SSLTransport):
    """TLS; every operation on the OpenSSL object happens under one lock."""

    def _setup_transport(self) -> None:
        # Reentrant, as the handler of a signal may close the connection in between.
        self._openssl = threading.RLock()
        super()._setup_transport()
        self._receive_now = self._read_locked
        self._send_now = self._write_locked

    def nothing_to_read(self) -> bool:
        """Return whether nothing has arrived, neither encrypted nor decrypted."""
        return super().nothing_to_read() and not self._pending()

    def _pending(self) -> int:
        with self._openssl:
            sock = self.sock
            return 0 if sock is None else sock.pending()

    def _read_locked(self, size: int) -> bytes:
        with self._openssl:
            try:
                received: bytes = self._open_socket().read(size)
            except ValueError:  # shut down by another thread
                raise OSError(CLOSED) from None
            return received

    def _write_locked(self, data: memoryview) -> int:
        with self._openssl:
            try:
                sent: int = self._open_socket().write(data)
            except ValueError:  # shut down by another thread
                raise OSError(CLOSED) from None
            return sent

    def _say_goodbye(self) -> None:
        if not self._openssl.acquire(timeout=GOODBYE_LIMIT):
            return
        try:
            sock = self.sock
            if sock is None:  # another thread has closed the link meanwhile
                return
            # It asks for the peer's answer, which comes later or never.
            with contextlib.suppress(OSError, ValueError):
                sock.unwrap()
        finally:
            self._openssl.release()

    def _shutdown_transport(self) -> None:
        with self._openssl:
            # Saying goodbye to a peer that may be gone must not take longer than connecting to it.
            if self.sock is not None:
                self.sock.settimeout(min(self.connect_timeout or 1.0, 1.0))
            with contextlib.suppress(ValueError, AttributeError):  # shut down, or never wrapped
                super()._shutdown_transport()
