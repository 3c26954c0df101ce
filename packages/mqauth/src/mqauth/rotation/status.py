"""A snapshot of what a source has done so far, fit to be shown to anyone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from mqauth.rotation.freshness import Freshness


@dataclass(kw_only=True, slots=True)
class Counters:
    """Counts of one source in one process since it was made."""

    fetches: int = 0
    """Credentials fetched from the provider."""
    shared: int = 0
    """Credentials taken from the host's cache."""
    rotations: int = 0
    """Times a newer credential took the place of an older one."""
    failures: int = 0
    """Attempts that failed."""
    invalidations: int = 0
    """Credentials thrown away because a broker refused them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceStatus:
    """State of one source at one moment; holds no secret."""

    provider: str
    identity: str
    principal: str | None
    freshness: Freshness | None
    """None while there is no credential at all."""
    issued_at: datetime | None
    expires_at: datetime | None
    remaining: float | None
    """Seconds left, None if there is no credential or it never expires."""
    clock_skew: float
    renewed_at: datetime | None
    connections: int
    """Live connections that are renewed in place."""
    fetches: int
    shared: int
    rotations: int
    failures: int
    failures_in_a_row: int
    invalidations: int
    last_error: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the status as JSON types, moments in ISO 8601."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
        }
