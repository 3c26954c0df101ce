"""What a provider hands out: one immutable credential for one broker login."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mqauth.secret import Secret


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientCertificate:
    """An X.509 client certificate on disk, for a login by TLS itself (SASL EXTERNAL).

    Args:
        certificate_file: PEM file of the certificate, and of those between it and its authority.
        private_key_file: PEM file of its private key, not encrypted; None if the first holds it.
    """

    certificate_file: Path
    private_key_file: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokerCredentials:
    """A user name and password that belong together, and how long they last.

    Args:
        username: The login user name; empty where the broker reads it from the token.
        password: The password or token.
        issued_at: Start of the credential's life, on the issuer's clock.
        expires_at: End of the credential's life on the issuer's clock, or None if it has no end.
            Where another credential stands behind it, the earlier of both ends.
        principal: Whom the credential names (a token's `sub`, a role ARN), for display.
        provider: Name of the provider that fetched it.
        clock_skew: Seconds the issuer's clock is ahead of this host's (negative: behind).
        certificate: The client certificate to present where no password is sent. `password` then
            only tells one certificate from the next.
    """

    username: str = field(repr=False)
    password: Secret
    issued_at: datetime
    expires_at: datetime | None = None
    principal: str | None = None
    provider: str = ""
    clock_skew: float = 0.0
    certificate: ClientCertificate | None = None

    @property
    def lifetime(self) -> float:
        """Whole life in seconds; infinite where the credential never expires."""
        if self.expires_at is None:
            return math.inf
        return (self.expires_at - self.issued_at).total_seconds()

    @property
    def local_expiry(self) -> float:
        """End of life on this host's clock, as `time.time()` counts; infinite if there is none."""
        if self.expires_at is None:
            return math.inf
        return self.expires_at.timestamp() - self.clock_skew

    def remaining(self, now: float | None = None) -> float:
        """Return the seconds left at `now` (`time.time()`); negative once expired."""
        return self.local_expiry - (time.time() if now is None else now)

    def expired(self, now: float | None = None) -> bool:
        """Return whether the credential has run out at `now` (`time.time()`)."""
        return self.remaining(now) <= 0


def utc_from_timestamp(seconds: float) -> datetime:
    """Return the UTC time of a POSIX timestamp in seconds."""
    return datetime.fromtimestamp(seconds, UTC)
