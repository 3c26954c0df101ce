"""What a user wrote, kept out of sight until it is known what of it is secret.

Error pages and crash reporters print the variables of all frames. A configuration that cannot work
passes through several before it is known whose options those are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mqauth.secret import Secret


class HiddenText(Secret):
    """A text that counts as secret until an option or a setting says that it is none."""

    __slots__ = ()


class HiddenVariables(Mapping[str, str]):
    """Environment variables, which do not show themselves.

    Args:
        variables: The environment.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        """Keep `variables` themselves: what changes in them counts."""
        self._variables = variables

    def __getitem__(self, name: str) -> str:
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __repr__(self) -> str:
        return "<HiddenVariables>"


def hidden(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same options with every text hidden; doing so again changes nothing."""
    return {
        key: HiddenText(value) if isinstance(value, str) else value
        for key, value in options.items()
    }


def plain(value: Any) -> Any:
    """Return `value`, or the text where it is a hidden one."""
    return value.reveal() if isinstance(value, HiddenText) else value
