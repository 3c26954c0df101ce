"""Wildcard patterns of OAuth 2 scopes, matched as the broker matches them.

`*` is the only wildcard. A pattern is cut at each `*` first and URL-decoded after that, so `%2A` is
an asterisk and `+` a space. The parts are then looked for from left to right, each at the first
place where it occurs and never tried again further on: `*oo` does not match `fooboo`.

Source: RabbitMQ, "OAuth 2 guide", "Scope-to-permission translation"; `wildcard.erl`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

_UNRESERVED = "-._~:!$'(),;=@"
_UNDECODABLE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CACHED = 65_536


def match(subject: str, pattern: str) -> bool:
    """Tell whether a name matches a pattern, as the broker would."""
    if pattern == "*":
        return True
    # Three looks are faster than a regular expression.
    if "*" not in pattern and "%" not in pattern and "+" not in pattern:
        return subject == pattern
    return matches(subject.encode(errors="surrogatepass"), pattern_parts(pattern))


def decodable(pattern: str) -> bool:
    """Tell whether each `%` of a pattern has two hexadecimal digits after it."""
    return "%" not in pattern or pattern_parts(pattern) is not None


@lru_cache(maxsize=_CACHED)
def pattern_parts(pattern: str) -> tuple[bytes, ...] | None:
    """Return what stands between a pattern's asterisks, decoded; None where a `%` cannot be."""
    parts = pattern.encode(errors="surrogatepass").replace(b"+", b" ").split(b"*")
    if "%" in pattern:
        if any(_UNDECODABLE.search(part) for part in parts):
            return None
        parts = [unquote_to_bytes(part) for part in parts]
    return tuple(parts)


def matches(subject: bytes, parts: tuple[bytes, ...] | None) -> bool:
    """Tell whether a name matches a pattern that `pattern_parts` has read."""
    if parts is None or not subject.startswith(parts[0]):
        return False
    position, length, last = len(parts[0]), len(subject), len(parts) - 1
    for index in range(1, len(parts)):
        part = parts[index]
        if not part and index == last:
            return True
        if position == length:
            return False
        if part:
            found = subject.find(part, position)
            if found < 0:
                return False
            position = found + len(part)
    return position == length


def literal(name: str) -> str:
    """Return the pattern that matches this name and nothing else.

    Braces are written in their encoded form too: a bare one would begin a variable.
    """
    return quote(name, safe=_UNRESERVED, errors="surrogatepass")
