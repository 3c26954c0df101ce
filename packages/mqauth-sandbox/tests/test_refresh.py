"""The issuer's grants for users: password, and refresh tokens that are good for one use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from mqauth_sandbox.oauth import OAuthError
from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.refresh import RefreshTokenStore
from mqauth_sandbox.tls import CertificateFiles, create_certificates


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """A throwaway authority and its certificate for localhost."""
    return create_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def running(files: CertificateFiles) -> Iterator[OidcIssuer]:
    """An issuer with one user."""
    with OidcIssuer(certificate=files.certificate_file, private_key=files.key_file) as issuer:
        issuer.users["alice"] = "password"
        yield issuer


def ask(issuer: OidcIssuer, files: CertificateFiles, **form: str) -> tuple[int, dict[str, Any]]:
    """Return status and content of the answer to a token request."""
    login = urllib3.make_headers(basic_auth=f"{issuer.client_id}:{issuer.client_secret}")
    with urllib3.PoolManager(ca_certs=str(files.ca_file), retries=False, timeout=10) as http:
        response = http.request(
            "POST", issuer.token_endpoint, fields=form, encode_multipart=False, headers=login
        )
        return response.status, response.json()


def test_a_password_and_then_refresh_tokens(running: OidcIssuer, files: CertificateFiles) -> None:
    """Each refresh token brings the next one, and a used one ends all that follow it."""
    status, first = ask(
        running, files, grant_type="password", username="alice", password="password"
    )
    assert status == 200
    token = first["refresh_token"]
    status, second = ask(running, files, grant_type="refresh_token", refresh_token=token)
    assert status == 200
    assert second["refresh_token"] != token
    for used in (token, second["refresh_token"]):
        status, answer = ask(running, files, grant_type="refresh_token", refresh_token=used)
        assert (status, answer["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password", "username": "alice", "password": "wrong"}, "invalid_grant"),
        ({"grant_type": "password", "username": "bob", "password": "password"}, "invalid_grant"),
        ({"grant_type": "password", "username": "alice"}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
    ],
)
def test_what_is_refused(
    running: OidcIssuer, files: CertificateFiles, form: dict[str, str], error: str
) -> None:
    """Unknown users, wrong passwords and missing parameters get the codes of RFC 6749."""
    status, answer = ask(running, files, **form)
    assert (status, answer["error"]) == (400, error)


def test_an_issuer_that_keeps_them() -> None:
    """Without rotation a token is good for any number of uses."""
    store = RefreshTokenStore(rotate=False)
    token = store.issue("alice")
    assert [store.use(token) for _ in range(2)] == [("alice", None)] * 2
    with pytest.raises(OAuthError):
        store.use("another")


def test_a_shared_secret_is_not_published(files: CertificateFiles) -> None:
    """Keys of HS256 stand in no JWKS; whoever verifies is told them."""
    with OidcIssuer(
        certificate=files.certificate_file, private_key=files.key_file, algorithm="HS256"
    ) as issuer:
        issuer.mint()
        with urllib3.PoolManager(ca_certs=str(files.ca_file), timeout=10) as http:
            assert http.request("GET", issuer.jwks_uri).json() == {"keys": []}
        _, key = issuer.signing_key()
        assert isinstance(key, dict)
        assert key["kty"] == "oct"
