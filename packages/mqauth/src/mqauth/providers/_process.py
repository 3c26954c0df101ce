"""Runs a program whose output is a secret: bounded in time and size, and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

from mqauth.errors import ConfigurationError, InvalidCredentialError, IssuerUnavailableError
from mqauth.providers._deadline import Deadline

MAX_OUTPUT = 64 * 1024
_KEPT_OF_STDERR = 4096
_TICK = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A program that has ended by itself.

    Args:
        status: Its exit status; negative: the signal that ended it.
        stdout: What it printed.
        stderr: The end of what it complained about.
    """

    status: int
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)


def run(command: Sequence[str], deadline: Deadline) -> Finished:
    """Run a program without a shell and without input, and return what it printed.

    It runs in a process group of its own. Where it takes too long or prints too much, the whole
    group is killed; what it leaves running when it ends by itself is its own business.

    Raises:
        ConfigurationError: There is no such program, or it may not be run.
        IssuerUnavailableError: It did not end in time.
        InvalidCredentialError: It printed more than any credential has.
    """
    process = _started(command)
    try:
        with process:
            try:
                return _Reader(process, command[0], deadline).finish()
            except BaseException:
                _kill(process)
                raise
    finally:
        _close(process)


def _started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "its arguments cannot be passed on"
    raise ConfigurationError(
        f"the command {command[0]} cannot be run: {why}",
        remedy="name an executable by its full path, and an interpreter before a script",
    )


class _Reader:
    """Collects a process's output until it ends."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, deadline: Deadline) -> None:
        self._process = process
        self._name = name
        self._deadline = deadline
        self._stdout = bytearray()
        self._stderr = bytearray()

    def finish(self) -> Finished:
        process = self._process
        assert process.stdout is not None  # noqa: S101 - for the type checker: pipes were asked for
        assert process.stderr is not None  # noqa: S101
        pipes = {process.stdout.fileno(): self._stdout, process.stderr.fileno(): self._stderr}
        with selectors.DefaultSelector() as selector:
            for descriptor in pipes:
                os.set_blocking(descriptor, False)
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map() or process.poll() is None:
                self._check_time()
                # A process that it left behind may hold the pipes open: what counts is its end.
                ended = process.poll() is not None
                ready = selector.select(0 if ended else min(_TICK, self._deadline.remaining()))
                for key, _ in ready:
                    if not self._read(key.fd, pipes[key.fd]):
                        selector.unregister(key.fd)
                if ended and not ready:
                    break
        return Finished(
            status=process.wait(), stdout=bytes(self._stdout), stderr=bytes(self._stderr)
        )

    def _read(self, descriptor: int, into: bytearray) -> bool:
        try:
            chunk = os.read(descriptor, 65536)
        except BlockingIOError:
            return True
        into += chunk
        if into is self._stderr:
            del into[:-_KEPT_OF_STDERR]
        elif len(into) > MAX_OUTPUT:
            raise InvalidCredentialError(
                f"the command {self._name} printed more than {MAX_OUTPUT // 1024} KiB, which is no "
                "credential",
                remedy="have it print one JSON object and nothing else",
            )
        return bool(chunk)

    def _check_time(self) -> None:
        if self._deadline.passed:
            raise IssuerUnavailableError(
                f"the command {self._name} did not end within {self._deadline.seconds:.1f} s and "
                "was killed",
                remedy="see what it waits for; it gets no input. The setting timeout gives it more",
            )


def _kill(process: subprocess.Popen[bytes]) -> None:
    # Not once it has been waited for: its number may be another's by then.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
