"""Refresh tokens of a strict issuer: each good for one use, and a second use ends the series.

A refresh token that comes twice has been stolen, or its successor lost (RFC 9700, section 2.2.2).
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field

from mqauth_sandbox.oauth import OAuthError


@dataclass(kw_only=True, slots=True)
class _Series:
    """The tokens that followed from one sign-in."""

    subject: str
    revoked: bool = False


@dataclass(kw_only=True, slots=True)
class RefreshTokenStore:
    """All refresh tokens of an issuer.

    Args:
        rotate: Whether each use replaces the token.
    """

    rotate: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _series: dict[str, _Series] = field(default_factory=dict, repr=False)
    _spent: set[str] = field(default_factory=set, repr=False)

    def issue(self, subject: str) -> str:
        """Begin a series for a user and return its first token."""
        return self._next(_Series(subject=subject))

    def use(self, token: str) -> tuple[str, str | None]:
        """Return the user whom a token is for, and the token that takes its place, if one does.

        Raises:
            OAuthError: The token is unknown, or has been used before: then its series has ended.
        """
        with self._lock:
            series = self._series.get(token)
            if series is not None and token in self._spent:
                series.revoked = True
            if series is None or series.revoked:
                raise OAuthError("invalid_grant", "unknown, used or revoked refresh token")
            if not self.rotate:
                return series.subject, None
            self._spent.add(token)
        return series.subject, self._next(series)

    def _next(self, series: _Series) -> str:
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._series[token] = series
        return token
