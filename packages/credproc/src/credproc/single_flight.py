"""Any number of processes, one fetch.

The lock is the operating system's (`flock`), so it dies with its holder. Those who wait look for
the holder's answer instead of queueing for the lock, so all of them go on at once when it is there.
"""

from __future__ import annotations

import fcntl
import os
import time

from credproc.cache import LOCK, CachedSession, Failure
from credproc.errors import (
    AnswerError,
    CacheError,
    CredprocError,
    HelperError,
    IdentityError,
    RefusedError,
    UnavailableError,
    UntrustedServerError,
    UsageError,
)
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from credproc.cache import SessionCache
    from credproc.credentials import SessionCredentials

POLL = 0.015
"""Seconds between two looks; the wake-up of all who wait is spread over that."""
QUIET = 30
"""Seconds after a failure in which an answer that is still valid is served without asking."""

_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_CLASSES: tuple[type[CredprocError], ...] = (
    UsageError,
    IdentityError,
    RefusedError,
    UnavailableError,
    AnswerError,
    HelperError,
    CacheError,
)


class SingleFlight:
    """Fetches a session at most once among all processes of the user.

    Args:
        cache: Where the answer goes.
        key: The session's key.
        fetch: Fetches it from the service.
        limit: Seconds after which the wait for somebody else's fetch ends.
    """

    def __init__(
        self,
        cache: SessionCache,
        key: str,
        fetch: Callable[[], SessionCredentials],
        limit: float,
    ) -> None:
        """Touch nothing."""
        self._cache = cache
        self._key = key
        self._fetch = fetch
        self._limit = limit

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
            if found.is_fresh(started):
                return found.credentials
            if found.is_valid(started) and self._failed_lately(started):
                return found.credentials
        descriptor = self._wait(started, renew=renew)
        try:
            found = self._finished(started, renew=renew)
            return found.credentials if found is not None else self._fetch_and_store(renew=renew)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _wait(self, started: float, *, renew: bool) -> int | None:
        """Return the lock's descriptor, or None to go on without it.

        Going on without costs a fetch too many at worst; waiting for ever would cost the answer.
        """
        path = self._cache.path(self._key, LOCK)
        end = time.monotonic() + self._limit
        while time.monotonic() < end:
            try:
                descriptor = os.open(path, _OPEN, 0o600)
            except OSError:
                return None
            if _try_lock(descriptor):
                return descriptor
            os.close(descriptor)
            if self._finished(started, renew=renew) is not None:
                return None
            time.sleep(POLL)
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
            self._cache.store_failure(self._key, Failure(now, error.exit_code, str(error)))
            found = self._cache.load(self._key)
            if found is not None and not renew and _is_outage(error) and found.is_valid(now):
                return found.credentials
            raise
        self._cache.store(self._key, credentials, time.time())
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


def _is_outage(error: CredprocError) -> bool:
    return isinstance(error, UnavailableError | AnswerError) and not isinstance(
        error, UntrustedServerError
    )


def _repeated(failure: Failure) -> CredprocError:
    """Return the error that the process that fetched has reported."""
    for kind in _CLASSES:
        if kind.exit_code == failure.exit_code:
            return kind(failure.message)
    return CredprocError(failure.message)
