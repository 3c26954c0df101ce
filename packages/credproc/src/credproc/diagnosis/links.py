"""What links learn from each other on the way."""

from __future__ import annotations

from credproc.arns import Target
from credproc.credentials import SessionCredentials
from credproc.endpoint import Endpoint
from credproc.helper.selection import reason_for_helper
from credproc.identity.certificate import Certificate
from credproc.identity.load import CertificateFiles
from credproc.identity.signer import Identity
from credproc.options import SessionOptions


class Warn(Exception):  # noqa: N818 - it is no error
    """A link holds, but somebody should look at it.

    Args:
        detail: What is not as it should be.
        remedy: What to do about it.
    """

    def __init__(self, detail: str, remedy: str) -> None:
        """Keep both."""
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy


class Facts:
    """What is known so far.

    Args:
        options: What decides the session.

    Attributes:
        options: The same.
        helper: Why the official helper signs, None if we do.
        files: The certificates in files, once they have been read.
        certificate: The end-entity certificate, if we can see it.
        identity: Certificate, chain and key, if we sign.
        target: Where the ARNs lead.
        endpoint: Where the request goes.
        addresses: What the host's name resolved to.
        session: The session, once there is one.
    """

    def __init__(self, options: SessionOptions) -> None:
        """Know nothing but the options."""
        self.options = options
        self.helper = reason_for_helper(options)
        self.files: CertificateFiles | None = None
        self.certificate: Certificate | None = None
        self.identity: Identity | None = None
        self.target: Target | None = None
        self.endpoint: Endpoint | None = None
        self.proxy: Endpoint | None = None
        self.addresses: list[str] = []
        self.session: SessionCredentials | None = None
