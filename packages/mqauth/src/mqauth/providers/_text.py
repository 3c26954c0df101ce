"""Foreign text made fit for an error message: short, printable, and without secrets."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from mqauth.secret import REDACTED

MAX_LENGTH = 200

# Whatever looks like a token of somebody's is none of a log's business.
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*")
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_MIN_SECRET = 4


def clean(text: object, secrets: Iterable[str] = ()) -> str:
    """Return what another system said, in one short line of printable characters.

    Args:
        text: What it said.
        secrets: Values that must not show, in whatever encoding the other side may echo them.
    """
    line = str(text)
    for secret in secrets:
        for spelling in _spellings(secret):
            line = line.replace(spelling, REDACTED)
    line = _JWT.sub(REDACTED, line)
    line = " ".join("".join(char if char.isprintable() else " " for char in line).split())
    return line if len(line) <= MAX_LENGTH else line[: MAX_LENGTH - 1] + "…"


def _spellings(secret: str) -> list[str]:
    if len(secret) < _MIN_SECRET:
        return []
    # What came as JSON may hold halves of characters.
    content = secret.encode(errors="surrogatepass")
    encoded = base64.b64encode(content).decode()
    escaped = {quote(content, safe=""), quote_plus(content)}
    spellings = {
        secret,
        secret.strip(),
        content.decode("latin-1"),  # as a header's bytes are read
        *escaped,
        *(_ESCAPE.sub(lambda found: found[0].lower(), each) for each in escaped),
        encoded,
        encoded.rstrip("="),
    }
    # Longest first, so that no part of a longer spelling is left over.
    return sorted(spellings - {""}, key=len, reverse=True)
