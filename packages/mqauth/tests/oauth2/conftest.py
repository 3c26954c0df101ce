"""What the tests of oauth2 share: providers that a real issuer knows, and servers like none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mqauth.provider import Provider
from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.tls import CertificateFiles
from packages.mqauth.tests.oauth2.building import Build, build
from packages.mqauth.tests.oauth2.servers import Answer, Serve, Server


@pytest.fixture
def client(issuer: OidcIssuer, certificates: CertificateFiles) -> Build:
    """Build providers that the issuer knows."""

    def make(**options: object) -> Provider:
        known = {
            "client_id": issuer.client_id,
            "client_secret": issuer.client_secret,
            "ca_file": certificates.ca_file,
        }
        if "token_endpoint" not in options:
            known["issuer"] = issuer.issuer_url
        return build(**{**known, **options})

    return make


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers for the time of a test."""
    servers: list[Server] = []

    def start(answer: Callable[[str], Answer], *, reason: str | None = None) -> Server:
        servers.append(Server(answer, reason=reason))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
