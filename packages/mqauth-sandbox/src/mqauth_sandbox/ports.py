"""Free TCP ports on loopback, which no other process of this package hands out."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from mqauth_sandbox.errors import SandboxError

_FIRST = 20000
_BLOCK_SIZE = 200


class _Block:
    """A run of ports that belongs to this process for as long as it lives.

    A server binds its port long after the port was chosen (RabbitMQ and Kafka take seconds), so
    that a look for a free one would not keep two processes apart. The socket on a block's first
    port does; the kernel frees it however the process ends.
    """

    def __init__(self, first: int) -> None:
        self._claim = socket.socket()
        try:
            self._claim.bind(("127.0.0.1", first))
        except OSError:
            self._claim.close()
            raise
        self._ports = range(first + 1, first + _BLOCK_SIZE)
        self._handed_out = 0

    def free_ports(self) -> Iterator[int]:
        """Yield each port once on which nothing listens, the longest unused one first."""
        for _ in self._ports:
            port = self._ports[self._handed_out % len(self._ports)]
            self._handed_out += 1
            if _is_free(port):
                yield port

    def forget(self) -> None:
        """Leave the block to others, or to the process that this one was forked from."""
        self._claim.close()


class _Blocks:
    """The blocks of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: list[_Block] = []

    def free_ports(self, count: int) -> list[int]:
        """See `free_ports` of the module."""
        with self._lock:
            held = len(self._held)
            ports = self._among_held(count)
            while len(ports) < count and self._claim_another():
                ports = self._among_held(count)
            if len(ports) == count:
                return ports
            self._forget_from(held)
        raise SandboxError(
            f"found fewer than {count} free TCP ports on loopback",
            remedy=f"end what listens on ports from {_FIRST} upwards",
        )

    def after_fork(self) -> None:
        """Hold nothing: the blocks are the parent's."""
        self._lock = threading.Lock()
        self._forget_from(0)

    def _among_held(self, count: int) -> list[int]:
        ports = chain.from_iterable(block.free_ports() for block in self._held)
        return list(islice(ports, count))

    def _forget_from(self, number: int) -> None:
        for block in self._held[number:]:
            block.forget()
        del self._held[number:]

    def _claim_another(self) -> bool:
        firsts = list(range(_FIRST, _first_outgoing_port() - _BLOCK_SIZE + 1, _BLOCK_SIZE))
        random.shuffle(firsts)
        for first in firsts:
            with contextlib.suppress(OSError):
                self._held.append(_Block(first))
                return True
        return False


_blocks = _Blocks()
os.register_at_fork(after_in_child=_blocks.after_fork)


def free_ports(count: int) -> list[int]:
    """Return `count` different ports on which nothing listens, neither on 127.0.0.1 nor on ::1.

    No two processes get the same one. They lie below the range the kernel gives to outgoing
    connections: a client that keeps trying a port of that range while its broker restarts may
    connect to itself and so take the port away.

    Raises:
        SandboxError: There are not so many.
    """
    return _blocks.free_ports(count)


def has_ipv6_loopback() -> bool:
    """Tell whether ::1 can be listened on."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _first_outgoing_port() -> int:
    with contextlib.suppress(OSError, ValueError):
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        if first > _FIRST + 1000:
            return first
    return 32768


def _is_free(port: int) -> bool:
    families = [(socket.AF_INET, "127.0.0.1")]
    if has_ipv6_loopback():
        families.append((socket.AF_INET6, "::1"))
    for family, address in families:
        try:
            with socket.socket(family) as probe:
                probe.bind((address, port))
        except OSError:
            return False
    return True
