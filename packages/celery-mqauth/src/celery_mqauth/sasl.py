"""SASL from one snapshot of a credential: PLAIN (RFC 4616) or EXTERNAL (RFC 4422, appendix A)."""

from __future__ import annotations

from typing import Any

from amqp.sasl import SASL

from mqauth.credentials import BrokerCredentials


def answer_with(credentials: BrokerCredentials) -> SASL:
    """Return what answers the handshake with `credentials`."""
    return SnapshotPlain(credentials) if credentials.certificate is None else CertificateExternal()


class CertificateExternal(SASL):
    """Leaves it to the client certificate of the TLS link to say who signs in."""

    mechanism = b"EXTERNAL"

    def start(self, connection: Any) -> bytes:
        """Return the initial response; the authorization identity stays empty."""
        del connection
        return b""

    def __repr__(self) -> str:
        return "<CertificateExternal>"


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
