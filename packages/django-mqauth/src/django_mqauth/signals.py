"""Django signals about credentials of this process.

Receivers run on the thread that renews: they must be quick, and what they raise is logged only.

- `credential_renewed`: a newer credential took the place of an older one
- `credential_failed`: an attempt to renew failed, or a credential is about to run out

Both send `alias` (the name in `MQAUTH`, None for identities that stand nowhere in it) and `event`
(a `mqauth.CredentialEvent`; it holds no secret). The sender is the event's class.
"""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import Signal

from django_mqauth.sources import aliases_of
from mqauth.durations import duration
from mqauth.events import (
    CredentialEvent,
    CredentialExpiring,
    CredentialRenewed,
    RenewalFailed,
)

logger = logging.getLogger("django_mqauth")

credential_renewed = Signal()
credential_failed = Signal()

_SIGNALS: dict[type[CredentialEvent], Signal] = {
    CredentialRenewed: credential_renewed,
    RenewalFailed: credential_failed,
    CredentialExpiring: credential_failed,
}


def forward(event: CredentialEvent) -> None:
    """Send the signals of an event, one for each alias it concerns, and log it."""
    signal = _SIGNALS.get(type(event))
    if signal is None:
        return
    concerned: list[str | None] = [*aliases_of(event)]
    for alias in concerned or [None]:
        _log(alias, event)
        for receiver, answer in signal.send_robust(type(event), alias=alias, event=event):
            if isinstance(answer, Exception):
                logger.error("the receiver %s failed: %s", _name(receiver), type(answer).__name__)


def _log(alias: str | None, event: CredentialEvent) -> None:
    who = f"{alias} ({event.identity})" if alias else event.identity
    if isinstance(event, CredentialRenewed):
        logger.info("%s: renewed", who)
    elif isinstance(event, RenewalFailed):
        logger.warning("%s: not renewed, %s left: %s", who, duration(event.remaining), event.error)
    elif isinstance(event, CredentialExpiring):
        logger.error("%s: %s left and renewal keeps failing", who, duration(event.remaining))


def _name(receiver: Any) -> str:
    return getattr(receiver, "__qualname__", type(receiver).__name__)
