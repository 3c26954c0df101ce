"""One identity's credentials for the whole process: fetched once, renewed ahead of expiry."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Mapping
from typing import Any, Self

from mqauth import forks
from mqauth.config.hiding import hidden
from mqauth.credentials import BrokerCredentials, utc_from_timestamp
from mqauth.errors import CredentialExpiredError, InvalidCredentialError, MQAuthError
from mqauth.provider import Provider
from mqauth.rotation.announcements import Announcer
from mqauth.rotation.apart import DefectError, call_apart
from mqauth.rotation.building import Parts, parts_from_mapping
from mqauth.rotation.cache import HostCache
from mqauth.rotation.clock import clock_offset
from mqauth.rotation.freshness import Freshness, RotationPolicy
from mqauth.rotation.listeners import CredentialListener, Listeners
from mqauth.rotation.renewal import RenewalThread
from mqauth.rotation.status import Counters, SourceStatus
from mqauth.secret import encodable

logger = logging.getLogger(__name__)

DELIVERY_RETRY_DELAY = 0.05
DISCARD_LOCK_TIMEOUT = 0.2
LIMIT_OF_DEFECT = 30.0
"""Seconds beyond its time limit that a provider gets before it counts as hanging."""
CLOCK_STEP = 2.0
"""Seconds by which the wall clock must be set anew for expiry to be reckoned anew."""


class CredentialSource:
    """Hands out the present credential of one identity and keeps it fresh.

    Any number of threads and connections may share one source. While the credential lasts, `get`
    answers at once; a background thread renews it in time for as long as somebody uses it.

    Args:
        provider: Fetches the credentials.
        policy: When to renew and how long to try.
        cache: The identity's cache on this host, or None to keep everything in this process.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        policy: RotationPolicy | None = None,
        cache: HostCache | None = None,
    ) -> None:
        """Keep the parts; nothing is fetched yet."""
        self.provider = provider
        self.policy = policy or RotationPolicy()
        self._cache = cache
        self._current: BrokerCredentials | None = None
        self._previous: BrokerCredentials | None = None
        self._rejected: BrokerCredentials | None = None
        self._error: MQAuthError | None = None
        self._renewed_at: float | None = None
        self._retry_at = -math.inf
        self._failures_in_a_row = 0
        self._failures_empty_handed = 0
        self._announcer = Announcer(provider)
        self._closed = False
        self._prepared = False
        self._clock_offset = clock_offset()
        self._reset_for_this_process()
        forks.after_in_child(self, CredentialSource._reset_for_this_process)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a source from a mapping: `provider`, its options, and the source's own settings.

        Raises:
            ConfigurationError: The provider or an option is unknown, missing or contradictory.
        """
        config = hidden(config)  # not shown by whoever reports an error with this frame's variables
        return cls.from_parts(parts_from_mapping(config))

    @classmethod
    def from_parts(cls, parts: Parts) -> Self:
        """Build a source from the parts that a configuration resolved to."""
        return cls(parts.provider, policy=parts.policy, cache=parts.cache)

    def _reset_for_this_process(self) -> None:
        # A forked child must neither wait for locks its parent held nor write to its parent's
        # sockets. The credential itself is as good in the child as it was in the parent.
        self._flight = threading.Lock()
        self._state = threading.RLock()  # a finalizer may come back in
        self._listeners = Listeners()
        self._last_used = -math.inf
        self._random = random.Random()  # noqa: S311 - spreads load, guards nothing
        self._jitter = self._random.random()
        self._counters = Counters()
        self._thread: RenewalThread | None = None

    @property
    def current(self) -> BrokerCredentials | None:
        """The credential at hand, expired or not; never blocks."""
        return self._current

    def get(self) -> BrokerCredentials:
        """Return a valid credential, fetching one only where none is at hand.

        Returns:
            User name and password as one snapshot; at least valid at this moment.

        Raises:
            CredentialError: None could be had. After a failure the same answer is given without
                asking the issuer again until the back-off allows it.
        """
        self._last_used = time.monotonic()
        credentials = self._current
        if credentials is None or credentials.expired():
            credentials = self._obtain(credentials)
        elif credentials.remaining() < self.policy.login_margin(credentials):
            # Good for what is open, but a login with it might arrive too late.
            credentials = self._obtain_or_keep(credentials)
        self._keep_renewing(credentials)
        return credentials

    def invalidate(self, rejected: BrokerCredentials) -> None:
        """Throw `rejected` away, here and on the host, unless a newer one took its place."""
        with self._state:
            self._rejected = rejected
            if self._current is None or self._current.password != rejected.password:
                return
            self._current = None
            self._counters.invalidations += 1
            self._retry_at = -math.inf
        self._listeners.withdraw(rejected)
        if self._cache is not None:
            # Not longer: the caller may be an event loop, and discarding works without, too.
            with self._cache.lock(DISCARD_LOCK_TIMEOUT):
                self._cache.discard(rejected)

    @property
    def shares(self) -> bool:
        """Whether the processes of this host share its credentials."""
        return self._cache is not None

    def on_host(self) -> BrokerCredentials | None:
        """Return the valid credential that this host's processes share, if there is one.

        Reads a file and changes nothing: for those who look on.
        """
        return self._usable_in_cache()

    def prepare(self) -> None:
        """Load what fetching needs, such as an HTTP library; quick when repeated.

        A process that forks workers does this first, so that each of them need not.
        """
        prepare = getattr(self.provider, "prepare", None)
        if prepare is not None and not self._prepared:
            with forks.held_off():
                prepare()
            self._prepared = True

    def attach(self, listener: CredentialListener) -> None:
        """Tell `listener` about newer credentials for as long as it lives; held weakly."""
        self._listeners.add(listener)
        if self._current is not None:
            self._keep_renewing(self._current)

    def detach(self, listener: CredentialListener) -> None:
        """Stop telling `listener`."""
        self._listeners.remove(listener)

    def close(self) -> None:
        """End the background thread; the source stays usable, but renews only when asked."""
        self._closed = True
        with self._state:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    def status(self) -> SourceStatus:
        """Return what has happened so far and how things stand, without a secret."""
        now = time.time()
        with self._state:
            current, error, counters = self._current, self._error, self._counters
            expiring = current is not None and current.expires_at is not None
            return SourceStatus(
                provider=self.provider.name,
                identity=self.provider.identity,
                principal=current.principal if current else None,
                freshness=self._freshness(current, now) if current else None,
                issued_at=current.issued_at if current else None,
                expires_at=current.expires_at if current else None,
                remaining=current.remaining(now) if current and expiring else None,
                clock_skew=current.clock_skew if current else 0.0,
                renewed_at=utc_from_timestamp(self._renewed_at) if self._renewed_at else None,
                connections=len(self._listeners),
                fetches=counters.fetches,
                shared=counters.shared,
                rotations=counters.rotations,
                failures=counters.failures,
                failures_in_a_row=self._failures_in_a_row,
                invalidations=counters.invalidations,
                last_error=str(error) if error else None,
            )

    def tick(self) -> float | None:
        """Do what is due in the background.

        Returns:
            Seconds until there is something to do again, or None once nobody uses the source.
        """
        if self._retire():
            return None
        credentials = self._current
        delivered = self._listeners.deliver()
        wait = self._time_to_next_attempt(credentials)
        if wait > 0:
            # Whoever is too busy to take over does not keep the source from renewing.
            return wait if delivered else min(wait, DELIVERY_RETRY_DELAY)
        self._attempt_in_background(credentials)
        return 0.0

    def _retire(self) -> bool:
        """Return whether the thread is to end; from then on whoever needs one starts another."""
        with self._state:
            if self._closed:
                return True
            if self._in_use(self._current):
                return False
            self._thread = None
            return True

    def _in_use(self, credentials: BrokerCredentials | None) -> bool:
        if len(self._listeners):
            return True
        idle = time.monotonic() - self._last_used
        return credentials is not None and idle < min(credentials.lifetime, 3600.0)

    def _time_to_next_attempt(self, credentials: BrokerCredentials | None) -> float:
        wait = self._retry_at - time.monotonic()
        if credentials is not None and not self._clock_was_set():
            due = self.policy.renewal_time(credentials, self._jitter)
            wait = max(wait, due - time.time())
        return wait

    def _clock_was_set(self) -> bool:
        """Return whether the wall clock was set anew since the credential came.

        Its expiry was reckoned on the old time; the next credential's is reckoned on the new.
        """
        return abs(clock_offset() - self._clock_offset) > CLOCK_STEP

    def _keep_renewing(self, credentials: BrokerCredentials) -> None:
        if self._closed or math.isinf(credentials.lifetime):
            return
        with self._state:
            if self._thread is None or not self._thread.is_alive():
                self._thread = self._start_thread()

    def _start_thread(self) -> RenewalThread | None:
        thread = RenewalThread(self, f"mqauth-renewal-{self.provider.name}")
        try:
            thread.start()
        except RuntimeError as error:
            # The host is out of threads, or the interpreter is ending: what is at hand still works.
            logger.warning("%s: cannot renew in the background: %s", self.provider.identity, error)
            return None
        return thread

    def _wake_renewal(self) -> None:
        """Have the news delivered now, whichever thread brought it."""
        thread = self._thread
        if thread is not None:
            thread.wake()

    def _attempt_in_background(self, seen: BrokerCredentials | None) -> None:
        try:
            self._attempt(seen)
        except MQAuthError:
            pass  # already recorded, logged and scheduled
        except Exception as defect:
            # No signal handler runs on this thread, so that it is nobody else's exception: it
            # waits as after any failure, or the same is tried again and again without a pause.
            logger.exception("%s: the renewal met a defect", self.provider.identity)
            self._record_failure(_unexpected(defect))

    def _obtain(self, seen: BrokerCredentials | None) -> BrokerCredentials:
        remembered = self._error
        if remembered is not None and time.monotonic() < self._retry_at:
            raise _again(remembered)
        return self._attempt(seen)

    def _obtain_or_keep(self, present: BrokerCredentials) -> BrokerCredentials:
        if time.monotonic() < self._retry_at:
            return present
        try:
            return self._attempt(present)
        except MQAuthError:
            if present.expired():
                raise
            return present

    def _attempt(self, seen: BrokerCredentials | None) -> BrokerCredentials:
        """Replace `seen`, unless another thread does so, or fails to, in the meantime."""
        bound = self.policy.timeout * 2
        if not self._flight.acquire(timeout=bound):
            raise CredentialExpiredError(
                f"another thread has been fetching for {bound:.0f} s",
                remedy="see the log for why the issuer does not answer",
            )
        try:
            current = self._current
            if current is not None and current is not seen and not current.expired():
                return current
            if self._error is not None and time.monotonic() < self._retry_at:
                raise _again(self._error)
            return self._attempt_alone()
        finally:
            self._flight.release()

    def _attempt_alone(self) -> BrokerCredentials:
        try:
            return self._adopt_or_fetch()
        except MQAuthError as error:
            self._record_failure(error)
            raise
        except DefectError as defect:
            # It must end neither renewal nor the caller, who handles our errors.
            cause = defect.__cause__ or defect
            logger.error(  # noqa: TRY400 - the traceback is the cause's
                "the provider %s failed unexpectedly", self.provider.name, exc_info=cause
            )
            unexpected = _unexpected(cause)
            self._record_failure(unexpected)
            raise unexpected from cause

    def _adopt_or_fetch(self) -> BrokerCredentials:
        if self._cache is None:
            return self._fetch()
        cached = self._better_in_cache()
        if cached is not None:
            return self._take(cached)
        self.prepare()  # not under the lock: other processes wait for it
        with self._cache.lock(self._time_for_attempt()):
            cached = self._better_in_cache()
            if cached is not None:
                return self._take(cached)
            try:
                return self._fetch()
            except MQAuthError as error:
                return self._last_resort(error)

    def _time_for_attempt(self) -> float:
        current = self._current
        return self.policy.attempt_timeout(current.remaining() if current else 0.0)

    def _better_in_cache(self) -> BrokerCredentials | None:
        """Return the host's credential if it spares this process a fetch."""
        cached = self._usable_in_cache()
        if cached is None:
            return None
        current = self._current
        if current is None or current.expired():
            # Signing in with it now beats waiting for an issuer that may be down; if it is due,
            # the background sees to that.
            usable = cached.remaining() >= self.policy.login_margin(cached)
        else:
            usable = cached.local_expiry > current.local_expiry and self._fresh(cached)
        return cached if usable else None

    def _usable_in_cache(self) -> BrokerCredentials | None:
        cached = self._cache.load() if self._cache is not None else None
        if cached is None or cached.expired():
            return None
        if self._rejected is not None and cached.password == self._rejected.password:
            return None
        return cached

    def _last_resort(self, error: MQAuthError) -> BrokerCredentials:
        """While the issuer gives nothing, whatever of the host's lasts longer than ours will do.

        Another process may have renewed just before the issuer went out of order: its credential is
        due by now, but ours ends first.
        """
        cached, current = self._usable_in_cache(), self._current
        if cached is None or (current and cached.local_expiry <= current.local_expiry):
            raise error
        taken = self._take(cached)
        self._record_failure(error)
        return taken

    def _fetch(self) -> BrokerCredentials:
        self.prepare()
        started = time.monotonic()
        timeout = self._time_for_attempt()
        # Providers load libraries when they first need them, and nearly all speak TLS.
        with forks.held_off():
            fetched = call_apart(
                lambda: self.provider.fetch(timeout=timeout),
                MQAuthError,
                limit=timeout + LIMIT_OF_DEFECT,
            )
        _check_encodable(fetched, self.provider.identity)
        if fetched.expired():
            raise CredentialExpiredError(
                f"{self.provider.identity} gave a credential that has already expired",
                remedy="compare the clocks of this host, the issuer and the broker",
            )
        if self._cache is not None:
            self._cache.store(fetched)
        return self._take(fetched, fetched_in=time.monotonic() - started)

    def _take(
        self, new: BrokerCredentials, *, fetched_in: float | None = None
    ) -> BrokerCredentials:
        """Make `new` the present credential: fetched here within so many seconds, or shared."""
        shared = fetched_in is None
        with self._state:
            # An invalidated credential has left `_current`, but connections still carry it.
            old = self._current or self._previous
            unchanged = old is not None and old.password == new.password
            self._current = self._previous = new
            self._clock_offset = clock_offset()
            self._jitter = self._random.random()
            self._error = None
            self._failures_in_a_row = self._failures_empty_handed = 0
            self._retry_at = -math.inf
            self._announcer.calm_down()
            self._counters.shared += shared
            self._counters.fetches += not shared
            if not shared and (unchanged or not self._fresh(new)):
                # Some issuers and files hand out the same token until it is nearly over, or one
                # that began long ago: look again a little later, but do not call it a failure.
                self._retry_at = time.monotonic() + self.policy.recheck_delay(
                    new.remaining(), self._random.random()
                )
            renewed = old is not None and not unchanged
            if renewed:
                self._counters.rotations += 1
                self._renewed_at = time.time()
        if renewed:
            self._listeners.announce(new)
            self._wake_renewal()
        if fetched_in is not None:
            self._announcer.fetched(new, fetched_in)
        if renewed:
            self._announcer.renewed(new, shared=shared)
        return new

    def _record_failure(self, error: MQAuthError) -> None:
        current = self._current
        remaining = max(current.remaining(), 0.0) if current else 0.0
        with self._state:
            self._error = error
            self._counters.failures += 1
            self._failures_in_a_row += 1
            # The waits within a life say nothing about the time after it: at its end, when every
            # second counts, they begin anew.
            self._failures_empty_handed = 0 if remaining else self._failures_empty_handed + 1
            delay = self.policy.retry_delay(
                self._failures_empty_handed or self._failures_in_a_row,
                remaining,
                self._random.random(),
                retryable=error.retryable,
                retry_after=error.retry_after,
            )
            self._retry_at = time.monotonic() + delay
        self._announcer.failed(
            error,
            current=current,
            failures=self._failures_in_a_row,
            remaining=remaining,
            retry_in=delay,
        )

    def _freshness(self, credentials: BrokerCredentials, now: float) -> Freshness:
        return self.policy.freshness(credentials, self._jitter, now)

    def _fresh(self, credentials: BrokerCredentials) -> bool:
        return self._freshness(credentials, time.time()) is Freshness.FRESH

    def __repr__(self) -> str:
        return f"<CredentialSource {self.provider.identity}>"


def _check_encodable(fetched: BrokerCredentials, identity: str) -> None:
    """Refuse half a surrogate pair, which no login, cache or comparison can encode."""
    if not (encodable(fetched.username) and encodable(fetched.password.reveal())):
        raise InvalidCredentialError(
            f"{identity} gave a credential with characters that UTF-8 cannot write",
            remedy="look at what it reads or asks: it is not in UTF-8",
        )


def _again(error: MQAuthError) -> MQAuthError:
    """Return a fresh exception like `error`: one instance raised twice mixes up tracebacks."""
    return type(error)(error.message, remedy=error.remedy, retry_after=error.retry_after)


def _unexpected(error: BaseException) -> MQAuthError:
    return CredentialExpiredError(
        f"the provider failed with {type(error).__name__}", remedy="see the traceback in the log"
    )
