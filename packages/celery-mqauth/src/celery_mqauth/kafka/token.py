"""What librdkafka calls, in a thread of its own, when a client needs a token."""

from __future__ import annotations

import logging
import time

from celery_mqauth.kafka.endpoints import Tokens
from mqauth.credentials import BrokerCredentials
from mqauth.errors import ConfigurationError, MQAuthError

logger = logging.getLogger(__name__)

LONGEST = 86400.0
"""Seconds for which a token is said to last that has no end: then it is asked for again."""


class TokenCallback:
    """Hands the present token of a source to librdkafka.

    librdkafka calls it before it first connects, and again after four fifths of what the token had
    left; by then the source has had a newer one for long.

    Args:
        source: Whose token.

    Attributes:
        failure: Why there was no token, if the last call found none.
        given: The credential that librdkafka has.
    """

    def __init__(self, source: Tokens) -> None:
        """Be counted among those who use the source."""
        self.source = source
        self.failure: MQAuthError | None = None
        self.given: BrokerCredentials | None = None
        # No lock, which a fork might inherit held: putting in and taking out are one step each.
        self._lent: dict[object, None] = {}
        self._closed = False
        self._ended = False
        source.attach(self)

    def __call__(self, config: str) -> tuple[str, float]:
        """Return a token and its end in seconds of this host's clock.

        Raises:
            MQAuthError: There is none; librdkafka asks again in ten seconds.
        """
        if self._ended:
            # A client outlives its connection where its broker is gone, or somebody keeps it.
            raise MQAuthError("the connection to Kafka has been closed")
        try:
            credentials = self.source.get()
            check_bearer(credentials)
        except MQAuthError as error:
            self.failure = error
            logger.warning("no token for Kafka: %s", error)
            raise
        self.failure, self.given = None, credentials
        return credentials.password.reveal(), min(credentials.local_expiry, time.time() + LONGEST)

    def lend(self, client: object) -> None:
        """Be kept, past `end`, for a client that is ending and may have to sign in for that."""
        self._lent[client] = None

    def give_back(self, client: object) -> None:
        """Take what was lent: that client has ended."""
        self._lent.pop(client, None)
        self._end_if_unused()

    def end(self) -> None:
        """Ask the source for nothing any more, whatever clients are left that nobody is ending."""
        self._closed = True
        self._end_if_unused()

    def _end_if_unused(self) -> None:
        if self._closed and not self._lent:
            self._ended = True
            self.source.detach(self)

    def credentials_renewed(self, credentials: BrokerCredentials) -> bool:
        """Do nothing: librdkafka asks when it is time."""
        return True


def check_bearer(credentials: BrokerCredentials) -> None:
    """Check that a credential is a token.

    Raises:
        ConfigurationError: It is a user's password or a certificate.
    """
    if credentials.certificate is None and not credentials.username:
        return
    kind = "a user name and a password" if credentials.username else "a certificate"
    raise ConfigurationError(
        f"the provider {credentials.provider} signs in by {kind}, and OAUTHBEARER wants a token",
        remedy="use aws-msk-iam, oauth2, token-file or command, without a user name",
    )
