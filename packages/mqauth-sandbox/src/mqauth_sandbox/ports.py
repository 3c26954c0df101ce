"""Free TCP ports on loopback."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

from mqauth_sandbox.errors import SandboxError

_FIRST = 20000
_ATTEMPTS = 2000


def free_ports(count: int) -> list[int]:
    """Return `count` different ports on which nothing listens, neither on 127.0.0.1 nor on ::1.

    They lie below the range the kernel gives to outgoing connections: a client that keeps trying a
    port of that range while its broker restarts may connect to itself and so take the port away.
    """
    ports: list[int] = []
    for _ in range(_ATTEMPTS):
        port = random.randrange(_FIRST, _first_outgoing_port())  # noqa: S311 - not a secret
        if port not in ports and _is_free(port):
            ports.append(port)
        if len(ports) == count:
            return ports
    raise SandboxError(
        f"found fewer than {count} free TCP ports on loopback",
        remedy=f"end what listens on ports from {_FIRST} upwards",
    )


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
