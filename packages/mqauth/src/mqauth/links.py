"""What leads to a credential, link by link, for those who look for the broken one.

A provider whose credential stands on others, as a token does on AWS credentials and these on a
certificate, tells what it goes through by having `links`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """One thing that a credential stands on.

    Args:
        name: What it is, in a word or two.
        look: Given the seconds it may take, looks at it and says what it found, without a secret;
            raises an `MQAuthError` if it is broken.
    """

    name: str
    look: Callable[[float], str]


@runtime_checkable
class Linked(Protocol):
    """A provider that can be looked at link by link."""

    def links(self) -> Sequence[Link]:
        """Return the links, each of which stands on those before it."""
        ...
