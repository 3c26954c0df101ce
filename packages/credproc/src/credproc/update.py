"""Keeps a profile of the shared credentials file supplied with fresh credentials.

For programs that can neither run `credential_process` nor reach an endpoint. The keys lie on disk,
in a file of mode 0600, for as long as the session lasts: prefer `credential_process` or `serve`.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

from credproc.awsfiles import edit, replace
from credproc.credentials import SessionCredentials, format_time
from credproc.errors import CredprocError
from credproc.renewal import pause_after_failure
from credproc.termination import PULSE

LEAD = 300.0
"""Seconds before the session's end when the file gets its next one, as the official helper does."""

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 120.0


def write_profile(path: Path, profile: str, credentials: SessionCredentials) -> None:
    """Write `credentials` into a profile of the credentials file; all else in it stays.

    Raises:
        CacheError: The file cannot be written, and is as it was.
        UsageError: The file or the profile's name is none that SDKs can read.
    """
    values = {
        "aws_access_key_id": credentials.access_key_id,
        "aws_secret_access_key": credentials.secret_access_key.reveal(),
        "aws_session_token": credentials.session_token.reveal(),
    }
    with edit.naming(path):
        replace.rewrite(path, lambda content: edit.set_keys(content, [profile], values))


class Updater:
    """Renews the profile until it is told to stop.

    Args:
        fetch: Returns credentials; called with whether a cached session will not do.
        write: Writes them into the file.
        tell: Says one line to the operator.
        stopped: Ends the loop when it is set.
    """

    def __init__(
        self,
        *,
        fetch: Callable[[bool], SessionCredentials],
        write: Callable[[SessionCredentials], None],
        tell: Callable[[str], None],
        stopped: threading.Event,
    ) -> None:
        """Take what it works with; nothing happens yet."""
        self._fetch = fetch
        self._write = write
        self._tell = tell
        self._stopped = stopped

    def run(self, *, once: bool) -> None:
        """Write the profile once, or until stopped.

        Raises:
            CredprocError: The first session is not to be had, or cannot be written. Later failures
                are told and tried again, as the file's credentials may still be good.
        """
        credentials = self._fetch(False)
        self._write(credentials)
        while not once:
            pause = pause_before_renewal(credentials.expires_at, time.time())
            self._tell(f"next renewal at {format_time(time.time() + pause)}")
            if self._wait_until(time.time() + pause):
                return
            renewed = self._renew(credentials)
            if renewed is None:
                return
            credentials = renewed

    def _renew(self, current: SessionCredentials) -> SessionCredentials | None:
        """Return the next session, None if told to stop while there is none."""
        pause = FIRST_PAUSE
        while True:
            try:
                credentials = self._fetch(True)
                self._write(credentials)
            except CredprocError as error:
                left = max(0.0, current.remaining(time.time()))
                self._tell(f"{error} (the file's credentials last {int(left)} s; trying again)")
                wait = pause_after_failure(pause, error.retry_after, left, LONGEST_PAUSE)
                wait *= random.uniform(0.8, 1.2)  # noqa: S311
                if self._wait_until(time.time() + wait):
                    return None
                pause = min(LONGEST_PAUSE, pause * 2)
            else:
                return credentials

    def _wait_until(self, moment: float) -> bool:
        """Wait for a time of the wall clock, also across a suspend; return whether to stop."""
        while (left := moment - time.time()) > 0:
            if self._stopped.wait(min(left, PULSE)):
                return True
        return self._stopped.is_set()


def pause_before_renewal(expires_at: float, now: float) -> float:
    """Return the seconds until a session that ends at `expires_at` is to be replaced.

    Five minutes before its end; a session that is not that long is replaced half-way.
    """
    left = expires_at - now
    return max(1.0, left - LEAD if left > 2 * LEAD else left / 2)
