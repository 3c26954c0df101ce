"""Kinds of values as whoever wrote the settings knows them."""

from __future__ import annotations

from mqauth import wording
from mqauth.secret import Secret


def kind_of(value: object) -> str:
    """Return the kind of a value: text that was wrapped to be hidden still is text."""
    if isinstance(value, str | Secret):
        return wording.kind_of("")
    return wording.kind_of(b"" if isinstance(value, bytes) else value)
