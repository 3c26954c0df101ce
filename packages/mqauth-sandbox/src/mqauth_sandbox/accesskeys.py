"""Who may sign requests to the STS endpoint: one user, and the sessions it has opened."""

from __future__ import annotations

import hmac
import secrets
import string
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from mqauth_sandbox.awsquery import AwsError

_ID_ALPHABET = string.ascii_uppercase + "234567"


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """An identity that calls AWS.

    Args:
        account: Account number.
        arn: ARN as `GetCallerIdentity` shows it.
        user_id: Unique identifier as `GetCallerIdentity` shows it.
        principal_arn: ARN of the user or role itself: the `sub` of web identity tokens.
        tags: Session tags.
        source_identity: What the session was opened with, if anything.
    """

    account: str
    arn: str
    user_id: str
    principal_arn: str
    tags: Mapping[str, str] = field(default_factory=dict)
    source_identity: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessKey:
    """A key that signs requests, long-term or of a session.

    Args:
        access_key_id: Its public half.
        secret_access_key: Its secret half.
        session_token: What has to come with a session's key; None for a long-term key.
        expires_at: End of the session in POSIX seconds; None for a long-term key.
        caller: Whose key it is.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None
    caller: Caller


class KeyRing:
    """All keys that the endpoint knows."""

    def __init__(self) -> None:
        """Know no key yet."""
        self._lock = threading.Lock()
        self._keys: dict[str, AccessKey] = {}

    def add(self, key: AccessKey) -> None:
        """Accept requests signed with `key`."""
        with self._lock:
            self._keys[key.access_key_id] = key

    def find(self, access_key_id: str, session_token: str | None, now: float) -> AccessKey:
        """Return the key of that name, if the session token belongs to it and it still lives.

        Raises:
            AwsError: `InvalidClientTokenId` or `ExpiredToken`, as AWS answers.
        """
        with self._lock:
            key = self._keys.get(access_key_id)
        given, wanted = (session_token or "").encode(), b""
        if key is not None:
            wanted = (key.session_token or "").encode()
        if key is None or not hmac.compare_digest(given, wanted):
            message = "The security token included in the request is invalid."
            raise AwsError("InvalidClientTokenId", message, 403)
        if key.expires_at is not None and key.expires_at <= now:
            message = "The security token included in the request is expired"
            raise AwsError("ExpiredToken", message, 403)
        return key


def unique_id(prefix: str) -> str:
    """Return an identifier as IAM makes them: `AKIA` and `ASIA` for keys, `AROA` for roles."""
    return prefix + "".join(secrets.choice(_ID_ALPHABET) for _ in range(20 - len(prefix)))
