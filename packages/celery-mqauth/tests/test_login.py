"""Signing in: one snapshot, one forced fetch after a refusal, and an error one can act on."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import amqp
import kombu
import pytest

from celery_mqauth import login
from celery_mqauth.errors import (
    CredentialRefusedError,
    CredentialUnavailableError,
    LoginRefusedError,
)
from celery_mqauth.sasl import SnapshotPlain
from mqauth import (
    BrokerCredentials,
    ConfigurationError,
    CredentialSource,
    IssuerUnavailableError,
    Option,
    Secret,
)
from mqauth.shared import shared_sources
from mqauth_sandbox import Broker, OidcIssuer

Connect = Callable[..., kombu.Connection]
SOON = {"interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_token_signs_in(*, connect: Connect, user_of: Callable[[Any], str], tls: bool) -> None:
    """The broker lets the token's subject in, over TLS where asked."""
    raw = connect(tls=tls).connection
    assert user_of(raw) == "celery"
    assert isinstance(raw.sock, ssl.SSLSocket) == tls


def test_logins_share_one_fetch(connect: Connect, issuer: OidcIssuer) -> None:
    """Many connections of a process sign in with one token."""
    before = issuer.fetches
    connections = [connect(tls=tls) for tls in (True, False, True, False)]
    assert issuer.fetches == before + 1
    assert len({id(connection.connection.credentials) for connection in connections}) == 1


def test_user_name_and_password_come_from_one_snapshot() -> None:
    """What the source does meanwhile never mixes one login's name with another's password."""

    class Dynamic:
        name: ClassVar[str] = "dynamic"
        options: ClassVar[tuple[Option, ...]] = ()
        shareable: ClassVar[bool] = False
        identity = "dynamic"
        count = 0

        @classmethod
        def from_options(cls, options: Mapping[str, Any]) -> Self:
            return cls()

        def fetch(self, *, timeout: float) -> BrokerCredentials:
            self.count += 1
            return BrokerCredentials(
                username=f"user-{self.count}",
                password=Secret(f"password-{self.count}"),
                issued_at=datetime.now(UTC),
                expires_at=datetime.now(UTC) + timedelta(seconds=60),
            )

    source = CredentialSource(Dynamic())
    mechanism = SnapshotPlain(source.get())
    source.invalidate(source.get())
    assert source.get().username == "user-2"
    source.close()
    assert mechanism.start(None) == b"\0user-1\0password-1"
    assert "password" not in repr(mechanism)


def test_an_internal_user_signs_in_with_name_and_password(
    connect: Connect, broker: Broker, user_of: Callable[[Any], str], tmp_path: Path
) -> None:
    """The static provider gives user name and password of a user of the broker."""
    path = tmp_path / "password"
    path.write_text(broker.admin_password)
    options = {"username": broker.admin_user, "password_file": str(path)}
    raw = connect(who="static", only_auth=options).connection
    assert user_of(raw) == broker.admin_user
    assert raw.usable_until == math.inf


def test_a_first_login_refused_twice_ends_with_a_remedy(
    prepared: Connect, issuer: OidcIssuer
) -> None:
    """One forced fetch after the refusal, then an error that Kombu does not retry."""
    issuer.resource_server_id = "another-service"
    before = issuer.fetches
    connection = prepared()
    with pytest.raises(LoginRefusedError) as raised:
        connection.ensure_connection(max_retries=5)
    assert issuer.fetches == before + 2
    error = raised.value
    assert isinstance(error, amqp.AccessRefused)
    assert not isinstance(error, connection.recoverable_connection_errors)
    assert "refused the login of oauth2 client celery" in str(error)
    assert "the broker's log has the reason: check issuer, audience" in str(error)
    assert "\n" not in str(error)


def test_a_revoked_credential_is_replaced_without_a_word(
    prepared: Connect, connect: Connect, issuer: OidcIssuer
) -> None:
    """A refused login fetches once more, and the second attempt is as good as a first."""
    connect().release()
    (source,) = shared_sources()
    source.invalidate(source.get())
    issuer.resource_server_id = "another-service"
    source.get()
    issuer.resource_server_id = "rabbitmq"
    before = issuer.fetches
    assert connect().connected
    assert issuer.fetches == before + 1
    assert source.status().invalidations == 2


def test_a_later_refusal_is_retried_by_kombu(
    connect: Connect, prepared: Connect, issuer: OidcIssuer
) -> None:
    """Who has signed in before is not turned away for good: the broker may have lost its keys."""
    connect().release()
    (source,) = shared_sources()
    source.invalidate(source.get())
    issuer.resource_server_id = "another-service"
    failures: list[BaseException] = []

    def errback(error: BaseException, interval: float) -> None:
        failures.append(error)
        issuer.resource_server_id = "rabbitmq"

    with prepared() as connection:
        connection.ensure_connection(errback=errback, max_retries=5, **SOON)
        assert connection.connected
    assert [type(failure) for failure in failures] == [CredentialRefusedError]
    assert "which it has accepted before" in str(failures[0])
    assert "can it still reach the issuer's keys?" in str(failures[0])
    assert "\n" not in str(failures[0])


def test_an_issuer_that_is_down_is_a_connection_error(
    prepared: Connect, issuer: OidcIssuer
) -> None:
    """Without a credential no login is tried; the error is recoverable and has its cause."""
    with issuer.faults.during("down"), socket.create_server(("127.0.0.1", 0)) as listener:
        connection = prepared(host="127.0.0.1", port=listener.getsockname()[1])
        with pytest.raises(CredentialUnavailableError) as raised:
            connection.transport.establish_connection()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    error = raised.value
    assert isinstance(error, connection.recoverable_connection_errors)
    assert isinstance(error.__cause__, IssuerUnavailableError)
    assert "no credential to sign in with: " in str(error)
    assert "\n" not in str(error)


def test_kombu_waits_for_an_issuer_to_come_back(prepared: Connect, issuer: OidcIssuer) -> None:
    """`ensure_connection` retries while the issuer is down and connects once it answers."""
    issuer.faults.mode = "down"
    failures: list[BaseException] = []

    def errback(error: BaseException, interval: float) -> None:
        failures.append(error)
        if len(failures) == 2:
            issuer.faults.reset()

    with prepared() as connection:
        connection.ensure_connection(errback=errback, max_retries=50, **SOON)
        assert connection.connected
    assert {type(failure) for failure in failures} == {CredentialUnavailableError}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_broker_that_is_away_leaves_the_credential_alone(
    *, prepared: Connect, issuer: OidcIssuer, tls: bool
) -> None:
    """Attempts that do not reach a broker cost no fetch and no rotation."""
    before = issuer.fetches
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        connection = prepared(tls=tls, port=nobody.getsockname()[1], host="127.0.0.1")
        for _ in range(3):
            with pytest.raises(connection.recoverable_connection_errors, match="no connection to"):
                connection.transport.establish_connection()
    assert issuer.fetches == before + 1


def test_who_signs_in_meanwhile_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether an identity is known can be asked while another thread becomes known."""

    class Interrupting(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            known.update((f"another-{number}", "broker") for number in range(len(known) + 1))
            return str.__eq__(self, other)

    known: set[tuple[str, str]] = {
        (Interrupting("one"), "broker"),
        (Interrupting("two"), "broker"),
    }
    monkeypatch.setattr(login, "_has_signed_in", known)
    source: Any = SimpleNamespace(provider=SimpleNamespace(identity="three"))
    assert not login._is_known(source)
    assert len(known) > 2


def test_what_worked_before_may_be_misconfigured_for_a_moment(
    connect: Connect, secret_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty secret file stops a first login for good, and a later one only for now."""
    connect().release()
    source = shared_sources()[0]
    current = source.current
    assert current is not None
    source.invalidate(current)
    secret = secret_file.read_text()
    secret_file.write_text("")
    try:
        with pytest.raises(CredentialUnavailableError) as caught:
            connect()
        assert isinstance(caught.value.__cause__, ConfigurationError)
    finally:
        secret_file.write_text(secret)
