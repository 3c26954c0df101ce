"""Turns the service's refusals into causes and remedies.

Source: the errors of the CreateSession operation in the IAM Roles Anywhere API Reference, and what
its messages say.
"""

from __future__ import annotations

import json
import time

from credproc.errors import (
    AnswerError,
    CredprocError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from credproc.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from credproc.http1 import Response

LARGEST_SKEW = 300
"""Seconds that the clocks may differ before a signature is refused."""
THROTTLING = ("Throttling", "TooManyRequests", "RequestLimitExceeded", "SlowDown")
MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"


class Cause(NamedTuple):
    """What words in the service's message mean."""

    words: tuple[str, ...]
    remedy: str


CAUSES = (
    Cause(
        ("untrusted certificate", "insufficient certificate", "untrusted signing"),
        "let the trust anchor hold the authority that issued the certificate, and give "
        "--intermediates what lies between",
    ),
    Cause(("revoked",), "the trust anchor's revocation list names it: have another issued"),
    Cause(("expired", "not yet valid"), "renew the certificate, and check the clock"),
    Cause(
        ("role session name", "rolesessionname", "acceptrolesessionname"),
        "let the profile accept role session names, or leave --role-session-name out",
    ),
    Cause(
        ("unable to assume role", "assume role", "sts:assumerole", "not authorized to perform"),
        "let the role's trust policy allow rolesanywhere.amazonaws.com sts:AssumeRole, "
        "sts:TagSession and sts:SetSourceIdentity for this trust anchor and certificate, and list "
        "the role in the profile",
    ),
    Cause(("duration",), "shorten --session-duration to what role and profile allow"),
    Cause(("signature",), "check the clock, the region and that nothing rewrites the request"),
    Cause(("disabled", "not enabled"), "enable trust anchor and profile"),
    Cause(("trust anchor", "trustanchor"), "check --trust-anchor-arn and that it is enabled"),
    Cause(("profile",), "check --profile-arn, that it is enabled and lists the role"),
    Cause(("role",), "check --role-arn and that the profile lists it"),
    Cause(("certificate", "x509"), "see `openssl x509 -in FILE -noout -text`"),
)
BY_CODE = {
    "AccessDeniedException": "check trust anchor, profile and the role's trust policy",
    "ResourceNotFoundException": "check the ARNs of trust anchor and profile, and the region",
    "ValidationException": "check ARNs, duration and session name",
    "InvalidSignatureException": "check the clock and the region",
    "SignatureDoesNotMatch": "check the clock and the region",
    "RequestExpired": "set the clock",
    "RequestTimeTooSkewed": "set the clock",
    "UnrecognizedClientException": "check the region",
    "ExpiredTokenException": "set the clock",
}


def refusal(response: Response, place: str, now: float | None = None) -> CredprocError:
    """Return the error that an answer with a bad status stands for.

    Args:
        response: The answer.
        place: Who answered, for the message.
        now: Seconds since the epoch; the present time if None.
    """
    code, text = _read(response)
    status = response.status
    moment = time.time() if now is None else now
    said = f"{status} {code}".strip() + (f": {text}" if text else "")
    if status == 429 or code.startswith(THROTTLING):
        return ThrottledError(
            f"{place} asks for fewer requests ({said})",
            remedy="10 sessions a second and region are allowed: leave the cache on",
            retry_after=_retry_after(response, moment),
        )
    if status >= 500:
        return UnavailableError(
            f"{place} cannot serve now ({said})",
            remedy="try again later",
            retry_after=_retry_after(response, moment),
        )
    if status < 400:
        return AnswerError(
            f"{place} answered {said}, which is no session",
            remedy="check --endpoint and whatever stands between here and there",
        )
    skew = clock_skew(response, moment)
    return RefusedError(
        f"{place} refuses ({said}){_skew_text(skew)}",
        remedy=_remedy(code, text, skew, status),
        code=code,
        status=status,
    )


def clock_skew(response: Response, now: float) -> float | None:
    """Return how many seconds this host's clock is ahead of the service's, if it says its time."""
    theirs = _http_date(response.headers.get("date", ""))
    return None if theirs is None else now - theirs


def _http_date(text: str) -> int | None:
    """Return a time such as `Sun, 06 Nov 1994 08:49:37 GMT` in seconds since the epoch."""
    words = text.split()
    if len(words) != 6 or words[2] not in MONTHS:
        return None
    from credproc.identity.der import seconds_since_epoch

    try:
        hour, minute, second = map(int, words[4].split(":"))
        month = MONTHS.index(words[2]) // 3 + 1
        return seconds_since_epoch((int(words[3]), month, int(words[1])), (hour, minute, second))
    except ValueError:
        return None


def _skew_text(skew: float | None) -> str:
    if skew is None or abs(skew) < LARGEST_SKEW:
        return ""
    return f"; this host's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} its"


def _remedy(code: str, text: str, skew: float | None, status: int) -> str:
    if skew is not None and abs(skew) >= LARGEST_SKEW:
        return "set the clock"
    lower = text.lower()
    for cause in CAUSES:
        if any(word in lower for word in cause.words):
            return cause.remedy
    if code in BY_CODE:
        return BY_CODE[code]
    return "check --endpoint and the region" if status == 404 else BY_CODE["AccessDeniedException"]


def _read(response: Response) -> tuple[str, str]:
    """Return the error's code and message, as far as they can be read."""
    code = response.headers.get("x-amzn-errortype", "")
    text = ""
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        document = None
        kind = response.headers.get("content-type", "").partition(";")[0]
        text = f"the answer is {kind}" if response.body and kind else ""
    if isinstance(document, dict):
        code = code or str(document.get("__type") or document.get("code") or "")
        text = str(document.get("message") or document.get("Message") or "")
    code = code.partition(":")[0].rpartition("#")[2]
    return _printable(code, 80), _printable(text, 300)


def _printable(text: str, limit: int) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:limit])


def _retry_after(response: Response, now: float) -> float | None:
    """Return the seconds that the service asks to wait: a number, or a time by its own clock."""
    text = response.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text)
    moment = _http_date(text)
    if moment is None:
        return None
    return max(0.0, moment - now + (clock_skew(response, now) or 0.0))
