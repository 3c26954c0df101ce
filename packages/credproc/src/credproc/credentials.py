"""The credentials of one session, and the JSON that AWS SDKs read."""

from __future__ import annotations

import time

from credproc.light import TYPE_CHECKING, NamedTuple
from credproc.secret import Secret

if TYPE_CHECKING:
    from datetime import datetime


class SessionCredentials(NamedTuple):
    """What CreateSession gave.

    A named tuple, not a dataclass: importing `dataclasses` takes 15 ms, longer than signing.
    """

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret
    expires_at: int
    """Seconds since the epoch."""

    @property
    def expiration(self) -> datetime:
        """The end of the session, as an aware UTC time."""
        from datetime import UTC, datetime  # 5 ms that the command need not spend

        return datetime.fromtimestamp(self.expires_at, UTC)

    @property
    def expiration_text(self) -> str:
        """The end of the session as the service writes it, such as `2026-11-22T13:45:00Z`."""
        return format_time(self.expires_at)

    def remaining(self, now: float) -> float:
        """Return the seconds left at `now`, in seconds since the epoch."""
        return self.expires_at - now

    def to_json(self) -> str:
        """Return the compact JSON that `credential_process` prints, secrets revealed."""
        from credproc.quick_json import write_json  # the warm path copies bytes

        document: dict[str, str | int] = {
            "Version": 1,
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": self.secret_access_key.reveal(),
            "SessionToken": self.session_token.reveal(),
            "Expiration": self.expiration_text,
        }
        return write_json(document)


def format_time(seconds: float) -> str:
    """Return a time in the form of ISO 8601 that AWS uses, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
