"""Says what happens to a source's credentials, in the log and as events."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TypedDict

from mqauth import events
from mqauth.credentials import BrokerCredentials
from mqauth.durations import duration
from mqauth.errors import MQAuthError
from mqauth.provider import Provider

logger = logging.getLogger(__name__)

EXPIRING_BELOW = (0.25, 0.1, 0.0)
"""Parts of the life left at which a failing renewal is announced loudly, each once."""


class _Common(TypedDict):
    provider: str
    identity: str
    expires_at: datetime | None


class Announcer:
    """Speaks for one source."""

    def __init__(self, provider: Provider) -> None:
        """Speak for whoever `provider` signs in."""
        self._provider = provider
        self._thresholds_left = len(EXPIRING_BELOW)

    def fetched(self, new: BrokerCredentials, seconds: float) -> None:
        """The provider answered within `seconds`."""
        events.emit(events.CredentialFetched(**self._common(new), seconds=seconds))

    def renewed(self, new: BrokerCredentials, *, shared: bool) -> None:
        """`new` took an older credential's place; `shared` if another process had fetched it."""
        logger.info(
            "%s: renewed, valid for %s%s",
            self._provider.identity,
            duration(new.remaining()),
            " (from this host's cache)" if shared else "",
        )
        events.emit(events.CredentialRenewed(**self._common(new), shared=shared))

    def failed(
        self,
        error: MQAuthError,
        *,
        current: BrokerCredentials | None,
        failures: int,
        remaining: float,
        retry_in: float,
    ) -> None:
        """An attempt failed; `remaining` seconds are left of `current`, 0 without any."""
        logger.warning(
            "%s: renewal failed (%d in a row, %s left, next attempt in %.1f s): %s",
            self._provider.identity,
            failures,
            duration(remaining),
            retry_in,
            error,
        )
        events.emit(
            events.RenewalFailed(
                **self._common(current),
                error=str(error),
                retryable=error.retryable,
                failures=failures,
                remaining=remaining,
                retry_in=retry_in,
            )
        )
        self._warn_of_expiry(current, remaining, error)

    def calm_down(self) -> None:
        """All is well again: the next trouble is announced from its beginning."""
        self._thresholds_left = len(EXPIRING_BELOW)

    def _warn_of_expiry(
        self, current: BrokerCredentials | None, remaining: float, error: MQAuthError
    ) -> None:
        part = remaining / current.lifetime if current else 0.0
        passed = sum(part > threshold for threshold in EXPIRING_BELOW)
        if passed >= self._thresholds_left:
            return
        self._thresholds_left = passed
        if remaining:
            trouble = f"the credential expires in {duration(remaining)} and connections drop then"
        else:
            trouble = "no valid credential"
        prospect = "connections come back by themselves once the issuer answers"
        if not error.retryable:
            prospect = f"asking again changes nothing: {error.remedy or 'see the error above'}"
        logger.error("%s: %s; %s", self._provider.identity, trouble, prospect)
        events.emit(events.CredentialExpiring(**self._common(current), remaining=remaining))

    def _common(self, credentials: BrokerCredentials | None) -> _Common:
        return {
            "provider": self._provider.name,
            "identity": self._provider.identity,
            "expires_at": credentials.expires_at if credentials else None,
        }
