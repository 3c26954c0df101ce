"""The session tokens of IMDSv2: random, bounded in number, good for their time to live."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable

LONGEST = 21600
"""Seconds that a token may live, and lives if the client does not say."""

MOST_TOKENS = 256
_BYTES = 42


class TokenStore:
    """Issues and recognises tokens.

    A token is looked up by its digest, so how long that takes says nothing about the tokens that
    are good. When there are too many, the one that would expire first makes room.

    Args:
        clock: The time in seconds; it never goes backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without any."""
        self._clock = clock
        self._lock = threading.Lock()
        self._deadlines: dict[bytes, float] = {}

    def issue(self, ttl: int) -> str:
        """Return a new token that is good for `ttl` seconds."""
        token = secrets.token_urlsafe(_BYTES)
        now = self._clock()
        with self._lock:
            self._deadlines = {key: end for key, end in self._deadlines.items() if end > now}
            if len(self._deadlines) >= MOST_TOKENS:
                del self._deadlines[min(self._deadlines, key=self._deadlines.__getitem__)]
            self._deadlines[_digest(token)] = now + ttl
        return token

    def seconds_left(self, token: str) -> int | None:
        """Return how long a token is still good, None if it is not."""
        with self._lock:
            deadline = self._deadlines.get(_digest(token))
        left = 0.0 if deadline is None else deadline - self._clock()
        return int(left) if left > 0 else None


def parse_ttl(text: str | None) -> int | None:
    """Return a time to live in seconds, the longest if none is given, None if it is no good."""
    if not text:
        return LONGEST
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LONGEST))):
        return None
    ttl = int(text)
    return ttl if 1 <= ttl <= LONGEST else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
