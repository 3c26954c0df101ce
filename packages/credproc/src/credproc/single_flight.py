"""Any number of processes, one fetch.

The lock is the operating system's (`flock`), so it dies with its holder. Those who wait look for
the holder's answer instead of queueing for the lock, so all of them go on at once when it is there.
"""

from __future__ import annotations

import fcntl
import os
import time

from credproc.cache import LOCK, CachedSession, Failure
from credproc.credentials import format_time
from credproc.errors import (
    AnswerError,
    CredprocError,
    RefusedError,
    UnavailableError,
    UntrustedServerError,
)
from credproc.light import TYPE_CHECKING
from credproc.telling import untold

if TYPE_CHECKING:
    from collections.abc import Callable

    from credproc.cache import SessionCache
    from credproc.credentials import SessionCredentials

POLL = 0.015
"""Seconds between two looks; the wake-up of all who wait is spread over that."""
QUIET = 30
"""Seconds after a failure in which an answer that is still valid is served without asking."""

_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_OF_THE_SERVICE = (RefusedError, UnavailableError, AnswerError)
"""What a fetch may fail with for all who wait for it."""


def _nothing() -> None:
    """Stand for a preparation where none is needed."""


class SingleFlight:
    """Fetches a session at most once among all processes of the user.

    Args:
        cache: Where the answer goes.
        key: The session's key.
        fetch: Fetches it from the service.
        limit: Seconds after which the wait for somebody else's fetch ends.
        told: Called with what is done, for who wants to follow it.
        prepare: Called before the wait, for what may take as long as somebody types.
    """

    def __init__(
        self,
        cache: SessionCache,
        key: str,
        fetch: Callable[[], SessionCredentials],
        limit: float,
        told: Callable[[str], None] = untold,
        *,
        prepare: Callable[[], None] = _nothing,
    ) -> None:
        """Touch nothing."""
        self._cache = cache
        self._key = key
        self._fetch = fetch
        self._limit = limit
        self._told = told
        self._prepare = prepare

    def obtain(self, *, renew: bool = False) -> SessionCredentials:
        """Return the session's credentials.

        Args:
            renew: Do not serve what was cached before this call.

        Raises:
            CredprocError: They are not to be had.
        """
        started = time.time()
        found = self._cache.load(self._key)
        if found is not None and not renew:
            ends = format_time(found.credentials.expires_at)
            if found.is_fresh(started):
                self._told(f"cache: hit, the session there lasts until {ends}")
                return found.credentials
            if found.is_valid(started) and self._failed_lately(started):
                self._told(f"cache: hit, as the service has failed; the session ends at {ends}")
                return found.credentials
            self._told(f"cache: no hit, the session there ends at {ends} and is due for renewal")
        else:
            self._told(f"cache: no hit, {'a new session is wanted' if renew else 'nothing there'}")
        self._prepare()
        descriptor = self._wait(started, renew=renew)
        try:
            found = self._finished(started, renew=renew)
            if found is not None:
                self._told("cache: another process has fetched the session meanwhile")
                return found.credentials
            return self._fetch_and_store(renew=renew)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _wait(self, started: float, *, renew: bool) -> int | None:
        """Return the lock's descriptor, or None to go on without it.

        Going on without costs a fetch too many at worst; waiting for ever would cost the answer.
        """
        path = self._cache.path(self._key, LOCK)
        end = time.monotonic() + self._limit
        waiting = False
        while time.monotonic() < end:
            try:
                descriptor = os.open(path, _OPEN, 0o600)
            except OSError as error:
                self._told(f"cache: {path} cannot be locked: {error.strerror}; going on without")
                return None
            held = _try_lock(descriptor)
            if held and _is_at(descriptor, path):
                return descriptor
            os.close(descriptor)
            if held:  # it was removed as nobody had needed it for long
                continue
            if self._finished(started, renew=renew) is not None:
                return None
            if not waiting:
                waiting = True
                self._told("cache: another process fetches; waiting for it")
            time.sleep(POLL)
        self._told(f"cache: the other process took more than {self._limit:g} s; going on without")
        return None

    def _finished(self, started: float, *, renew: bool) -> CachedSession | None:
        """Return what somebody else has fetched meanwhile.

        Raises:
            CredprocError: Somebody else has tried meanwhile, and failed.
        """
        now = time.time()
        found = self._cache.load(self._key)
        if (
            found is not None
            and found.is_fresh(now)
            and not (renew and found.stored_at < int(started))
        ):
            return found
        failure = self._cache.load_failure(self._key)
        if failure is not None and started <= failure.failed_at <= now:
            if found is not None and found.is_valid(now) and not renew:
                return found
            raise _repeated(failure)
        return None

    def _fetch_and_store(self, *, renew: bool) -> SessionCredentials:
        try:
            credentials = self._fetch()
        except CredprocError as error:
            now = time.time()
            # What is wrong with this process' key or password is not with another's.
            if isinstance(error, _OF_THE_SERVICE):
                self._cache.store_failure(self._key, Failure(now, error.exit_code, str(error)))
            found = self._cache.load(self._key)
            if found is not None and not renew and _is_outage(error) and found.is_valid(now):
                self._told(f"cache: the session there is served, as this failed: {error}")
                return found.credentials
            raise
        kept = self._cache.store(self._key, credentials, time.time())
        self._told(f"cache: the session {'is' if kept else 'could not be'} stored")
        return credentials

    def _failed_lately(self, now: float) -> bool:
        failure = self._cache.load_failure(self._key)
        return (
            failure is not None
            and failure.exit_code in (UnavailableError.exit_code, AnswerError.exit_code)
            and 0 <= now - failure.failed_at < QUIET
        )


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


def _is_outage(error: CredprocError) -> bool:
    return isinstance(error, UnavailableError | AnswerError) and not isinstance(
        error, UntrustedServerError
    )


def _repeated(failure: Failure) -> CredprocError:
    """Return the error that the process that fetched has reported."""
    for kind in _OF_THE_SERVICE:
        if kind.exit_code == failure.exit_code:
            return kind(failure.message)
    return CredprocError(failure.message)
