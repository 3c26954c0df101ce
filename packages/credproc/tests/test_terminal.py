"""The prompt for a password: it ends in time, and leaves the terminal as it was."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

LIMIT = 20.0
ASKING = """
import os, signal, sys, threading
os.close(os.open(sys.argv[1], os.O_RDWR))  # a session's leader gets it as its terminal
# Whoever runs the tests may ignore SIGHUP (nohup does), and children inherit that.
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[4] == "nohup" else signal.SIG_DFL)
if sys.argv[4] == "elsewhere":
    def take():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        threading.Event().wait()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    threading.Thread(target=take, daemon=True).start()
from credproc.deadline import Deadline
from credproc.identity.terminal import typed
try:
    print(ascii(typed(sys.argv[2], Deadline(float(sys.argv[3])))))
except Exception as error:
    print(type(error).__name__)
"""


class Asked:
    """A process that asks for a password on a terminal of its own.

    Args:
        limit: Seconds that it waits.
        prompt: What it asks.
        signals: "nohup" ignores SIGHUP; with "elsewhere" SIGTERM interrupts another thread.
        stopped: Whether somebody has stopped the terminal's output.
    """

    def __init__(self, limit: float, prompt: str, *, signals: str, stopped: bool) -> None:
        self.terminal, self.theirs = pty.openpty()
        self.before = termios.tcgetattr(self.theirs)
        if stopped:
            termios.tcflow(self.theirs, termios.TCOOFF)
        words = [os.ttyname(self.theirs), prompt, str(limit), signals]
        self.process = subprocess.Popen(
            [sys.executable, "-c", ASKING, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def shown(self, words: str) -> str:
        """Return what the terminal shows until it has shown `words`."""
        shown = ""
        deadline = time.monotonic() + LIMIT
        while words not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([self.terminal], [], [], 1.0)[0]:
                shown += os.read(self.terminal, 4096).decode()
        return shown

    def type(self, keys: bytes) -> None:
        """Type something."""
        os.write(self.terminal, keys)

    def said(self) -> str:
        """Return what came of it, and check that the terminal is as it was."""
        said, _ = self.process.communicate(timeout=LIMIT)
        assert termios.tcgetattr(self.theirs) == self.before
        return said.strip()


@contextmanager
def asked(
    limit: float = 60, prompt: str = "Password: ", *, signals: str = "", stopped: bool = False
) -> Iterator[Asked]:
    """Ask, and leave neither process nor terminal behind."""
    asked = Asked(limit, prompt, signals=signals, stopped=stopped)
    try:
        yield asked
    finally:
        with asked.process:
            asked.process.kill()
        os.close(asked.theirs)
        os.close(asked.terminal)


@pytest.mark.parametrize("when", ["before", "at the prompt"])
def test_stopped_output_is_not_waited_for(when: str) -> None:
    """Ctrl-S stops the prompt or the line after it, not the limit."""
    with asked(1, stopped=when == "before") as process:
        if when != "before":
            process.shown("Password: ")
            process.type(b"\x13")
        assert process.said() == "TimeoutError"


def test_what_is_typed_stays_unseen_whoever_presses_ctrl_z() -> None:
    """A shell would have the terminal echo when the process goes on, so nothing stops it."""
    with asked() as process:
        process.shown("Password: ")
        process.type(b"ge\x1aheim\n")
        assert process.said() == r"'ge\x1aheim'"


def test_a_prompt_with_any_path() -> None:
    """A path that is no UTF-8 is asked for like another."""
    with asked(prompt="Password of /k\udcff: ") as process:
        process.shown(r"Password of /k\udcff: ")
        process.type(b"geheim\n")
        assert process.said() == "'geheim'"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_deadly_signal_leaves_the_terminal_as_it_was(number: signal.Signals) -> None:
    """The process dies of it, as its parent expects, but not before the terminal echoes."""
    with asked() as process:
        process.shown("Password: ")
        process.process.send_signal(number)
        assert process.said() == ""
        assert process.process.returncode == -number


def test_a_signal_that_does_not_interrupt_the_wait_ends_it() -> None:
    """One that comes just before the wait does not either, and is no less deadly."""
    with asked(signals="elsewhere") as process:
        process.shown("Password: ")
        process.process.send_signal(signal.SIGTERM)
        assert process.said() == ""
        assert process.process.returncode == -signal.SIGTERM


def test_a_signal_that_is_ignored_stays_so() -> None:
    """What runs under nohup goes on."""
    with asked(signals="nohup") as process:
        process.shown("Password: ")
        process.process.send_signal(signal.SIGHUP)
        process.type(b"geheim\n")
        assert process.said() == "'geheim'"
