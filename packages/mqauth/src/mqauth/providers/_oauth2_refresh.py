"""Refresh tokens that are replaced with every use (RFC 6749, section 6; RFC 9700, 2.2.2).

An issuer that replaces them takes a second use of the old one for theft, and then ends the whole
series. So whoever uses one holds a lock, and its successor goes where the next one looks for it:
into the file that it came from. One that was not given as a file lives in this process's memory
only, and is written nowhere.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import filelock

from mqauth import forks
from mqauth.config.secret_file import FileSecret
from mqauth.errors import IssuerUnavailableError
from mqauth.providers._deadline import Deadline
from mqauth.secret import Secret

SENDING = 1.0
"""Seconds after a deadline at which whatever has not failed yet has been sent before it."""

logger = logging.getLogger(__name__)


class RefreshTokens:
    """The refresh token of the moment.

    Args:
        configured: The one to begin with; a `FileSecret` is kept up to date in its file.
    """

    def __init__(self, configured: Secret) -> None:
        """Keep where to look; nothing is read yet."""
        self._configured = configured
        self._file = configured.path if isinstance(configured, FileSecret) else None
        self._flight = threading.Lock()
        self._spent: Secret | None = None
        self._successor: Secret | None = None
        forks.after_in_child(self, RefreshTokens._forget_flight)

    def _forget_flight(self) -> None:
        # The thread that may have held it does not exist in a forked child.
        self._flight = threading.Lock()

    @contextlib.contextmanager
    def exclusive(self, deadline: Deadline) -> Iterator[None]:
        """Keep other threads, and other processes of this host, from using the same token.

        Raises:
            IssuerUnavailableError: Another one has been using it until the deadline.
        """
        if not self._flight.acquire(timeout=deadline.remaining()):
            raise _busy()
        try:
            with self._host_lock(deadline):
                if deadline.passed:
                    raise _busy()  # nobody waits for the answer any more
                yield
        finally:
            self._flight.release()

    @contextlib.contextmanager
    def answer_expected(self, deadline: Deadline) -> Iterator[None]:
        """Tell the log of an answer that never came once nobody waits for it any more.

        Args:
            deadline: When who asked has given up, and nothing is sent any more.
        """
        sent_by = Deadline(deadline.remaining() + SENDING)
        try:
            yield
        except IssuerUnavailableError as error:
            if sent_by.passed:
                logger.warning(
                    "%s: %s. If the issuer has replaced the refresh token all the same, its "
                    "successor is lost, and somebody has to sign in anew",
                    self._file or "refresh_token",
                    error.message,
                )
            raise

    def present(self) -> Secret:
        """Return the token to use next.

        Raises:
            ConfigurationError: Its file cannot be read.
        """
        configured = Secret(self._configured.reveal())
        # Somebody may have put another one in its place, which then counts.
        if self._successor is not None and configured == self._spent:
            return self._successor
        return configured

    def replace(self, successor: Secret) -> None:
        """Keep the token that the issuer has given in the place of the one just used."""
        spent = Secret(self._configured.reveal())
        if self._file is not None and self._written(self._file, successor):
            self._spent = self._successor = None
            return
        if self._successor is None and self._file is None:
            logger.warning(
                "The issuer replaces refresh tokens. The next one is in the memory of this process "
                "alone: give refresh_token_file, so that others and later ones have it too"
            )
        self._spent, self._successor = spent, successor

    def _written(self, file: Path, successor: Secret) -> bool:
        try:
            _write_private(file, successor)
        except OSError as error:
            logger.warning(
                "The new refresh token cannot be written to %s: %s. It is in the memory of this "
                "process alone: make file and folder writable, or sign in anew before a restart",
                file,
                error.strerror,
            )
            return False
        return True

    @contextlib.contextmanager
    def _host_lock(self, deadline: Deadline) -> Iterator[None]:
        if self._file is None:
            yield
            return
        lock = filelock.FileLock(f"{self._file.resolve()}.lock", mode=0o600)
        # Where nobody can write to the folder nobody replaces the file either.
        if not _acquired(lock, deadline):
            logger.debug("There is no lock beside %s", self._file)
        try:
            yield
        finally:
            lock.release()


def _acquired(lock: filelock.BaseFileLock, deadline: Deadline) -> bool:
    try:
        lock.acquire(timeout=deadline.remaining())
    except filelock.Timeout:  # which is an OSError, too
        raise _busy() from None
    except OSError:
        return False
    return True


def _busy() -> IssuerUnavailableError:
    return IssuerUnavailableError(
        "another thread or process is using the refresh token", remedy="try again later"
    )


def _write_private(file: Path, secret: Secret) -> None:
    """Replace a file as a whole by one that only this user can read, surviving a power cut."""
    target = file.resolve()
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{secret.reveal()}\n")
            stream.flush()
            os.fsync(descriptor)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
