"""SASL PLAIN from one snapshot of a credential (RFC 4616)."""

from __future__ import annotations

from typing import Any

from amqp.sasl import SASL

from mqauth.credentials import BrokerCredentials


class SnapshotPlain(SASL):
    """Answers the handshake with a user name and password that were fetched together."""

    mechanism = b"PLAIN"

    def __init__(self, credentials: BrokerCredentials) -> None:
        """Keep the snapshot."""
        self.credentials = credentials

    def start(self, connection: Any) -> bytes:
        """Return the initial response; the authorization identity stays empty."""
        del connection
        username, password = self.credentials.username, self.credentials.password.reveal()
        return b"\0".join((b"", username.encode(), password.encode()))

    def __repr__(self) -> str:
        return f"<SnapshotPlain {self.credentials.provider}>"
