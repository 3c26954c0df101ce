"""The `external` provider: an X.509 client certificate (SASL EXTERNAL, RFC 4422, appendix A).

The broker reads the user name from the certificate that TLS has verified; no password is sent.

Options:

- `certificate_file`: PEM file of the certificate, followed by those between it and its authority
- `private_key_file`: PEM file of its private key, not encrypted; without it the first holds both

Both are read anew at every fetch, and by every new connection.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from mqauth.config.extras import require
from mqauth.credentials import BrokerCredentials, ClientCertificate
from mqauth.provider import Option
from mqauth.providers._deadline import Deadline
from mqauth.secret import Secret

if TYPE_CHECKING:
    from mqauth.providers._x509 import CertificateFacts

HALF_WRITTEN_LIMIT = 1.0
"""Seconds that whoever renews may need between writing one file and the other."""
_PAUSE = 0.05


class ExternalProvider:
    """Watches a client certificate that something else renews on disk.

    Args:
        certificate: The files.
    """

    name: ClassVar[str] = "external"
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            name="certificate_file",
            required=True,
            help="the PEM file of the client certificate and its chain",
        ),
        Option(
            name="private_key_file",
            help="the PEM file of its private key; not given, the certificate's file holds it",
        ),
    )
    shareable: ClassVar[bool] = False

    def __init__(self, certificate: ClientCertificate) -> None:
        """Keep the paths; the files may appear later."""
        self._certificate = certificate

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build the provider from validated options.

        Raises:
            ConfigurationError: cryptography is not installed.
        """
        require("cryptography")
        key = options["private_key_file"]
        return cls(
            ClientCertificate(
                certificate_file=Path(options["certificate_file"]).expanduser(),
                private_key_file=Path(key).expanduser() if key else None,
            )
        )

    @property
    def identity(self) -> str:
        """The certificate's file."""
        return f"client certificate {self._certificate.certificate_file}"

    def fetch(self, *, timeout: float) -> BrokerCredentials:
        """Read and check the files.

        Returns:
            The certificate, with its life. The password is its fingerprint, which is sent nowhere.

        Raises:
            IssuerUnavailableError: A file is not there.
            InvalidCredentialError: The certificate cannot be used now, or its key does not fit.
            ConfigurationError: A file cannot be read, or the key is encrypted.
        """
        facts = self._read(Deadline(min(timeout / 2, HALF_WRITTEN_LIMIT)))
        return BrokerCredentials(
            username="",
            password=Secret(facts.fingerprint),
            issued_at=facts.valid_from,
            expires_at=facts.valid_until,
            principal=facts.subject,
            provider=self.name,
            certificate=self._certificate,
        )

    def _read(self, deadline: Deadline) -> CertificateFacts:
        # cryptography takes longer to load than everything else.
        from mqauth.providers import _x509  # noqa: PLC0415

        certificate = self._certificate.certificate_file
        while True:
            try:
                return _x509.read_client_certificate(
                    certificate, self._certificate.private_key_file or certificate
                )
            except _x509.KeyMismatchError:
                if deadline.passed:
                    raise
            time.sleep(min(_PAUSE, deadline.remaining()))
