"""Checks tokens for Amazon MSK as its brokers do: a pre-signed `kafka-cluster:Connect` URL.

The signature is calculated anew from AWS's description of it, without the libraries that make such
tokens.

Source: AWS, "Signature Version 4 for API requests" (IAM User Guide, query parameters); the signer
libraries that AWS publishes for Amazon MSK agree on host, action, expiry and user agent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

from mqauth_sandbox.accesskeys import AccessKey
from mqauth_sandbox.awsquery import AwsError

ACTION = "kafka-cluster:Connect"
SERVICE = "kafka-cluster"
LONGEST = 900
"""Seconds that a token may be good for."""

_TOLERANCE = 300.0
_ALGORITHM = "AWS4-HMAC-SHA256"
_EMPTY_BODY = hashlib.sha256(b"").hexdigest()
_VERSION = r"/\d+(\.\d+)+"
_USER_AGENT = re.compile(
    rf"aws-msk-iam-sasl-signer-[a-z-]+{_VERSION}|aws-msk-iam-auth{_VERSION}/aws-sdk-java/[ -~]+"
)
"""Of AWS's signers for OAUTHBEARER, and of its `aws-msk-iam-auth` for Java."""
_NEEDED = {
    "Action",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "User-Agent",
}
_SESSION = "X-Amz-Security-Token"

FindKey = Callable[[str, str | None, float], AccessKey]
"""Returns the key for an access key id, a session token and a time, or raises `AwsError`."""


class MskTokenError(Exception):
    """A token that a broker refuses; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MskLogin:
    """What a token stands for.

    Args:
        arn: Whose it is.
        ends_at: When it ends, in POSIX seconds; no later than the key behind it.
    """

    arn: str
    ends_at: float


def check_msk_token(token: str, *, region: str, now: float, find_key: FindKey) -> MskLogin:
    """Return what a token stands for.

    Args:
        token: What the client sent.
        region: The cluster's region.
        now: Time on the broker's clock, in POSIX seconds.
        find_key: Looks keys up.

    Raises:
        MskTokenError: It is no token, not for this region and time, or by no key that is known.
    """
    given = _parameters(_url(token), region)
    signed_at = _check_time(given, now)
    key_id, _, rest = given["X-Amz-Credential"].partition("/")
    scope = f"{given['X-Amz-Date'][:8]}/{region}/{SERVICE}/aws4_request"
    _require(rest == scope, f"the scope is {rest!r}, not {scope!r}")
    try:
        key = find_key(key_id, given.get(_SESSION), now)
    except AwsError as error:
        raise MskTokenError(f"{error.code}: {error}") from None
    expected = _signature(given, scope, region, key)
    matches = hmac.compare_digest(expected.encode(), given["X-Amz-Signature"].encode())
    _require(matches, "the signature does not match")
    ends_at = signed_at + int(given["X-Amz-Expires"])
    return MskLogin(arn=key.caller.arn, ends_at=min(ends_at, key.expires_at or ends_at))


def _require(condition: bool, otherwise: str) -> None:  # noqa: FBT001 - an assertion
    if not condition:
        raise MskTokenError(otherwise)


def _url(token: str) -> str:
    _require(re.fullmatch(r"[A-Za-z0-9_-]+", token) is not None, "no base64url without padding")
    try:
        return base64.b64decode(
            token + "=" * (-len(token) % 4), altchars=b"-_", validate=True
        ).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        raise MskTokenError("no base64url of a URL") from None


def _parameters(url: str, region: str) -> dict[str, str]:
    parts = urlsplit(url)
    host = f"kafka.{region}.amazonaws.com"
    _require(parts.scheme == "https", f"the scheme is {parts.scheme!r}")
    _require(parts.netloc == host, f"the host is {parts.netloc!r}, not {host!r}")
    # AWS's Java library leaves the slash out; it is signed in any case.
    _require(parts.path in ("", "/") and not parts.fragment, "there is a path or a fragment")
    pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
    given = dict(pairs)
    _require(len(pairs) == len(given), "a parameter is given twice")
    missing, unknown = _NEEDED - given.keys(), given.keys() - _NEEDED - {_SESSION}
    _require(not missing, f"without {', '.join(sorted(missing))}")
    _require(not unknown, f"with {', '.join(sorted(unknown))}")
    _require(given["Action"] == ACTION, f"the action is {given['Action']!r}")
    _require(given["X-Amz-Algorithm"] == _ALGORITHM, "another algorithm")
    _require(given["X-Amz-SignedHeaders"] == "host", "other headers are signed")
    agent = _USER_AGENT.fullmatch(given["User-Agent"])
    _require(agent is not None, f"the user agent is {given['User-Agent']!r}")
    return given


def _check_time(given: dict[str, str], now: float) -> float:
    try:
        signed = datetime.strptime(given["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise MskTokenError("the date is none") from None
    expires = given["X-Amz-Expires"]
    good = re.fullmatch(r"[1-9]\d{0,3}", expires) is not None and int(expires) <= LONGEST
    _require(good, f"it wants to be good for {expires} s")
    signed_at = signed.timestamp()
    _require(signed_at <= now + _TOLERANCE, "it is signed in the future")
    _require(now < signed_at + int(expires), "it has expired")
    return signed_at


def _signature(given: dict[str, str], scope: str, region: str, key: AccessKey) -> str:
    # The user agent is added to the URL after that has been signed.
    signed = {k: v for k, v in given.items() if k not in ("X-Amz-Signature", "User-Agent")}
    query = "&".join(f"{_encoded(k)}={_encoded(v)}" for k, v in sorted(signed.items()))
    host = f"host:kafka.{region}.amazonaws.com\n"
    canonical = f"GET\n/\n{query}\n{host}\nhost\n{_EMPTY_BODY}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join((_ALGORITHM, given["X-Amz-Date"], scope, digest))
    secret = f"AWS4{key.secret_access_key}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    return hmac.digest(secret, to_sign.encode(), "sha256").hex()


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")
