"""Replaces a file in one step, under a lock, or leaves it as it was."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from credproc.errors import CacheError, CredprocError

LARGEST_FILE = 1024 * 1024
LOCK_TIMEOUT = 10.0
_ATTEMPTS = 20
_POLL = 0.02
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_Seen = tuple[int, int, int, int]


def rewrite(
    path: Path,
    change: Callable[[bytes], bytes],
    *,
    before: Callable[[bytes], None] | None = None,
    private: bool = True,
    lock_timeout: float = LOCK_TIMEOUT,
) -> bool:
    """Replace the content of `path` by what `change` makes of it.

    A link is followed and stays a link. The new content is on disk under another name before it
    takes the file's place, so a reader sees the old file or the new one, and a failure leaves the
    old one. All who call this wait for each other: they hold `PATH.lock` by flock, and who has
    waited opens it anew, as its holder removes it. Any other program, and flock(1) is one as it
    keeps the file that was removed, is noticed by the file's time and size, and its change is kept
    unless it comes in the moment between our last look and the file's replacement.

    Args:
        path: The file; it and its directory are made, private, if they are missing.
        change: Returns the new content.
        before: Called with the old content just before it is replaced, say to keep a copy.
        private: Whether the file becomes mode 0600; else it keeps the mode that it has.
        lock_timeout: Seconds to wait for another program's lock.

    Returns:
        Whether there was anything to change.

    Raises:
        CacheError: The file cannot be read, locked or replaced.
    """
    try:
        target = Path(os.path.realpath(path, strict=False))
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(target, lock_timeout):
            return _replace(target, change, before, private=private)
    except CredprocError:
        raise
    except OSError as error:
        raise CacheError(
            f"{path} cannot be written: {error.strerror or error}; it was left as it was",
            remedy="free disk space or correct the permissions of the file and its directory",
        ) from None


def read(path: Path) -> bytes:
    """Return the content of a file, nothing if there is none.

    Raises:
        CacheError: It cannot be read.
    """
    try:
        return _load(path)[0]
    except OSError as error:
        raise CacheError(
            f"{path} cannot be read: {error.strerror}", remedy="correct its permissions"
        ) from None


def _replace(
    target: Path,
    change: Callable[[bytes], bytes],
    before: Callable[[bytes], None] | None,
    *,
    private: bool,
) -> bool:
    for _ in range(_ATTEMPTS):
        old, seen = _load(target)
        new = change(old)
        if new == old:
            if private:
                _make_private(target, seen)
            return False
        # A fixed name, as the lock is ours: what a killed process left is gone with the next.
        temporary = target.with_name(f".{target.name}.tmp")
        temporary.unlink(missing_ok=True)
        try:
            _write(temporary, new, target, private=private)
            # A tool without a lock may have changed the file in the meantime.
            if _identity(target) != seen:
                continue
            if before is not None:
                before(old)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_directory(target.parent)
        return True
    raise CacheError(
        f"{target} changes all the time", remedy="stop the other program that writes it"
    )


@contextlib.contextmanager
def _locked(target: Path, timeout: float) -> Iterator[None]:
    path = f"{target}.lock"
    deadline = time.monotonic() + timeout
    while (descriptor := _take(path, target)) is None:
        if time.monotonic() >= deadline:
            raise CacheError(
                f"another program holds {path} for more than {timeout:g} s",
                remedy="wait for it or stop it",
            )
        time.sleep(_POLL)
    try:
        yield
    finally:
        # While it is still held, and unless somebody has removed it and another holds a new one.
        with contextlib.suppress(OSError):
            if _is_at(descriptor, path):
                os.unlink(path)
        os.close(descriptor)


def _take(path: str, target: Path) -> int | None:
    """Return the descriptor of a lock's file that is held now; None if somebody else holds it.

    Raises:
        CacheError: What lies there cannot be held.
        OSError: No file can be made there.
    """
    try:
        return _hold(path)
    except OSError as error:
        if not os.path.lexists(path):
            raise
        raise CacheError(
            f"{target} cannot be written, as its lock {path} cannot be taken: {error.strerror}",
            remedy="remove the lock if no other program uses it",
        ) from None


def _hold(path: str) -> int | None:
    descriptor = os.open(path, _LOCK, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(descriptor, path):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    # Held by another, or its holder has removed the file since it was opened here.
    os.close(descriptor)
    return None


def _is_at(descriptor: int, path: str) -> bool:
    return os.path.samestat(os.fstat(descriptor), os.lstat(path))


def _load(path: Path) -> tuple[bytes, _Seen | None]:
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        return b"", None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CacheError(f"{path} is no regular file", remedy="name another file")
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise CacheError(f"{path} is larger than 1 MiB", remedy="name another file")
    return content, _of(status)


def _identity(path: Path) -> _Seen | None:
    try:
        return _of(path.stat())
    except FileNotFoundError:
        return None


def _of(status: os.stat_result) -> _Seen:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _write(temporary: Path, content: bytes, target: Path, *, private: bool) -> None:
    descriptor = os.open(temporary, _CREATE, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        with contextlib.suppress(FileNotFoundError):
            owner = target.stat()
            if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                # Root may update a user's file, who must still be able to read it.
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            if not private:
                os.fchmod(descriptor, stat.S_IMODE(owner.st_mode))
        os.fsync(descriptor)


def _make_private(target: Path, seen: _Seen | None) -> None:
    if seen is not None and stat.S_IMODE(target.stat().st_mode) & 0o077:
        target.chmod(0o600)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
