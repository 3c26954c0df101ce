"""When to renew, how long to try and how long to wait: pure arithmetic, no clocks, no threads.

All moments are `time.time()` seconds on this host, all spans are seconds.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from mqauth.credentials import BrokerCredentials
from mqauth.errors import ConfigurationError

MINIMUM_RETRY_DELAY = 0.2
SHORT_ATTEMPT_TIMEOUT = 1.0
MINIMUM_ATTEMPT_TIMEOUT = 0.2
FIRST_RETRY_DELAY = 0.5
LONGEST_RETRY_DELAY = 10.0
"""Also how long workers stay idle at the most once the issuer is back after a long outage."""
LONGEST_RETRY_AFTER = 30.0
PERMANENT_RETRY_DELAY = 30.0
LONGEST_RECHECK_DELAY = 300.0


class Freshness(enum.StrEnum):
    """What a credential is good for at a given moment."""

    FRESH = "fresh"
    """Use it; nothing to do."""

    DUE = "due"
    """Use it, and renew it in the background."""

    EXPIRED = "expired"
    """Do not use it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RotationPolicy:
    """How renewal is spread over a credential's life.

    Renewal starts early on purpose: with the defaults an issuer may be down for 60 % of a
    credential's life, beginning at any moment of it, and the next one still arrives in time.

    Args:
        renew_at: Part of the life after which renewal is due, more than 0 and at most 0.9.
        jitter: Part of the life by which renewal is delayed at random at the most, so that many
            hosts do not ask their issuer in the same second.
        timeout: Longest time for one attempt, in seconds.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    renew_at: float = 0.2
    jitter: float = 0.05
    timeout: float = 10.0

    def __post_init__(self) -> None:
        """Refuse values that could never renew in time."""
        if not 0 < self.renew_at <= 0.9:
            raise ConfigurationError(
                f"renew_at is {self.renew_at}", remedy="give a part of the life from 0.01 to 0.9"
            )
        if not 0 <= self.jitter <= 0.5 or self.renew_at + self.jitter >= 1:
            raise ConfigurationError(
                f"jitter is {self.jitter}", remedy="give a part of the life from 0 to 0.5"
            )
        if not 0 < self.timeout <= 300:
            raise ConfigurationError(
                f"timeout is {self.timeout} s", remedy="give from 0.1 to 300 seconds"
            )

    def renewal_time(self, credentials: BrokerCredentials, random: float) -> float:
        """Return the moment renewal is due; `random` from 0 to 1 places it within the jitter."""
        if math.isinf(credentials.lifetime):
            return math.inf
        left_when_due = 1 - self.renew_at - self.jitter * random
        return credentials.local_expiry - credentials.lifetime * left_when_due

    def freshness(self, credentials: BrokerCredentials, random: float, now: float) -> Freshness:
        """Return what `credentials` are good for at `now`."""
        if credentials.expired(now):
            return Freshness.EXPIRED
        due = now >= self.renewal_time(credentials, random)
        return Freshness.DUE if due else Freshness.FRESH

    def login_margin(self, credentials: BrokerCredentials) -> float:
        """Return how much must be left of `credentials` to begin a login with them."""
        return min(2.0, credentials.lifetime / 10) if math.isfinite(credentials.lifetime) else 0.0

    def attempt_timeout(self, remaining: float) -> float:
        """Return how long one attempt may take so that others still fit into `remaining`."""
        if remaining <= 0:
            return self.timeout
        # A quarter, but a second where half of what is left allows it: issuers are not that fast.
        part = max(remaining / 4, min(SHORT_ATTEMPT_TIMEOUT, remaining / 2))
        return min(self.timeout, max(part, MINIMUM_ATTEMPT_TIMEOUT))

    def retry_delay(
        self,
        failures: int,
        remaining: float,
        random: float,
        *,
        retryable: bool = True,
        retry_after: float | None = None,
    ) -> float:
        """Return how long to wait after the `failures`-th failure in a row (1 is the first).

        Grows exponentially, but while the old credential lasts it never exceeds a tenth of what
        is left, so that at least a few attempts always fit. An issuer's `Retry-After` is obeyed
        as long as half of what is left remains after it (RFC 9110, section 10.2.3).
        """
        delay = min(FIRST_RETRY_DELAY * 2.0 ** min(failures - 1, 16), LONGEST_RETRY_DELAY)
        if not retryable:
            delay = PERMANENT_RETRY_DELAY
        if 0 < remaining < math.inf:
            delay = min(delay, remaining / 10)
        delay *= 0.8 + 0.4 * random
        if retry_after is not None:
            bound = remaining / 2 if 0 < remaining < math.inf else LONGEST_RETRY_AFTER
            delay = max(delay, min(retry_after, bound))
        return max(delay, MINIMUM_RETRY_DELAY)

    def recheck_delay(self, remaining: float, random: float) -> float:
        """Return how long to wait where the issuer answered, but with nothing newer.

        In proportion to what is left, so that an issuer that hands out one token for an hour is
        asked some twenty times in it and not every few seconds.
        """
        delay = min(remaining / 10, LONGEST_RECHECK_DELAY) * (0.8 + 0.4 * random)
        return max(delay, MINIMUM_RETRY_DELAY)
