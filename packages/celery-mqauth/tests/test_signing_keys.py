"""Brokers that are told the keys of tokens, as UAA's users did, instead of fetching them."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import amqp
import kombu
import pytest

from celery_mqauth.errors import CredentialRefusedError, LoginRefusedError
from mqauth.shared import shared_sources
from mqauth_sandbox import Broker, OidcIssuer
from mqauth_sandbox.rabbitmq.configuration import OAuth2Settings, SigningKey
from mqauth_sandbox.tls import CertificateFiles, create_certificates

ROTATIONS = 5
LIFETIME = 25.0
SOON = 0.02
"""Part of the life after which a token is renewed, so that five rotations take seconds."""
OWNER = ("alice", "password of alice")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """A throwaway authority and its certificate for localhost."""
    return create_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def issuers(certificates: CertificateFiles) -> Iterator[dict[str, OidcIssuer]]:
    """An issuer that signs with a shared secret, one with a private key, and one nobody trusts."""
    with contextlib.ExitStack() as running:
        found = {}
        for name, algorithm in (("hmac", "HS256"), ("pem", "RS256"), ("stranger", "HS256")):
            issuer = OidcIssuer(
                certificate=certificates.certificate_file,
                private_key=certificates.key_file,
                token_lifetime=LIFETIME,
                algorithm="HS256" if algorithm == "HS256" else "RS256",
            )
            issuer.users[OWNER[0]] = OWNER[1]
            found[name] = running.enter_context(issuer)
        yield found


def told(issuer: OidcIssuer) -> tuple[str, SigningKey]:
    """Return an issuer's key as a broker's configuration has it."""
    name, key = issuer.signing_key()
    return name, SigningKey(form="pem" if isinstance(key, str) else "map", value=key)


@pytest.fixture(scope="module", params=["4", "3"], ids=lambda which: f"rabbitmq{which}")
def broker(
    request: pytest.FixtureRequest,
    certificates: CertificateFiles,
    issuers: dict[str, OidcIssuer],
) -> Iterator[Broker]:
    """A broker that knows two keys by its configuration file, and fetches none."""
    keys = dict([told(issuers["hmac"]), told(issuers["pem"])])
    settings = OAuth2Settings(signing_keys=keys, default_key=next(iter(keys)))
    with Broker(request.param, certificates=certificates, oauth2=settings) as running:
        yield running


def connection(
    broker: Broker, issuer: OidcIssuer, certificates: CertificateFiles, **more: Any
) -> kombu.Connection:
    """Return a connection that is not open yet."""
    auth = {
        "token_endpoint": issuer.token_endpoint,
        "client_id": issuer.client_id,
        "client_secret": issuer.client_secret,
        "ca_file": str(certificates.ca_file),
        "renew_at": SOON,
        **more,
    }
    return kombu.Connection(
        f"mqauth://oauth2@localhost:{broker.amqp_port}//", transport_options={"auth": auth}
    )


def works(raw: Any) -> None:
    """Publish and get a message back."""
    with raw.channel() as channel:
        name = channel.queue_declare("", exclusive=True).queue
        channel.basic_publish(amqp.Message("x"), routing_key=name)
        assert channel.basic_get(name, no_ack=True).body == "x"


@pytest.mark.parametrize("which", ["hmac", "pem"])
@pytest.mark.parametrize("grant", ["client_credentials", "password"])
def test_five_rotations(
    *,
    broker: Broker,
    issuers: dict[str, OidcIssuer],
    certificates: CertificateFiles,
    which: str,
    grant: str,
    eventually: Callable[..., None],
) -> None:
    """One connection outlives five tokens that the broker verifies by a key it was told."""
    owner = dict(zip(("owner_username", "owner_password"), OWNER, strict=True))
    given = owner if grant == "password" else {}
    with contextlib.closing(
        connection(
            broker, issuers[which], certificates, grant_type=grant, **given
        ).transport.establish_connection()
    ) as raw:
        (source,) = shared_sources()
        for rotation in range(1, ROTATIONS + 1):
            works(raw)
            eventually(lambda: source.status().rotations >= rotation, "a rotation")  # noqa: B023
        works(raw)
        expected = OWNER[0] if grant == "password" else issuers[which].client_id
        assert source.status().principal == expected


def test_a_key_that_nobody_told(
    broker: Broker, issuers: dict[str, OidcIssuer], certificates: CertificateFiles
) -> None:
    """Tokens of another key are refused, with where to look."""
    with pytest.raises(LoginRefusedError, match="signing key"):
        connection(broker, issuers["stranger"], certificates).transport.establish_connection()


@pytest.mark.parametrize("form", ["json", "pem"])
def test_a_key_that_is_added_to_a_running_broker(
    broker: Broker, certificates: CertificateFiles, form: str
) -> None:
    """`rabbitmqctl add_uaa_key` makes a broker take the tokens of one more issuer."""
    with OidcIssuer(
        certificate=certificates.certificate_file,
        private_key=certificates.key_file,
        algorithm="HS256" if form == "json" else "RS256",
    ) as issuer:
        late = connection(broker, issuer, certificates)
        with pytest.raises(LoginRefusedError):
            late.transport.establish_connection()
        name, key = issuer.signing_key()
        text = key if isinstance(key, str) else json.dumps(key)
        broker.ctl("add_uaa_key", name, f"--{form}={text}")
        with contextlib.closing(late.transport.establish_connection()) as raw:
            works(raw)


def test_the_key_of_the_first_uaa_plugin(certificates: CertificateFiles) -> None:
    """A secret written as that plugin's documentation does is the one that UAA signs with."""
    with OidcIssuer(
        certificate=certificates.certificate_file,
        private_key=certificates.key_file,
        algorithm="HS256",
    ) as issuer:
        name, key = issuer.signing_key()
        assert isinstance(key, dict)
        secret = base64.urlsafe_b64decode(key["k"] + "==")
        assert len(secret) == 32
        members = {"kty": "oct", "k": base64.urlsafe_b64encode(secret).decode().rstrip("=")}
        settings = OAuth2Settings(signing_keys={name: SigningKey(form="map", value=members)})
        with (
            Broker("3", certificates=certificates, oauth2=settings) as old,
            contextlib.closing(
                connection(old, issuer, certificates).transport.establish_connection()
            ) as raw,
        ):
            works(raw)


def test_the_token_as_user_name(
    broker: Broker, issuers: dict[str, OidcIssuer], certificates: CertificateFiles
) -> None:
    """The token stands where the first plugin looked for it, and later versions take it, too."""
    link = connection(broker, issuers["hmac"], certificates, token_as="username")
    with contextlib.closing(link.transport.establish_connection()) as raw:
        works(raw)
        credentials = raw.credentials
        assert credentials.username == credentials.password.reveal()
        (source,) = shared_sources()
        for shown in (repr(credentials), repr(source.status()), repr(raw), repr(link)):
            assert credentials.username not in shown


def test_a_wrong_password(
    broker: Broker, issuers: dict[str, OidcIssuer], certificates: CertificateFiles
) -> None:
    """The resource owner's wrong password is told by its name in the options."""
    link = connection(
        broker,
        issuers["hmac"],
        certificates,
        grant_type="password",
        owner_username=OWNER[0],
        owner_password="wrong password",
    )
    with pytest.raises(amqp.RecoverableConnectionError, match="resource owner") as caught:
        link.transport.establish_connection()
    assert not isinstance(caught.value, CredentialRefusedError)
    assert "wrong password" not in str(caught.value).replace("unknown user or wrong password", "")
