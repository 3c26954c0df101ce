"""The provider oauth2 with a certified OpenID provider, and a broker that takes its tokens."""

from __future__ import annotations

import contextlib
import itertools
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest
from joserfc.jwk import ECKey, RSAKey

from celery_mqauth.errors import CredentialUnavailableError
from mqauth import CredentialSource
from mqauth.errors import IssuerRefusedError
from mqauth.jwt_claims import unverified_claims
from mqauth.shared import shared_sources
from mqauth_sandbox import Broker, NotInstalledError
from mqauth_sandbox.oidc_provider.prepare import find_oidc_provider
from mqauth_sandbox.oidc_provider.server import OidcProvider
from mqauth_sandbox.rabbitmq.configuration import OAuth2Settings
from mqauth_sandbox.tls import CertificateAuthority, CertificateFiles, ClientCertificateFiles

ROTATIONS = 5
LIFETIME = 25
"""Seconds: a renewal may take a quarter of what is left, and none is to fail."""
SOON = 0.02
"""Part of the life after which a token is renewed, so that five rotations take seconds."""
DNS_NAME = "celery-host"

Key = RSAKey | ECKey

_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class World:
    """The issuer, its clients' files, and the authority of all servers."""

    issuer: OidcProvider
    certificates: CertificateFiles
    certified: ClientCertificateFiles
    self_signed: ClientCertificateFiles
    keys: dict[str, Key]
    folder: Path

    def options(self, client: str, **more: Any) -> dict[str, Any]:
        """Return options of the provider that one of the clients signs in with."""
        return {
            "provider": "oauth2",
            "issuer": self.issuer.issuer_url,
            "ca_file": str(self.certificates.ca_file),
            "scope": " ".join(self.issuer.scopes),
            "client_id": client,
            "cache": False,
            **self._proof(client),
            **more,
        }

    def _proof(self, client: str) -> dict[str, Any]:
        if client == "signing":
            return {"auth_method": "private_key_jwt", **self.key("rsa")}
        if client in ("certified", "self-signed"):
            files = self.certified if client == "certified" else self.self_signed
            prefix = "" if client == "certified" else "self_signed_"
            return {
                "auth_method": f"{prefix}tls_client_auth",
                "client_certificate_file": str(files.certificate_file),
                "client_private_key_file": str(files.key_file),
            }
        method = "client_secret_post" if client == "post" else "client_secret_basic"
        return {"auth_method": method, "client_secret": self.issuer.client_secret}

    def key(self, name: str) -> dict[str, str]:
        """Return the options that name one of the client's keys."""
        key = self.keys[name]
        pem = key.as_pem(private=True)
        return {"private_key": pem.decode(), "private_key_id": str(key.kid)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running oidc-provider."""
    try:
        find_oidc_provider()
    except NotInstalledError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("oidc-provider")
    authority = CertificateAuthority()
    certificates = authority.server_files(folder / "tls")
    self_signed = CertificateAuthority().issue_client(folder, "self-signed")
    keys: dict[str, Key] = {
        "rsa": RSAKey.generate_key(2048),
        "ec": ECKey.generate_key("P-384"),
    }
    for key in keys.values():
        key.ensure_kid()
    with OidcProvider(
        certificates=certificates,
        self_signed=self_signed.certificate_file,
        public_keys=[key.as_dict(private=False) for key in keys.values()],
        dns_name=DNS_NAME,
        token_lifetime=LIFETIME,
    ) as issuer:
        yield World(
            issuer=issuer,
            certificates=certificates,
            certified=authority.issue_client(folder, DNS_NAME),
            self_signed=self_signed,
            keys=keys,
            folder=folder,
        )


@pytest.fixture(scope="module", params=["4", "3"], ids=lambda which: f"rabbitmq{which}")
def taker(request: pytest.FixtureRequest, world: World) -> Iterator[Broker]:
    """A broker that takes the provider's tokens."""
    settings = OAuth2Settings(jwks_url=world.issuer.jwks_uri)
    with Broker(request.param, certificates=world.certificates, oauth2=settings) as broker:
        yield broker


def connection(broker: Broker, options: dict[str, Any]) -> kombu.Connection:
    """Return a connection that is not open yet."""
    auth = {name: value for name, value in options.items() if name != "provider"}
    return kombu.Connection(
        f"mqauth://oauth2@localhost:{broker.amqp_port}//", transport_options={"auth": auth}
    )


def works(raw: Any, name: str) -> None:
    """Publish and get a message back."""
    with raw.channel() as channel:
        channel.queue_declare(name, auto_delete=True)
        channel.basic_publish(amqp.Message(name), routing_key=name)
        assert channel.basic_get(name, no_ack=True).body == name


def fetch(options: dict[str, Any]) -> Any:
    """Return the credential of one fetch."""
    source = CredentialSource.from_config(options)
    try:
        return source.get()
    finally:
        source.close()


@pytest.mark.parametrize("client", ["basic", "signing"])
def test_five_rotations_on_one_connection(
    world: World, taker: Broker, client: str, eventually: Callable[..., None]
) -> None:
    """One open connection outlives five tokens, each of which the broker has verified."""
    options = world.options(client, renew_at=SOON)
    raw = connection(taker, options).transport.establish_connection()
    with contextlib.closing(raw):
        (source,) = shared_sources()
        name = f"certified-{next(_numbers)}"
        for rotation in range(1, ROTATIONS + 1):
            works(raw, name)
            eventually(lambda: source.status().rotations >= rotation, "a rotation")  # noqa: B023
        works(raw, name)
        renewal = re.compile(f":{raw.sock.getsockname()[1]} -> .*updated secret")
        # The source counts a rotation before it is sent, and the broker logs it after that.
        eventually(
            lambda: len(renewal.findall(taker.log_text())) >= ROTATIONS,
            "the broker's log of each renewal",
        )
        assert source.status().failures == 0


@pytest.mark.parametrize("client", ["basic", "post", "signing", "certified", "self-signed"])
def test_every_kind_of_client_signs_in(world: World, taker: Broker, client: str) -> None:
    """Secret, signed assertion and certificate all lead to a token that the broker takes."""
    raw = connection(taker, world.options(client)).transport.establish_connection()
    with contextlib.closing(raw):
        works(raw, f"certified-{next(_numbers)}")


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [("rsa", None), ("rsa", "PS256"), ("ec", None)],
)
def test_every_kind_of_key_signs(world: World, name: str, algorithm: str | None) -> None:
    """RSA and EC keys sign assertions that the provider verifies."""
    given = {**world.key(name), "signing_algorithm": algorithm}
    assert unverified_claims(fetch(world.options("signing", **given)).password)["iss"]


def test_what_is_asked_for(world: World) -> None:
    """Scope and resource go where they belong."""
    scope = world.issuer.scopes[0]
    claims = unverified_claims(
        fetch(world.options("basic", scope=scope, resource=world.issuer.resource)).password
    )
    assert (claims["scope"], claims["aud"]) == (scope, "rabbitmq")
    with pytest.raises(IssuerRefusedError, match=r"invalid_target.*audience and resource"):
        fetch(world.options("basic", resource="https://other.example"))


def test_five_refresh_tokens(
    world: World, taker: Broker, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    """Each use replaces the refresh token in its file, which stays its owner's alone."""
    file = tmp_path / "refresh"
    file.touch(mode=0o600)
    file.write_text(_first_refresh_token(world))
    options = world.options("refreshing", grant_type="refresh_token", renew_at=SOON)
    options["refresh_token_file"] = str(file)
    seen = {file.read_text()}
    raw = connection(taker, options).transport.establish_connection()
    with contextlib.closing(raw):
        (source,) = shared_sources()
        for rotation in range(1, ROTATIONS + 1):
            eventually(lambda: source.status().rotations >= rotation, "a rotation")  # noqa: B023
            seen.add(file.read_text())
        works(raw, f"certified-{next(_numbers)}")
        assert source.status().failures == 0
        assert source.status().principal == world.issuer.user
    assert len(seen) >= ROTATIONS
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    _keep_refresh_token(world, file.read_text().strip())


def test_a_refresh_token_that_was_used(world: World) -> None:
    """A used one ends the series; the remedy is to sign in anew."""
    token = "used-" + _first_refresh_token(world)[5:]
    options = world.options("refreshing", grant_type="refresh_token", refresh_token=token)
    with pytest.raises(IssuerRefusedError, match="sign in anew"):
        fetch(options)


@pytest.mark.parametrize("client", ["basic", "post", "signing", "certified"])
def test_wrong_proofs(world: World, taker: Broker, client: str) -> None:
    """A wrong secret, an unknown key and a foreign certificate are refused by name."""
    other = RSAKey.generate_key(2048)
    wrong = {
        "basic": {"client_secret": "wrong"},
        "post": {"client_secret": "wrong"},
        "signing": {"private_key": other.as_pem(private=True).decode()},
        "certified": {
            "client_certificate_file": str(world.self_signed.certificate_file),
            "client_private_key_file": str(world.self_signed.key_file),
        },
    }[client]
    with pytest.raises(CredentialUnavailableError, match=r"invalid_client.*check client_id"):
        connection(taker, world.options(client, **wrong)).transport.establish_connection()


_newest: dict[int, str] = {}


def _first_refresh_token(world: World) -> str:
    """Return the refresh token of the moment; each use replaces it."""
    return _newest.get(id(world), world.issuer.refresh_token)


def _keep_refresh_token(world: World, token: str) -> None:
    _newest[id(world)] = token
