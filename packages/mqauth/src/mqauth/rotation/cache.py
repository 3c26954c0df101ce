"""A private cache on the host, so that any number of processes fetch once.

One file per identity, in a directory that only its owner can enter, in memory where the host has
a runtime directory. The lock is the operating system's, so it dies with its holder. Whatever looks
wrong with a file (owner, mode, link, content) counts as "nothing cached": the cost is one fetch.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
import platformdirs

from mqauth.credentials import BrokerCredentials
from mqauth.errors import ConfigurationError
from mqauth.secret import Secret, encodable

logger = logging.getLogger(__name__)

FORMAT = 1
LARGEST_FILE = 256 * 1024
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LOCK = (filelock.Timeout, OSError, NotImplementedError, ConfigurationError)
"""What getting the lock may end in; some file systems implement none."""


class HostCache:
    """Credentials of one identity, shared by the processes of one user on this host.

    Args:
        directory: A directory that passed `private_directory`.
        key: Name of the identity's file; hexadecimal digits.
    """

    def __init__(self, directory: Path, key: str) -> None:
        """Name the files; nothing is touched yet."""
        self._directory = directory
        self._name = f"{key}.json"
        self._lock_path = directory / f"{key}.lock"

    @contextlib.contextmanager
    def lock(self, timeout: float) -> Iterator[bool]:
        """Hold the identity's lock, or go on without it after `timeout` seconds.

        Going on without costs a fetch too many at worst; waiting for ever would cost the
        connection. Yields whether the lock is held.
        """
        lock = filelock.FileLock(self._lock_path, mode=0o600, thread_local=False)
        try:
            # Hosts clean up their memory-backed directories while users' processes go on, and
            # somebody else may be the first to make it anew.
            private_directory(self._directory)
            lock.acquire(timeout=timeout, poll_interval=0.02)
        except _NO_LOCK as error:
            logger.warning("the credential cache's lock is not to be had: %s", type(error).__name__)
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def load(self) -> BrokerCredentials | None:
        """Return the cached credential, or None if there is none or it cannot be trusted."""
        try:
            return _decode(_read_private_file(self._directory / self._name))
        except (OSError, *_UNREADABLE):
            return None

    def store(self, credentials: BrokerCredentials) -> None:
        """Replace the cached credential in one step; a failure is logged and costs a fetch."""
        temporary = self._directory / f"{self._name}.new"
        try:
            private_directory(self._directory)
            # A holder that was killed while writing leaves this file; the name is fixed so that
            # it never lingers beside a newer one.
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, _CREATE, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_encode(credentials))
            temporary.replace(self._directory / self._name)
        except ConfigurationError as error:
            logger.warning("the credential cache cannot be written: %s", error)
        except OSError as error:
            logger.warning("the credential cache cannot be written: %s", error.strerror)

    def discard(self, rejected: BrokerCredentials) -> None:
        """Forget the cached credential if it is still the `rejected` one."""
        cached = self.load()
        if cached is not None and cached.password == rejected.password:
            with contextlib.suppress(OSError):
                (self._directory / self._name).unlink()


def default_directory() -> Path | None:
    """Return the most volatile private directory of this user, made if need be, or None."""
    user = os.geteuid()
    candidates = [
        Path(os.environ["XDG_RUNTIME_DIR"]) / "mqauth" if "XDG_RUNTIME_DIR" in os.environ else None,
        Path(f"/run/user/{user}/mqauth") if Path(f"/run/user/{user}").is_dir() else None,
        Path(f"/dev/shm/mqauth-{user}"),  # noqa: S108 - checked for owner and mode below
        Path(platformdirs.user_cache_dir("mqauth", appauthor=False)),
    ]
    for candidate in candidates:
        if candidate is None or not candidate.is_absolute():
            continue
        with contextlib.suppress(ConfigurationError):
            return private_directory(candidate)
    return None


def private_directory(path: Path) -> Path:
    """Return `path` after making sure that it is a directory only its owner can enter.

    Raises:
        ConfigurationError: It is a link, another user's, open to others, or cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise _unusable(path, error.strerror or type(error).__name__) from None
    except ValueError:
        raise _unusable(path, "no path has such characters") from None
    if (
        not stat.S_ISDIR(status.st_mode)
        or status.st_uid != os.geteuid()
        or stat.S_IMODE(status.st_mode) & 0o077
    ):
        raise ConfigurationError(
            f"the credential cache directory {path} is not private to this user",
            remedy="make it a directory of mode 0700 owned by this user, or set MQAUTH_CACHE=off",
        )
    return path


def _unusable(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the credential cache directory {path} cannot be used: {why}",
        remedy="name another with MQAUTH_CACHE, or set MQAUTH_CACHE=off",
    )


def _read_private_file(path: Path) -> bytes:
    descriptor = os.open(path, _READ)
    try:
        if not _is_private_file(os.fstat(descriptor)):
            raise PermissionError("not a private file")
        return os.read(descriptor, LARGEST_FILE + 1)
    finally:
        os.close(descriptor)


def _is_private_file(status: os.stat_result) -> bool:
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_uid == os.geteuid()
        and not stat.S_IMODE(status.st_mode) & 0o077
        and status.st_nlink == 1
        and status.st_size <= LARGEST_FILE
    )


def _encode(credentials: BrokerCredentials) -> bytes:
    expires_at = credentials.expires_at
    return json.dumps(
        {
            "format": FORMAT,
            "username": credentials.username,
            "password": credentials.password.reveal(),
            "issued_at": credentials.issued_at.timestamp(),
            "expires_at": expires_at.timestamp() if expires_at else None,
            "principal": credentials.principal,
            "provider": credentials.provider,
            "clock_skew": credentials.clock_skew,
        }
    ).encode()


def _decode(content: bytes) -> BrokerCredentials:
    data: Mapping[str, Any] = json.loads(content)
    if data["format"] != FORMAT:
        raise ValueError("written by another version")
    expires_at, clock_skew = data["expires_at"], float(data["clock_skew"])
    for text in ("username", "password", "provider"):
        if not isinstance(data[text], str):
            raise TypeError(text)
    if not (encodable(data["username"]) and encodable(data["password"])):
        raise ValueError("no text")
    if not math.isfinite(clock_skew) or not isinstance(data["principal"], str | None):
        raise ValueError("not what this version writes")
    return BrokerCredentials(
        username=data["username"],
        password=Secret(data["password"]),
        issued_at=datetime.fromtimestamp(data["issued_at"], UTC),
        expires_at=None if expires_at is None else datetime.fromtimestamp(expires_at, UTC),
        principal=data["principal"],
        provider=data["provider"],
        clock_skew=clock_skew,
    )
