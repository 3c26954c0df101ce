"""From a token to a credential: when it was issued, when it ends, whom it names."""

from __future__ import annotations

import time
from datetime import datetime

from mqauth import jwt_claims
from mqauth.credentials import BrokerCredentials, utc_from_timestamp
from mqauth.durations import duration
from mqauth.errors import InvalidCredentialError
from mqauth.secret import Secret


def from_jwt(
    token: Secret,
    *,
    provider: str,
    origin: str,
    username: str = "",
    clock_skew: float = 0.0,
    ends_by: datetime | None = None,
) -> BrokerCredentials:
    """Return the credential that a signed JWT is.

    Args:
        token: The token, which becomes the password.
        provider: Name of the provider that fetched it.
        origin: Where it came from, for error messages.
        username: The user name at login.
        clock_skew: Seconds the issuer's clock is ahead of this host's.
        ends_by: End of the credential that stands behind the token, if there is one.

    Raises:
        InvalidCredentialError: It is no JWT, or has already expired.
    """
    claims = jwt_claims.unverified_claims(token)
    ends = [moment for moment in (jwt_claims.expiry(claims), ends_by) if moment is not None]
    now = on_issuers_clock(time.time() + clock_skew, origin)
    issued_at = jwt_claims.issued_at(claims)
    if issued_at is None or issued_at > now:
        # A start in the future is a clock's error; it would make the life look shorter than it is.
        issued_at = now
    credentials = BrokerCredentials(
        username=username,
        password=token,
        issued_at=issued_at,
        expires_at=min(ends, default=None),
        principal=jwt_claims.subject(claims),
        provider=provider,
        clock_skew=clock_skew,
    )
    if credentials.expired():
        raise already_expired(credentials, origin)
    return credentials


def on_issuers_clock(seconds: float, origin: str) -> datetime:
    """Return the UTC time of a POSIX timestamp that depends on what an issuer says.

    Raises:
        InvalidCredentialError: It is none between the years 1 and 9999.
    """
    try:
        return utc_from_timestamp(seconds)
    except (ValueError, OverflowError, OSError):
        pass
    raise InvalidCredentialError(
        f"by the clock of {origin} the token begins or ends beyond the years 1 to 9999",
        remedy="correct that clock, which its Date header tells, or the life that it gives tokens",
    )


def already_expired(credentials: BrokerCredentials, origin: str) -> InvalidCredentialError:
    """Return the error for a credential that was dead on arrival."""
    skew = credentials.clock_skew
    clock = "compare the clocks of this host and of the issuer"
    if skew:
        side = "ahead of" if skew > 0 else "behind"
        clock = f"the issuer's clock is {duration(skew)} {side} this host's"
    return InvalidCredentialError(
        f"{origin} gave a token that expired {duration(credentials.remaining())} ago",
        remedy=f"{clock}; see why the issuer hands out old tokens",
    )
