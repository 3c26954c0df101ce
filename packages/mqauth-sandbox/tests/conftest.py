"""What the sandbox's own tests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import botocore.session
import pytest
import trustme

from mqauth_sandbox.pki import Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from mqauth_sandbox.sts import StsEndpoint
from sts_sdk import Sdk

pytest.register_assert_rewrite("rolesanywhere_calls")  # says what differs, as tests do
from rolesanywhere_calls import Call  # noqa: E402 - the line above comes first


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """PEM files of a throwaway authority and of a certificate for this host.

    Args:
        ca: The authority's certificate.
        certificate: The host's certificate chain.
        private_key: The host's key.
    """

    ca: Path
    certificate: Path
    private_key: Path


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """Make a certificate for localhost once per run."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1", "::1")
    files = TlsFiles(
        ca=folder / "ca.pem", certificate=folder / "cert.pem", private_key=folder / "key.pem"
    )
    authority.cert_pem.write_to_path(files.ca)
    certificate.private_key_pem.write_to_path(files.private_key)
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(files.certificate, append=True)
    return files


@pytest.fixture
def sts(tls_files: TlsFiles) -> Iterator[StsEndpoint]:
    """Run an STS endpoint."""
    with StsEndpoint(
        certificate=tls_files.certificate, private_key=tls_files.private_key
    ) as running:
        yield running


@pytest.fixture(scope="session")
def aws() -> botocore.session.Session:
    """Load the SDK's service models once."""
    return botocore.session.get_session()


@pytest.fixture
def sdk(sts: StsEndpoint, tls_files: TlsFiles, aws: botocore.session.Session) -> Iterator[Sdk]:
    """Give AWS's SDK, pointed at the STS endpoint."""
    with ExitStack() as opened:
        yield Sdk(sts=sts, ca=str(tls_files.ca), aws=aws, opened=opened)


@pytest.fixture
def call(mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki) -> Call:
    """A good call of Roles Anywhere, of a P-256 identity below one intermediate."""
    return Call(mqauth_pki.issue(depth=2), mqauth_rolesanywhere)
