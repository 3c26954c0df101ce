"""What a credential command prints: one JSON object, version 1.

    {"version": 1, "username": "...", "password": "...", "expires_at": "2026-01-31T12:00:00Z"}

- `version`: 1; may be left out
- `password` or `token`: the secret; exactly one of them
- `username`: the user name at login; may be left out, as brokers read it from a token
- `expires_at`: end of life, as RFC 3339 text with an offset or in seconds since 1970
- `expires_in`: the same in seconds from now; at most one of the two

A secret that is a JWT ends with its `exp` at the latest. Without any of these it does not end.
Other keys are ignored.
"""

from __future__ import annotations

import json
import math
import time
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mqauth.credentials import BrokerCredentials, utc_from_timestamp
from mqauth.errors import InvalidCredentialError
from mqauth.jwt_claims import is_jwt
from mqauth.providers._bearer import already_expired, from_jwt
from mqauth.secret import Secret

VERSION = 1

_YEAR_10000 = 253_402_300_800.0


def credentials_from(
    output: bytes, *, what: str, provider: str
) -> BrokerCredentials | InvalidCredentialError:
    """Return the credential that `output` is, or the error to raise.

    It is returned, not raised: a traceback that shows variables must not show the output.
    """
    try:
        return _credentials(_parsed(output), provider)
    except _Unusable as problem:
        why = str(problem)
    except InvalidCredentialError as error:
        return InvalidCredentialError(f"{what}: {error.message}", remedy=error.remedy)
    return InvalidCredentialError(
        f"{what} {why}", remedy="have it print what the documentation of the provider asks for"
    )


def secrets_in(output: bytes) -> list[str]:
    """Return the secrets that a command printed, whatever became of it."""
    try:
        content = _parsed(output)
    except _Unusable:
        return []
    return [text for key in ("password", "token") if isinstance(text := content.get(key), str)]


class _Unusable(Exception):  # noqa: N818 - never leaves this module
    """Why the output is no credential, as the end of a sentence."""


def _parsed(output: bytes) -> dict[str, Any]:
    if not output.strip():
        raise _Unusable("printed nothing")
    try:
        content = json.loads(output)
    except (ValueError, RecursionError):
        content = ...
    if isinstance(content, dict):
        return content
    if content is not ...:
        raise _Unusable("printed JSON that is no object")
    other = "XML or a web page" if output.lstrip()[:1] == b"<" else "something else"
    raise _Unusable(f"printed {other} instead of JSON")


def _credentials(content: Mapping[str, Any], provider: str) -> BrokerCredentials:
    version = content.get("version", VERSION)
    if version != VERSION or isinstance(version, bool):
        raise _Unusable(f"printed another version of the format than {VERSION}")
    username = content.get("username", "")
    if not isinstance(username, str):
        raise _Unusable("printed a username that is no text")
    if not _printable(username):
        raise _Unusable("printed a username with control characters")
    secret, now = _secret(content), time.time()
    ends = _end(content, now)
    if is_jwt(secret):
        credentials = from_jwt(
            secret, provider=provider, origin="it", username=username, ends_by=ends
        )
    else:
        credentials = BrokerCredentials(
            username=username,
            password=secret,
            issued_at=utc_from_timestamp(now),
            expires_at=ends,
            principal=username or None,
            provider=provider,
        )
    if credentials.expired():
        raise already_expired(credentials, "it")
    return credentials


def _secret(content: Mapping[str, Any]) -> Secret:
    given = [content[key] for key in ("password", "token") if content.get(key) is not None]
    if len(given) != 1:
        raise _Unusable(
            "printed both password and token" if given else "printed neither password nor token"
        )
    if not isinstance(given[0], str) or not given[0].strip():
        raise _Unusable("printed an empty secret, or one that is no text")
    if not _printable(given[0].strip()):
        raise _Unusable("printed a secret with control characters or halves of characters")
    return Secret(given[0].strip())


def _printable(text: str) -> bool:
    # Half a surrogate pair cannot be encoded, and a NUL ends the login in SASL PLAIN.
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def _end(content: Mapping[str, Any], now: float) -> datetime | None:
    at, life = content.get("expires_at"), content.get("expires_in")
    if at is not None and life is not None:
        raise _Unusable("printed both expires_at and expires_in")
    if life is not None:
        seconds = _number(life)
        if seconds is None or not 0 < now + seconds < _YEAR_10000:
            raise _Unusable("printed an expires_in that is no number of seconds")
        return utc_from_timestamp(now + seconds)
    return None if at is None else _moment(at)


def _moment(value: object) -> datetime:
    if (number := _number(value)) is not None:
        # The range also catches milliseconds taken for seconds.
        if not 0 < number < _YEAR_10000:
            raise _Unusable("printed an expires_at out of all range; it counts seconds")
        return utc_from_timestamp(number)
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _Unusable("printed an expires_at that is no RFC 3339 time with an offset such as Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise _Unusable("printed an expires_at out of all range") from None


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
