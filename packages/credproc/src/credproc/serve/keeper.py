"""Holds one session and renews it ahead of time, whether or not anybody asks."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from credproc.credentials import SessionCredentials
from credproc.errors import CredprocError, UnavailableError
from credproc.renewal import pause_after_failure

logger = logging.getLogger(__name__)

LEAD = 1500.0
"""Seconds before its end when a session is replaced, if it is long enough.

SDKs ask for the next one 15 minutes before the end, and botocore takes an answer of the instance
metadata with less than 20 minutes left for an outage and uses it past its end.
"""

SHARE = 0.5
"""The part of a session after which it is replaced, if it is too short for `LEAD`."""

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
JOIN_LIMIT = 2.0


class Keeper:
    """Renews a session in one background thread.

    However many ask, one fetch is under way at a time. A failed renewal is told and tried again
    with growing pauses, while the session at hand is served for as long as it lasts.

    Args:
        fetch: Returns a session; called with whether a cached one will not do.
        tell: Says one line to the operator.
    """

    def __init__(
        self, fetch: Callable[[bool], SessionCredentials], tell: Callable[[str], None]
    ) -> None:
        """Hold nothing yet."""
        self._fetch = fetch
        self._tell = tell
        self._changed = threading.Condition()
        self._current: SessionCredentials | None = None
        self._failure: CredprocError | None = None
        self._failed_at = 0.0
        self._due = 0.0
        self._renewals = 0
        self._poked = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="credproc-renewal", daemon=True)

    def start(self) -> SessionCredentials:
        """Fetch the first session and keep it renewed from then on.

        Raises:
            CredprocError: There is none to be had; nothing was started.
        """
        self._accept(self._fetch(False))
        self._thread.start()
        return self.current(wait=0)

    def stop(self) -> None:
        """End the renewals; a fetch under way is left to itself after a moment."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(JOIN_LIMIT)

    def current(self, wait: float) -> SessionCredentials:
        """Return the session at hand.

        Args:
            wait: Seconds to wait for a renewal, should the session have ended (the host slept).

        Raises:
            CredprocError: Why there is no session that still lasts.
        """
        deadline = time.monotonic() + wait
        with self._changed:
            seen = self._renewals
            while True:
                if self._current is not None and self._current.remaining(time.time()) > 0:
                    return self._current
                left = deadline - time.monotonic()
                if left <= 0 or self._renewals != seen:
                    raise self._failure or UnavailableError(
                        "the session has expired and the next one is still on its way",
                        remedy="ask again in a few seconds",
                    )
                if self._failure and time.monotonic() - self._failed_at < FIRST_PAUSE:
                    raise self._failure  # who asks must not keep a service busy that is down
                self._poked = True
                self._changed.notify_all()
                self._changed.wait(left)

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while self._wait():
            try:
                credentials = self._fetch(True)
            except CredprocError as error:
                self._failed(error, pause, error.retry_after)
                pause = min(pause * 2, LONGEST_PAUSE)
            except Exception as error:
                # This thread is the only one that renews: it goes on, whatever happens.
                logger.debug("renewal failed", exc_info=True)
                unexpected = CredprocError(f"the renewal failed with {type(error).__name__}")
                self._failed(unexpected, pause, None)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                self._accept(credentials)
                pause = FIRST_PAUSE

    def _wait(self) -> bool:
        """Wait until a renewal is due; return whether to go on."""
        with self._changed:
            while not self._stopping:
                left = self._due - time.time()
                if left <= 0 or self._poked:
                    self._poked = False
                    return True
                # In slices, since the wall clock goes on while a host sleeps and this one does not.
                self._changed.wait(min(left, 30.0))
            return False

    def _accept(self, credentials: SessionCredentials) -> None:
        now = time.time()
        with self._changed:
            self._current, self._failure = credentials, None
            self._due = now + pause_before_renewal(credentials.remaining(now))
            self._renewals += 1
            self._changed.notify_all()

    def _failed(self, error: CredprocError, pause: float, asked: float | None) -> None:
        now = time.time()
        with self._changed:
            left = self._current.remaining(now) if self._current else 0.0
            wait = pause_after_failure(pause, asked, left, LONGEST_PAUSE)
            self._failure, self._failed_at = error, time.monotonic()
            self._due = now + wait * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
            self._renewals += 1
            self._changed.notify_all()
        state = f"the session at hand lasts {int(left)} s" if left > 0 else "the session has ended"
        self._tell(f"{error} ({state}; trying again)")


def pause_before_renewal(left: float) -> float:
    """Return the seconds until a session that lasts `left` seconds more is to be replaced.

    A little earlier each time by chance, so that hosts that started together do not ask together.
    """
    pause = left - LEAD if left * SHARE > LEAD else left * SHARE
    return max(1.0, pause * random.uniform(0.95, 1.0))  # noqa: S311 - no secret
