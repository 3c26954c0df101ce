"""Runs a program that is given no rope: time, output, environment and lifetime are limited.

`subprocess` takes 40 ms to import, has no limit on output, and cannot give a child a terminal
without running Python code in the forked process. So this is `posix_spawn` and a loop.

The child leads a session of its own, whose terminal is a pseudo-terminal that we hold. That does
two things: whatever it asks for a password on /dev/tty, we answer, so that no password stands on a
command line; and when this process dies, by SIGKILL too, the kernel hangs the terminal up, which
ends the child.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence

from credproc.light import NamedTuple
from credproc.termination import PULSE

CHUNK = 65536
LARGEST_OUTPUT = 256 * 1024
EXIT_POLL = 0.005


class TimeLimitError(Exception):
    """The program did not end in time."""


class OutputLimitError(Exception):
    """The program wrote more than it should have to say."""


class Finished(NamedTuple):
    """How a program ended; its output may hold secrets."""

    code: int
    """Its exit code; negative for the signal that ended it."""
    output: bytes
    errors: bytes

    def __repr__(self) -> str:
        """Show no output."""
        return f"Finished(code={self.code})"


class _Terminal:
    """The pseudo-terminal that a child gets; None of both where the system has none to give."""

    def __init__(self) -> None:
        self.ours: int | None = None
        self.theirs: int | None = None
        with contextlib.suppress(OSError):
            self.ours, self.theirs = os.openpty()

    def close(self) -> None:
        for descriptor in (self.ours, self.theirs):
            if descriptor is not None:
                os.close(descriptor)


def run(
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    limit: float,
    answer: Callable[[str], str | None] = lambda _: None,
) -> Finished:
    """Run a program to its end; it never outlives this call.

    Args:
        command: The program's absolute path and its arguments.
        environ: All of its environment.
        limit: Seconds that it may take, not counting those that `answer` takes.
        answer: Called with what the program wrote to its terminal since the last time; returns a
            line to type, if any. What it raises ends the program.

    Raises:
        OSError: It cannot be started.
        TimeLimitError: It did not end in time.
        OutputLimitError: It wrote too much.
    """
    terminal = _Terminal()
    output, output_end = os.pipe()
    errors, errors_end = os.pipe()
    try:
        try:
            pid = _spawn(command, environ, terminal, output_end, errors_end)
        finally:
            os.close(output_end)
            os.close(errors_end)
        return _Child(pid, output, errors, terminal).run(time.monotonic() + limit, answer)
    finally:
        os.close(output)
        os.close(errors)
        terminal.close()


def _spawn(
    command: Sequence[str],
    environ: Mapping[str, str],
    terminal: _Terminal,
    output_end: int,
    errors_end: int,
) -> int:
    # A session's leader without a terminal gets the one that it opens first.
    opened = "/dev/null" if terminal.theirs is None else os.ttyname(terminal.theirs)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, opened, os.O_RDWR, 0),
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output_end, 1),
        (os.POSIX_SPAWN_DUP2, errors_end, 2),
        *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inherited()),
    ]
    return os.posix_spawn(
        command[0],
        list(command),
        dict(environ),
        file_actions=actions,
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    )


def _inherited() -> list[int]:
    """Return the descriptors that a child would get from whoever started this process."""
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return []
    found = []
    for number in numbers:
        with contextlib.suppress(OSError):
            if number > 2 and os.get_inheritable(number):
                found.append(number)
    return found


class _Child:
    """A running program."""

    def __init__(self, pid: int, output: int, errors: int, terminal: _Terminal) -> None:
        self._pid = pid
        self._terminal = terminal
        self._pipes = {output: bytearray(), errors: bytearray()}
        self._output, self._errors = output, errors
        self._poll = select.poll()
        self._open = {output, errors}
        for descriptor in (output, errors, terminal.ours):
            if descriptor is not None:
                self._poll.register(descriptor, select.POLLIN)

    def run(self, deadline: float, answer: Callable[[str], str | None]) -> Finished:
        """Collect what it writes until it ends."""
        status: int | None = None
        try:
            while self._open:
                deadline += self._step(deadline, answer)
            status = self._wait(deadline)
        finally:
            if status is None:
                self._kill()
        return Finished(
            os.waitstatus_to_exitcode(status),
            bytes(self._pipes[self._output]),
            bytes(self._pipes[self._errors]),
        )

    def _step(self, deadline: float, answer: Callable[[str], str | None]) -> float:
        """Take what is there to be read; return the seconds that answering took."""
        ready = self._poll.poll(min(_left(deadline), PULSE) * 1000)
        spent = 0.0
        for descriptor, _ in ready:
            if descriptor == self._terminal.ours:
                before = time.monotonic()
                self._converse(descriptor, answer)
                spent += time.monotonic() - before
                continue
            piece = os.read(descriptor, CHUNK)
            if not piece:
                self._poll.unregister(descriptor)
                self._open.discard(descriptor)
            self._pipes[descriptor] += piece
            if len(self._pipes[descriptor]) > LARGEST_OUTPUT:
                raise OutputLimitError
        return spent

    def _converse(self, descriptor: int, answer: Callable[[str], str | None]) -> None:
        try:
            said = os.read(descriptor, CHUNK)
        except OSError:  # nobody has the terminal open any more
            self._poll.unregister(descriptor)
            return
        typed = answer(said.decode("utf-8", "replace"))
        if typed is not None:
            os.write(descriptor, typed.encode() + b"\n")

    def _wait(self, deadline: float) -> int:
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                return status
            time.sleep(min(EXIT_POLL, _left(deadline)))

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self._pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.waitpid(self._pid, 0)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeLimitError
    return left
