"""Keeps inline secrets out of what Kombu and Celery tell others about a connection.

Kombu puts a connection's options into `Connection.info()`. From there `celery inspect stats` sends
them through the broker to whoever asks, and debug logs show them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mqauth.secret import REDACTED, Secret, as_bytes

_DIGEST_KEY = os.urandom(32)


class AuthOptions(Mapping[str, Any]):
    """A provider's options, whose secrets only a look-up by name gives away.

    Kombu tells pools apart by the `repr` of a connection's options. So a secret shows as a keyed
    digest there: worthless outside of this process, but different for different secrets.

    Args:
        options: What the user wrote.
        secret: Names of the options that hold secrets.
    """

    def __init__(self, options: Mapping[str, Any], secret: Iterable[str]) -> None:
        """Copy `options`."""
        self.secret = frozenset(secret)
        self._options = dict(options)

    def __getitem__(self, name: str) -> Any:
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __repr__(self) -> str:
        return f"AuthOptions({self.__json__()!r})"

    def __json__(self) -> dict[str, Any]:
        """Return what may be shown; Kombu's JSON encoder asks for it."""
        return {
            name: _digest(value) if name in self.secret else value
            for name, value in self._options.items()
        }

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (self.__json__(),)


def _digest(value: Any) -> str:
    text = value.reveal() if isinstance(value, Secret) else str(value)
    digest = hmac.new(_DIGEST_KEY, as_bytes(text), hashlib.sha256).hexdigest()
    return f"{REDACTED}-{digest[:8]}"
