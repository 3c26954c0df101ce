"""What the root conftest overlooks of that which tests leave behind, and what not."""

from __future__ import annotations

import gc
import socket
import ssl
import struct
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme

ROOT = Path(__file__).resolve().parents[2]
RESET_AT_CLOSE = struct.pack("ii", 1, 0)


@pytest.fixture(name="tls")
def server_settings() -> ssl.SSLContext:
    """Return what a server begins TLS with."""
    settings = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(settings)
    return settings


@pytest.fixture(name="conftest")
def root_conftest(pytestconfig: pytest.Config) -> Any:
    """Return the root conftest as it was loaded."""
    (found,) = (
        plugin
        for plugin in pytestconfig.pluginmanager.get_plugins()
        if getattr(plugin, "__file__", None) == str(ROOT / "conftest.py")
    )
    return found


def test_what_wrap_socket_forgets_hits_no_test(tls: ssl.SSLContext) -> None:
    """A peer that resets before TLS begins leaves a socket that nobody could close.

    This test would fail by the warning about it, which pytest raises at its end.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        client.close()
        deadline = time.monotonic() + 10
        while is_connected(accepted) and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(ConnectionResetError):
            tls.wrap_socket(accepted, server_side=True)
    gc.collect()


def is_connected(link: socket.socket) -> bool:
    """Whether the peer's reset has not arrived yet."""
    try:
        link.getpeername()
    except OSError:
        return False
    return True


def test_a_socket_that_somebody_has_must_be_closed(conftest: Any, tls: ssl.SSLContext) -> None:
    """Only what was never handed out is overlooked."""
    here, there = socket.socketpair()
    with (
        closing(there),
        tls.wrap_socket(here, server_side=True, do_handshake_on_connect=False) as secure,
    ):
        assert not conftest.was_never_handed_out(secure)
        assert not conftest.was_never_handed_out(there)
