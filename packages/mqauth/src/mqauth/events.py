"""What happens to credentials, as immutable objects handed to hooks.

Events carry facts for logs, metrics and pages; none carries a secret.

    from mqauth import events

    events.subscribe(lambda event: print(event))
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class CredentialEvent:
    """What all events have in common.

    Args:
        provider: Name of the provider.
        identity: Who signs in where, as the provider words it.
        expires_at: When the credential at hand runs out (UTC); None if it never does or if there
            is none.
    """

    provider: str
    identity: str
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CredentialFetched(CredentialEvent):
    """A provider answered with a new credential; `seconds` is how long that took."""

    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CredentialRenewed(CredentialEvent):
    """A newer credential took the place of an older one, fetched here or by another process."""

    shared: bool
    """Whether it came from the host's cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RenewalFailed(CredentialEvent):
    """An attempt failed; the older credential stays in use while it lasts."""

    error: str
    retryable: bool
    failures: int
    remaining: float
    """Seconds left of the credential at hand; 0 if there is none."""
    retry_in: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CredentialExpiring(CredentialEvent):
    """Renewal keeps failing and little is left (`remaining` seconds, 0 once it has run out)."""

    remaining: float


Hook = Callable[[CredentialEvent], object]

_hooks: list[Hook] = []


def subscribe(hook: Hook) -> Callable[[], None]:
    """Call `hook` with every event of this process, on the thread where it happens.

    A hook must be quick and must not block; what it raises is logged and goes no further.

    Returns:
        A function that ends the subscription.
    """
    # Each subscription is an object of its own, so that ending it twice ends no other one.
    subscription = functools.partial(hook)
    _hooks.append(subscription)

    def unsubscribe() -> None:
        if subscription in _hooks:
            _hooks.remove(subscription)

    return unsubscribe


def emit(event: CredentialEvent) -> None:
    """Hand `event` to all hooks."""
    for hook in tuple(_hooks):
        try:
            hook(event)
        except Exception:
            logger.exception("a hook failed on %s", type(event).__name__)
