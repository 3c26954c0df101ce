"""Claims of a JSON Web Token, read without verifying it.

The broker verifies tokens; here only display and timing depend on them (RFC 7519).
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from mqauth.credentials import utc_from_timestamp
from mqauth.errors import InvalidCredentialError
from mqauth.secret import Secret

MAX_LENGTH = 64 * 1024

_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
# How the header of a JWT begins: what begins so is one, whole or damaged, never an opaque token.
_START = "eyJ"  # `{"` and a letter, in base64
_SPACED_START = re.compile(rb'\{\s+"')
_YEAR_10000 = 253_402_300_800.0


def unverified_claims(token: str | Secret) -> Mapping[str, Any]:
    """Return the claims of a signed JWT in compact form.

    Raises:
        InvalidCredentialError: It is no such token. The message quotes nothing of it.
    """
    return _read(token)[1]


def unverified_header(token: str | Secret) -> Mapping[str, Any]:
    """Return the header of a signed JWT in compact form: `alg`, `kid` and the like.

    Raises:
        InvalidCredentialError: It is no such token. The message quotes nothing of it.
    """
    return _read(token)[0]


def is_jwt(token: str | Secret) -> bool:
    """Return whether a token is meant to be a JWT, be it whole or damaged, and not opaque."""
    text = token.reveal() if isinstance(token, Secret) else token
    if text.startswith(_START):
        return True
    header, *others = text[:MAX_LENGTH].split(".")
    begun = _decoded(header[: len(header) // 4 * 4])
    if begun is not None and _SPACED_START.match(begun):
        return True
    return len(others) == 2 and _json_object(header) is not None


def _read(token: str | Secret) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    parts = _header_and_claims(token)
    if isinstance(parts, str):
        raise InvalidCredentialError(
            f"the token is no JWT: {parts}", remedy="see what the issuer was asked for"
        )
    return MappingProxyType(parts[0]), MappingProxyType(parts[1])


def _header_and_claims(token: str | Secret) -> tuple[dict[str, Any], dict[str, Any]] | str:
    """Return header and claims, or why there are none.

    The reason is returned, not raised: a traceback that shows variables must not show the token.
    """
    text = token.reveal() if isinstance(token, Secret) else token
    segments = text.split(".")
    if len(text) > MAX_LENGTH:
        return f"it is longer than {MAX_LENGTH} characters"
    if len(segments) == 5:
        return "it is encrypted (JWE), so nobody but its audience can read its expiry"
    if len(segments) != 3:
        return "it does not have three parts"
    header, claims = _json_object(segments[0]), _json_object(segments[1])
    if header is None or claims is None:
        return "its parts are not JSON objects in base64url"
    # Unsigned tokens have an empty one (RFC 7515, A.5); whether to take them is the broker's say.
    if segments[2] and _decoded(segments[2]) is None:
        return "its signature is not base64url, or not all of it is there"
    return header, claims


def expiry(claims: Mapping[str, Any]) -> datetime | None:
    """Return the UTC time of `exp`, or None where there is none.

    Raises:
        InvalidCredentialError: `exp` is no time between 1970 and 9999.
    """
    if claims.get("exp") is None:
        return None
    moment = _moment(claims["exp"])
    if moment is None:
        raise InvalidCredentialError(
            "the token's exp claim is not a time in seconds since 1970",
            remedy="check how the issuer is configured to write exp",
        )
    return moment


def issued_at(claims: Mapping[str, Any]) -> datetime | None:
    """Return the UTC time of `iat`, or None where there is none or it makes no sense."""
    return _moment(claims.get("iat"))


def not_before(claims: Mapping[str, Any]) -> datetime | None:
    """Return the UTC time of `nbf`, or None where there is none or it makes no sense."""
    return _moment(claims.get("nbf"))


def subject(claims: Mapping[str, Any]) -> str | None:
    """Return `sub` if it is text."""
    value = claims.get("sub")
    return value if isinstance(value, str) and value else None


def _moment(value: object) -> datetime | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    # The range also catches NaN, infinities and milliseconds taken for seconds.
    if not 0 < value < _YEAR_10000 or not math.isfinite(value):
        return None
    return utc_from_timestamp(value)


def _json_object(segment: str) -> dict[str, Any] | None:
    decoded = _decoded(segment)
    if decoded is None:
        return None
    try:
        value = json.loads(decoded)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _decoded(segment: str) -> bytes | None:
    # Base64 of whole bytes never leaves one character over.
    if not _SEGMENT.fullmatch(segment) or len(segment) % 4 == 1:
        return None
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
