"""The private cache on this host: one file per session, in a directory only its owner can enter.

The rules are those of `mqauth`'s cache: in memory where the host has a runtime directory, no links,
no other owner, no rights for others; whatever looks wrong counts as "nothing cached".
"""

from __future__ import annotations

import fcntl
import os

from credproc import shortcut
from credproc.credentials import SessionCredentials
from credproc.errors import CacheError
from credproc.light import TYPE_CHECKING, NamedTuple
from credproc.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from credproc.options import SessionOptions

SDK_WINDOW = 15 * 60
"""botocore asks again on each use of credentials that have less than this left, in seconds."""
HANDOVER = 5
"""Seconds from our answer to the moment when an SDK looks at it."""
SHORT_SESSION = SDK_WINDOW + HANDOVER + 60
"""Sessions shorter than this cannot keep clear of the window; they are served to a third."""

ANSWER, LOCK, FAILURE, NEW = ".json", ".lock", ".failed", ".new"
SUFFIXES = frozenset({"json", "lock", "failed", "alias", "fast"})
HEXADECIMAL = frozenset("0123456789abcdef")
KEPT = 3600
"""Seconds for which the news of a failure and what a killed writer left are of any use."""
MOST_PRUNED = 256
"""Files that are looked at when a session is stored, so that no run takes long for others."""
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class CachedSession(NamedTuple):
    """Credentials from the cache."""

    credentials: SessionCredentials
    fresh_until: int
    """Seconds since the epoch: until then they are served without asking the service."""
    stored_at: int

    def is_fresh(self, now: float) -> bool:
        """Return whether to serve them without asking the service."""
        return self.stored_at - shortcut.CLOCK_TOLERANCE <= now < self.fresh_until

    def is_valid(self, now: float) -> bool:
        """Return whether they are worth serving when the service cannot be had."""
        return self.credentials.remaining(now) > HANDOVER


class Failure(NamedTuple):
    """What the last fetch failed with."""

    failed_at: float
    exit_code: int
    message: str


class SessionCache:
    """The cached sessions of one user.

    The modification time of a file is when nobody needs it any more; see `prune`.

    Args:
        directory: One that `open_cache` has found private.
    """

    def __init__(self, directory: str) -> None:
        """Touch nothing."""
        self.directory = directory

    def path(self, key: str, suffix: str = ANSWER) -> str:
        """Return the path of one of a session's files."""
        return f"{self.directory}/{key}{suffix}"

    def load(self, key: str) -> CachedSession | None:
        """Return a session, fresh or not, or None if there is none that can be trusted."""
        try:
            found = shortcut.read_answer(os.fsencode(self.path(key)))
            if found is None:
                return None
            fresh_until, stored_at, expires_at, document = found
            return CachedSession(_credentials(document, expires_at), fresh_until, stored_at)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def store(self, key: str, credentials: SessionCredentials, now: float) -> bool:
        """Replace a session in one step; return False where that fails, which costs a fetch."""
        head = b"%s %d %d %d\n" % (
            shortcut.FORMAT,
            fresh_until(credentials.expires_at, now),
            int(now),
            credentials.expires_at,
        )
        content = head + credentials.to_json().encode() + b"\n"
        stored = self.replace(self.path(key), content, until=credentials.expires_at)
        if stored:
            self._remove(self.path(key, FAILURE))
        self.prune(now)
        return stored

    def load_failure(self, key: str) -> Failure | None:
        """Return what the last fetch of a session failed with, if none has succeeded since."""
        try:
            content = shortcut.read_private(os.fsencode(self.path(key, FAILURE)))
            when, code, message = content.decode().split("\n", 2)
            return Failure(float(when), int(code), message)
        except (OSError, ValueError):
            return None

    def store_failure(self, key: str, failure: Failure) -> None:
        """Let those who wait for the same fetch know that it failed."""
        content = f"{failure.failed_at}\n{failure.exit_code}\n{failure.message}"
        until = int(failure.failed_at) + KEPT
        self.replace(self.path(key, FAILURE), content.encode(), until=until)

    def store_alias(self, material: bytes, key: str, files: Iterable[str], *, until: int) -> None:
        """Remember which session a command line led to; see `credproc.shortcut`."""
        content = b"%s %s\n%s" % (shortcut.FORMAT, (key + ANSWER).encode(), material)
        try:
            for path in files:
                name = os.fsencode(path)
                content += name + b"\0" + shortcut.file_facts(name) + b"\0"
        except OSError:
            return
        alias = shortcut.alias_name(material).decode()
        self.keep(f"{self.directory}/{alias}", content, until=until)

    def keys(self) -> list[str]:
        """Return the keys of all cached sessions."""
        names = sorted(self._names())
        return [name.removesuffix(ANSWER) for name in names if name.endswith(ANSWER)]

    def clear(self) -> int:
        """Forget all sessions and return how many there were.

        Locks stay: another process may be holding one.
        """
        keys = self.keys()
        for name in self._names():
            if not name.endswith(LOCK):
                self._remove(f"{self.directory}/{name}")
        return len(keys)

    def prune(self, now: float) -> None:
        """Remove what nobody needs any more: a bounded number, others the next time.

        A reader that has opened a file keeps it. A lock goes only if nobody holds it, and who gets
        one afterwards sees that it is gone (`credproc.single_flight`).
        """
        names = self._names()
        if len(names) > MOST_PRUNED:
            first = int.from_bytes(os.urandom(4), "big") % len(names)
            names = (names[first:] + names[:first])[:MOST_PRUNED]
        for name in filter(_is_ours, names):
            path = f"{self.directory}/{name}"
            try:
                over = os.lstat(path).st_mtime + (KEPT if name.endswith((LOCK, NEW)) else 0) < now
                if over and name.endswith(ANSWER):  # others may call theirs so, as AWS's SDKs do
                    over = shortcut.read_answer(os.fsencode(path)) is not None
            except (OSError, ValueError):  # another process has removed it, or it is not ours
                continue
            if over and not name.endswith(LOCK):
                self._remove(path)
            elif over and not os.path.exists(path.removesuffix(LOCK) + ANSWER):
                self._remove_lock(path)

    def _remove_lock(self, path: str) -> None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                os.unlink(path)
        except OSError:  # it is held, or gone
            pass
        finally:
            os.close(descriptor)

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.directory)  # pathlib takes 10 ms
        except OSError:
            return []

    def keep(self, path: str, content: bytes, *, until: int) -> bool:
        """As `replace`, but write nothing if the file is as it should be.

        Of many that have waited for one answer, the first has written what the others would.
        """
        try:
            if shortcut.read_private(os.fsencode(path)) == content:
                os.utime(path, (until, until))
                return True
        except OSError:
            pass
        return self.replace(path, content, until=until)

    def replace(self, path: str, content: bytes, *, until: int) -> bool:
        """Write a private file in one step; return False where that fails.

        Args:
            path: The file.
            content: Its new content.
            until: When nobody needs it any more, in seconds since the epoch.
        """
        temporary = path + NEW
        try:
            # A writer that was killed leaves this file; the name is fixed so that one is left.
            self._remove(temporary)
            descriptor = os.open(temporary, _CREATE, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.utime(descriptor, (until, until))
                os.replace(temporary, path)
            except OSError:
                self._remove(temporary)
                return False
        except OSError:
            return False
        return True

    @staticmethod
    def _remove(path: str) -> None:
        try:  # `contextlib` takes 4 ms
            os.unlink(path)
        except OSError:
            pass


def _is_ours(name: str) -> bool:
    """Return whether a file is named as we name ours: the directory may hold others too."""
    stem, _, suffix = name.removesuffix(NEW).rpartition(".")
    digest = stem.rpartition("-")[2]
    return suffix in SUFFIXES and len(digest) in (32, 40) and set(digest) <= HEXADECIMAL


def fresh_until(expires_at: int, now: float) -> int:
    """Return until when a session that was fetched at `now` is served without asking again.

    Up to 15 minutes before its end, because SDKs ask again on each use from then on. A session of
    900 s is all within those 15 minutes: it is served until a third of it is left.
    """
    lifetime = expires_at - now
    if lifetime > SHORT_SESSION:
        return expires_at - SDK_WINDOW - HANDOVER
    return int(expires_at - lifetime / 3)


def open_cache(options: SessionOptions, environ: Mapping[bytes, bytes]) -> SessionCache | None:
    """Return the cache, made if need be; None if there is no private place for it.

    Args:
        options: They may name a directory, or want no cache.
        environ: The environment variables.

    Raises:
        CacheError: The directory that the user named cannot be used.
    """
    if options.no_cache:
        return None
    if options.cache_dir is not None:
        problem = _make_private(options.cache_dir, parents=True)
        if problem:
            raise CacheError(
                f"the cache directory {options.cache_dir} cannot be used: {problem}",
                remedy="name a directory of mode 0700 owned by this user, or add --no-cache",
            )
        return SessionCache(options.cache_dir)
    for candidate in map(os.fsdecode, shortcut.directories(dict(environ))):
        if not _make_private(candidate, parents=candidate.endswith("/.cache/credproc")):
            return SessionCache(candidate)
    return None


def _make_private(path: str, *, parents: bool) -> str:
    """Make a directory unless it is there; return what is wrong with it, or nothing."""
    if not shortcut.is_private_directory(os.fsencode(path)):
        make = os.makedirs if parents else os.mkdir
        try:
            make(path, mode=0o700)
        except FileExistsError:
            pass
        except OSError as error:
            return error.strerror or "it cannot be made"
        if not shortcut.is_private_directory(os.fsencode(path)):
            return "it is a link, another user's, or open to others, or the one above is another's"
    return "" if os.access(path, os.W_OK | os.X_OK) else "it cannot be written"


def _credentials(document: bytes, expires_at: int) -> SessionCredentials:
    from credproc.quick_json import read_json  # not needed while others fetch

    found = read_json(document)
    return SessionCredentials(
        access_key_id=str(found["AccessKeyId"]),
        secret_access_key=Secret(str(found["SecretAccessKey"])),
        session_token=Secret(str(found["SessionToken"])),
        expires_at=expires_at,
    )
