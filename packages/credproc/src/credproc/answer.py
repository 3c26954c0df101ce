"""Reads what CreateSession answered: credentials, or why there are none."""

from __future__ import annotations

import time

from credproc.credentials import SessionCredentials, format_time
from credproc.errors import AnswerError
from credproc.identity.der import GENERALIZED_TIME, DerError, Element, timestamp
from credproc.light import TYPE_CHECKING
from credproc.quick_json import read_json
from credproc.secret import Secret

if TYPE_CHECKING:
    from typing import Any

    from credproc.http1 import Response

FIELDS = ("accessKeyId", "secretAccessKey", "sessionToken", "expiration")
LONGEST_FIELD = 32 * 1024
LARGEST_JSON = 64_000
"""Java's SDK reads no more of what credential_process prints."""


def read_credentials(response: Response) -> SessionCredentials:
    """Return the credentials of an answer with a good status.

    Raises:
        AnswerError: There are none in it that could be used.
    """
    found = _first_credentials(_document(response))
    for field in FIELDS:
        value = found.get(field)
        if not isinstance(value, str) or not value:
            raise _unusable(f"it has no {field}")
        if len(value) > LONGEST_FIELD or not value.isascii() or not value.isprintable():
            raise _unusable(f"its {field} is not what it should be")
    expires_at = _expiry(found["expiration"])
    if expires_at <= time.time():
        raise AnswerError(
            f"the session ended at {format_time(expires_at)}, this host's clock says "
            f"{format_time(time.time())}",
            remedy="set the clock",
        )
    session = SessionCredentials(
        access_key_id=found["accessKeyId"],
        secret_access_key=Secret(found["secretAccessKey"]),
        session_token=Secret(found["sessionToken"]),
        expires_at=expires_at,
    )
    if len(session.to_json()) > LARGEST_JSON:
        raise _unusable(f"it is longer than the {LARGEST_JSON} bytes that SDKs read")
    return session


def _document(response: Response) -> Any:
    try:
        return read_json(response.body)
    except (ValueError, RecursionError):
        kind = response.headers.get("content-type", "").partition(";")[0] or "something"
        raise _unusable(f"it is {kind} and no JSON") from None


def _first_credentials(document: Any) -> dict[str, Any]:
    entries = document.get("credentialSet") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise _unusable("its credentialSet is empty")
    found = entries[0].get("credentials") if isinstance(entries[0], dict) else None
    if not isinstance(found, dict):
        raise _unusable("its credentialSet holds no credentials")
    return found


def _expiry(text: str) -> int:
    """Return seconds since the epoch; the service writes `2026-11-22T13:45:00Z`."""
    digits = text[:19].replace("-", "").replace(":", "").replace("T", "")
    if len(text) == 20 and text[19] == "Z" and len(digits) == 14:
        try:
            return timestamp(Element(GENERALIZED_TIME, f"{digits}Z".encode(), b""))
        except DerError:
            raise _unusable("its expiration is no time") from None
    from datetime import UTC, datetime  # 5 ms, for a form not seen so far

    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise _unusable("its expiration is no time") from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())


def _unusable(problem: str) -> AnswerError:
    return AnswerError(
        f"the service's answer cannot be used: {problem}",
        remedy="check --endpoint; if it is AWS's own, try again later",
    )
