"""A broker's process under a guard that ends it with its owner, and the log that it writes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from mqauth_sandbox import guard
from mqauth_sandbox.errors import BrokerError

_POLL = 0.05
_KILL_LIMIT = 20.0


class GuardedProcess(ABC):
    """A process that does not outlive this one.

    Args:
        what: What it is, for messages.
        log_file: Its log.
        owned: The directory to remove when this process dies without ending it.

    Attributes:
        log_file: Its log.
    """

    def __init__(self, what: str, *, log_file: Path, owned: Path) -> None:
        """Run nothing yet."""
        self.log_file = log_file
        self._what = what
        self._owned = owned
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self, timeout: float) -> None:
        """Shut it down in order; by force when that takes over `timeout` seconds."""
        self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGQUIT, _KILL_LIMIT)

    def log_text(self, since: int = 0) -> str:
        """Return its log from the byte offset `since` on."""
        try:
            with self.log_file.open("rb") as log:
                log.seek(since)
                return log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def log_size(self) -> int:
        """Return the length of its log in bytes: a `since` for later."""
        try:
            return self.log_file.stat().st_size
        except FileNotFoundError:
            return 0

    @abstractmethod
    def _said(self) -> str:
        """Return what it said of why it does not start."""

    def _launch(self, command: Sequence[str], console: Path) -> None:
        self._started_at = self.log_size()
        with console.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", guard.__file__),
                    *(str(os.getpid()), str(self._owned)),
                    *command,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C in a terminal must reach the sandbox only, which then ends the process.
                start_new_session=True,
            )

    def _wait(self, condition: Callable[[], bool], deadline: float, timeout: float) -> None:
        while not condition():
            if not self.running:
                raise self._failure(f"the {self._what} ended while it started")
            if time.monotonic() > deadline:
                error = self._failure(f"the {self._what} was not ready within {timeout:g} s")
                self.kill()
                raise error
            time.sleep(_POLL)

    def _failure(self, what: str) -> BrokerError:
        return BrokerError(f"{what}; it said: {self._said() or 'nothing'}")

    def _end(self, number: signal.Signals, timeout: float) -> None:
        process = self._process
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(_KILL_LIMIT)
        self._process = None


def accepts(port: int) -> bool:
    """Return whether a port of this host takes connections."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
