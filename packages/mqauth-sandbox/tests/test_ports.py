"""Free ports: different ones, for each process its own, with nobody on them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from mqauth_sandbox import ports
from mqauth_sandbox.errors import SandboxError
from mqauth_sandbox.ports import free_ports

_HAND_OUT = "import sys; from mqauth_sandbox.ports import free_ports; print(*free_ports(150))"


def test_many_processes_never_get_the_same_port() -> None:
    """Processes that choose at the same time, and bind later, are kept apart."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", f"{_HAND_OUT}; sys.stdout.flush(); sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(12)
    ]
    try:
        handed_out = []
        for child in children:
            assert child.stdout is not None
            handed_out += child.stdout.readline().split()
    finally:
        for child in children:
            child.communicate(timeout=30)
    assert len(handed_out) == 12 * 150
    assert len(set(handed_out)) == len(handed_out)


def test_a_forked_process_has_ports_of_its_own() -> None:
    """What a child hands out is not what its parent hands out next."""
    free_ports(1)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, " ".join(map(str, free_ports(20))).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        of_child = {int(port) for port in stream.read().split()}
    os.waitpid(child, 0)
    assert len(of_child) == 20
    assert of_child.isdisjoint(free_ports(150))


def test_ports_in_use_are_passed_over() -> None:
    """A port on which somebody listens, on either address, is not handed out."""
    with socket.socket() as ipv4:
        (taken,) = free_ports(1)
        ipv4.bind(("127.0.0.1", taken))
        # More than a block holds: each of its ports is looked at again.
        handed_out = [port for _ in range(5) for port in free_ports(100)]
    assert taken not in handed_out


def test_a_port_comes_back_last() -> None:
    """A port just handed out is not handed out next."""
    first = free_ports(50)
    assert set(first).isdisjoint(free_ports(50))


def test_no_ports_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none the error says what to do."""
    monkeypatch.setattr(ports, "_first_outgoing_port", lambda: 20000)
    monkeypatch.setattr(ports, "_blocks", ports._Blocks())
    with pytest.raises(SandboxError, match="end what listens on ports from 20000 upwards"):
        free_ports(1)


def test_what_was_claimed_in_vain_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that asks for too much leaves the ports to others."""
    monkeypatch.setattr(ports, "_FIRST", 19700)  # one block, below those of other processes
    monkeypatch.setattr(ports, "_first_outgoing_port", lambda: 19700 + ports._BLOCK_SIZE)
    mine = ports._Blocks()
    with pytest.raises(SandboxError):
        mine.free_ports(ports._BLOCK_SIZE + 1)
    theirs = ports._Blocks()
    assert len(theirs.free_ports(3)) == 3
    theirs.after_fork()


def test_no_port_wanted() -> None:
    """Nothing is handed out where nothing is asked for."""
    assert free_ports(0) == []
