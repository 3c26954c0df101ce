"""What becomes of connections that are still open when their process exits.

Pools keep connections until the very end and nobody closes them. An answer to a renewal may lie
unread in such a socket, and a kernel that closes a socket with unread data resets the link instead
of ending it: what was written last may be thrown away, and RabbitMQ 3.10 misses the end of a TLS
link that is reset and keeps its messages from other consumers. So every link is ended in order.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import selectors
import socket
import sys
import time
import weakref
from typing import Any, Protocol

LIMIT = 2.0
"""Seconds that all links of a process together may take to be closed by their brokers."""

_DISCARDED_AT_ONCE = 65536


class Transport(Protocol):
    """The sending and receiving end of a link."""

    def end(self) -> socket.socket | None:
        """Write no more; return a handle to wait for the peer's end, None if there is no link."""


_open: weakref.WeakKeyDictionary[Transport, None] = weakref.WeakKeyDictionary()
_registered_in: int | None = None


def at_exit(transport: Transport) -> None:
    """End the link of `transport` when this process exits, if it is still open then."""
    global _registered_in  # noqa: PLW0603 - children of a fork register by themselves
    _open[transport] = None
    if _registered_in == os.getpid():
        return
    if _registered_in is None:
        atexit.register(end_links)
    _registered_in = os.getpid()
    # The children of these libraries leave by `os._exit`, after their own finalizers only, and
    # begin without those of their parent; Celery's children do not even run those.
    for name in ("multiprocessing.util", "billiard.util"):
        if (library := sys.modules.get(name)) is not None:
            library.Finalize(None, end_links, exitpriority=0)
    if (signals := sys.modules.get("celery.signals")) is not None:
        signals.worker_process_shutdown.connect(_on_worker_process_shutdown)


def _on_worker_process_shutdown(**_: object) -> None:
    end_links()


def end_links(limit: float = LIMIT) -> None:
    """End the links of this process and wait until their brokers have read everything.

    Args:
        limit: Seconds to wait at most, for all of them together.
    """
    deadline = time.monotonic() + limit
    with contextlib.ExitStack() as handles, selectors.DefaultSelector() as waiting:
        for reference in _open.keyrefs():
            transport = reference()
            if transport is None:
                continue
            del _open[transport]
            if (handle := transport.end()) is not None:
                handles.enter_context(handle)
                waiting.register(handle, selectors.EVENT_READ)
        while waiting.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in waiting.select(left):
                if _has_ended(key.fileobj):
                    waiting.unregister(key.fileobj)


def _has_ended(handle: Any) -> bool:
    """Throw away what has arrived and return whether nothing more will come."""
    try:
        return not handle.recv(_DISCARDED_AT_ONCE)
    except BlockingIOError:
        return False
    except OSError:
        return True
