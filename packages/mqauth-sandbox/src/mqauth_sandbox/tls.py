"""A throwaway certificate authority and the certificates that it signs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from mqauth_sandbox.workdir import write_private

_ORGANIZATION = "mqauth sandbox"
_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class CertificateFiles:
    """PEM files of one throwaway authority, readable by their owner only.

    Attributes:
        ca_file: The authority's certificate: what clients verify servers against.
        certificate_file: The server's certificate chain for localhost, 127.0.0.1 and ::1.
        key_file: The server's private key.
    """

    ca_file: Path
    certificate_file: Path
    key_file: Path


@dataclass(frozen=True, kw_only=True)
class ClientCertificateFiles:
    """PEM files of one client certificate, readable by their owner only.

    Attributes:
        certificate_file: The certificate.
        key_file: Its private key.
    """

    certificate_file: Path
    key_file: Path


class CertificateAuthority:
    """A throwaway authority for one broker and its clients; its own key is never written down."""

    def __init__(self) -> None:
        """Make the authority's key and certificate."""
        self._authority = trustme.CA(organization_name=_ORGANIZATION)

    def server_files(self, directory: Path) -> CertificateFiles:
        """Issue a server certificate for this host and write it to `directory`."""
        server = self._authority.issue_cert(*_NAMES, organization_name=_ORGANIZATION)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return CertificateFiles(
            ca_file=write_private(directory / "ca.pem", self._authority.cert_pem.bytes()),
            certificate_file=write_private(directory / "server.pem", _chain(server)),
            key_file=write_private(directory / "server.key", server.private_key_pem.bytes()),
        )

    def issue_client(
        self,
        directory: Path,
        name: str,
        lifetime: float = 3600.0,
        *,
        valid_for: float = 0.0,
    ) -> ClientCertificateFiles:
        """Issue a client certificate and write it to `directory`, over an older one of that name.

        Each file is replaced as a whole, the key first, as programs that renew certificates do.

        Args:
            directory: Where to write `<name>.pem` and `<name>.key`.
            name: Its common name, and its name as a host.
            lifetime: Seconds until it expires; negative for one that has expired.
            valid_for: Seconds since it became valid.
        """
        now = datetime.now(UTC)
        client = self._authority.issue_cert(
            name,
            common_name=name,
            organization_name=_ORGANIZATION,
            not_before=now - timedelta(seconds=valid_for + max(0.0, -lifetime)),
            not_after=now + timedelta(seconds=lifetime),
        )
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return ClientCertificateFiles(
            key_file=write_private(directory / f"{name}.key", client.private_key_pem.bytes()),
            certificate_file=write_private(directory / f"{name}.pem", _chain(client)),
        )


def create_certificates(directory: Path) -> CertificateFiles:
    """Create a new authority and a server certificate in `directory`.

    The authority's own key is never written down, so nothing else can be signed with it later.
    """
    return CertificateAuthority().server_files(directory)


def _chain(certificate: trustme.LeafCert) -> bytes:
    return b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
