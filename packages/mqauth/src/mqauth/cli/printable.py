"""What others wrote, such as an issuer, made safe to print on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return `text` with whatever a terminal might act on written as an escape.

    A claim or a scope could otherwise move the cursor, forge a line, or not be encodable at all.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
