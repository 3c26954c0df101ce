"""A throwaway certificate authority and the server certificate that it signs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme

from mqauth_sandbox.workdir import write_private

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


def create_certificates(directory: Path) -> CertificateFiles:
    """Create a new authority and a server certificate in `directory`.

    The authority's own key is never written down, so nothing else can be signed with it later.
    """
    authority = trustme.CA(organization_name="mqauth sandbox")
    server = authority.issue_cert(*_NAMES, organization_name="mqauth sandbox")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return CertificateFiles(
        ca_file=write_private(directory / "ca.pem", authority.cert_pem.bytes()),
        certificate_file=write_private(
            directory / "server.pem", b"".join(pem.bytes() for pem in server.cert_chain_pems)
        ),
        key_file=write_private(directory / "server.key", server.private_key_pem.bytes()),
    )
