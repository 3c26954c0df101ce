"""Small words: numbers with their nouns, kinds with their articles."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, as in "1 rotation" and "2 rotations"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def kind_of(value: object) -> str:
    """Return the kind of a value, as in "an int" and "a str"."""
    if value is None:
        return "nothing"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"
