"""How the tests of rotation wait for threads, and how long for anything at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mqauth import BrokerCredentials, CredentialSource, MQAuthError, RotationPolicy
from mqauth.rotation.renewal import RenewalThread

PATIENCE = 30.0
"""Seconds until something that has to happen counts as not happening, on however slow a host."""

OFTEN = RotationPolicy(renew_at=0.02, jitter=0.0)
"""Renews a credential of 50 s after one, so that no pause of this process lets it run out."""


class WideMargin(RotationPolicy):
    """Takes a credential with half a minute left for one that is too short to begin a login with.

    With the real two seconds a pause of this process would decide what happens.
    """

    def login_margin(self, credentials: BrokerCredentials) -> float:
        """Return the half minute."""
        return 30.0


def renewal_thread(source: CredentialSource) -> RenewalThread:
    """Return the thread that keeps `source` fresh."""
    thread = source._thread
    assert thread is not None
    return thread


def wait_until_expired(credentials: BrokerCredentials) -> None:
    """Return once `credentials` have run out."""
    while not credentials.expired():
        time.sleep(max(credentials.remaining(), 0.01))


def in_threads(count: int, work: Callable[[], BrokerCredentials]) -> list[object]:
    """Return what `work` returned or raised in each of `count` threads that began together."""
    start = threading.Barrier(count)

    def run() -> object:
        start.wait(PATIENCE)
        try:
            return work()
        except MQAuthError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(count)]]
