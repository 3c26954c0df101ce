"""What can be told about a credential without giving it away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mqauth.credentials import BrokerCredentials
from mqauth.durations import duration
from mqauth.errors import InvalidCredentialError
from mqauth.jwt_claims import unverified_claims, unverified_header

OLD_FRAME = 4000
"""Characters of a token that RabbitMQ before 4.1 takes: its first frame holds 4096 bytes."""
NEW_FRAME = 8000
"""Characters of a token that RabbitMQ from 4.1 on takes: its first frame holds 8192 bytes."""


LONGEST_NAME = 64
"""Characters of a user name that is no token; the shortest tokens take more than twice as many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenFacts:
    """Facts of one credential; none is a secret.

    Attributes:
        kind: `JWT`, `certificate`, or `opaque` for passwords and other tokens.
        lifetime: Seconds from start to end; None if it never ends.
        time_left: Seconds left; None if it never ends.
        size: Characters of the token; None for a certificate.
    """

    provider: str
    identity: str
    username: str
    kind: str
    issuer: str | None
    subject: str | None
    audience: list[str]
    scopes: list[str]
    algorithm: str | None
    key_id: str | None
    issued_at: datetime
    expires_at: datetime | None
    lifetime: float | None
    time_left: float | None
    clock_skew: float
    size: int | None
    notes: list[str]

    def for_people(self) -> dict[str, object]:
        """Return the facts under the names that people read."""
        endless = self.time_left is None or self.lifetime is None
        left = (
            "it never expires"
            if endless
            else f"{duration(self.time_left or 0)} of {duration(self.lifetime or 0)}"
        )
        return {
            "provider": self.provider,
            "identity": self.identity,
            "user name": self.username or "(empty)",
            "kind": self.kind,
            "issuer": self.issuer,
            "subject": self.subject,
            "audience": self.audience or None,
            "scopes": self.scopes or None,
            "algorithm": self.algorithm,
            "key id": self.key_id,
            "issued": self.issued_at,
            "expires": self.expires_at,
            "time left": left,
            "clock skew": f"{self.clock_skew:+.0f} s" if self.clock_skew else None,
            "size": None if self.size is None else f"{self.size} characters",
            "note": self.notes or None,
        }


def facts_of(credentials: BrokerCredentials, identity: str) -> TokenFacts:
    """Return the facts of a credential."""
    token = credentials.password.reveal()
    header, claims = _parts(token)
    endless = credentials.expires_at is None
    return TokenFacts(
        provider=credentials.provider,
        identity=identity,
        username=_shown(credentials),
        kind=_kind(credentials, claims),
        issuer=_text(claims.get("iss")),
        subject=_text(claims.get("sub")) or credentials.principal,
        audience=_texts(claims.get("aud")),
        scopes=_scopes(claims),
        algorithm=_text(header.get("alg")),
        key_id=_text(header.get("kid")),
        issued_at=credentials.issued_at,
        expires_at=credentials.expires_at,
        lifetime=None if endless else credentials.lifetime,
        time_left=None if endless else credentials.remaining(),
        clock_skew=credentials.clock_skew,
        size=None if credentials.certificate else len(token),
        notes=_notes(token, claims),
    )


def _shown(credentials: BrokerCredentials) -> str:
    """Return the user name, unless it is (or may hold) what one signs in with.

    The first UAA plugin took the token as user name; ApsaraMQ's dynamic names hold a session token.
    """
    name = credentials.username
    if name == credentials.principal or len(name) <= LONGEST_NAME:
        return name
    return f"(hidden: {len(name)} characters with a token in them)"


def _kind(credentials: BrokerCredentials, claims: Mapping[str, Any]) -> str:
    if credentials.certificate is not None:
        return "certificate"
    return "JWT" if claims else "opaque"


def _parts(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        return unverified_header(token), unverified_claims(token)
    except InvalidCredentialError:
        return {}, {}


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    scopes = claims.get("scope", claims.get("scp"))
    return scopes.split() if isinstance(scopes, str) else _texts(scopes)


def _notes(token: str, claims: Mapping[str, Any]) -> list[str]:
    notes = []
    if len(token) > NEW_FRAME:
        notes.append("too long for any RabbitMQ: the connection is reset without a word")
    elif len(token) > OLD_FRAME:
        notes.append("too long for RabbitMQ before 4.1: the connection is reset without a word")
    if claims and "exp" not in claims:
        notes.append("it has no exp: RabbitMQ 4.3 and newer refuse it")
    return notes


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(item) for item in value] if isinstance(value, list) else []
