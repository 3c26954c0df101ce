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
    if not _SEGMENT.fullmatch(segment):
        return None
    try:
        padded = segment + "=" * (-len(segment) % 4)
        value = json.loads(base64.urlsafe_b64decode(padded))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
