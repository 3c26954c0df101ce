"""What the tests of the transport share: real brokers, one issuer each, connections that end.

Every test that names `sandbox`, directly or not, runs on RabbitMQ 4 and on RabbitMQ 3.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import kombu
import pytest

import celery_mqauth
from celery_mqauth import login
from celery_mqauth.rotation_mode import forget_refusals
from mqauth import jwt_claims
from mqauth.credentials import BrokerCredentials
from mqauth.secret import Secret
from mqauth.shared import forget_shared_sources
from mqauth_sandbox import Broker, OidcIssuer, Sandbox, TcpProxy

LIMIT = 20.0
"""Seconds that a condition may take on a busy machine; no test passes by waiting for it."""
QUEUE_LIFE = 120.0
USUAL_LIFETIME = 300.0

celery_mqauth.register_schemes()

_numbers = itertools.count(1)


def pytest_configure() -> None:
    """Keep py-amqp's own debug lines, one a frame, out of failure reports."""
    logging.getLogger("amqp").setLevel(logging.INFO)


@pytest.fixture(scope="session", params=["4", "3"], ids=lambda which: f"rabbitmq{which}")
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A running world with a broker of each major version in turn."""
    with Sandbox(broker=request.param, token_lifetime=USUAL_LIFETIME) as running:
        yield running


@pytest.fixture
def broker(sandbox: Sandbox) -> Broker:
    """The RabbitMQ node."""
    return sandbox.broker


@pytest.fixture
def issuer(sandbox: Sandbox) -> Iterator[OidcIssuer]:
    """The issuer whose tokens the broker accepts, as it was before after each test."""
    issuer = sandbox.issuer
    names = ("token_lifetime", "scopes", "audiences", "resource_server_id", "client_secret")
    before = {name: getattr(issuer, name) for name in names}
    yield issuer
    issuer.faults.reset()
    for name, value in before.items():
        setattr(issuer, name, value)
    issuer.start()


@pytest.fixture(scope="session")
def forget_sources() -> Callable[[], None]:
    """Return a function that ends all shared sources, a fetch that is under way included."""
    # Whatever tests of other packages left behind in this process does not end by that.
    others = set(threading.enumerate())

    def forget() -> None:
        forget_shared_sources()
        for thread in set(threading.enumerate()) - others:
            if thread.name.startswith("mqauth-renewal"):
                thread.join(LIMIT)
                others.add(thread)

    return forget


@pytest.fixture(scope="module", autouse=True)
def nothing_of_other_packages() -> None:
    """Forget the sources that tests of another package left behind in this process."""
    forget_shared_sources()


@pytest.fixture(autouse=True)
def new_process_state(
    monkeypatch: pytest.MonkeyPatch, forget_sources: Callable[[], None]
) -> Iterator[None]:
    """Let each test begin as a new process does: no sources, no settings, no logins."""
    for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "CLIENT_SECRET_FILE", "CA_FILE"):
        monkeypatch.delenv(f"MQAUTH_OAUTH2_{name}", raising=False)
    monkeypatch.delenv("MQAUTH_CONFIG", raising=False)
    monkeypatch.setenv("MQAUTH_CACHE", "off")
    login._has_signed_in.clear()
    forget_refusals()
    yield
    forget_sources()


@pytest.fixture(scope="session")
def secret_file(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's secret in a file of its owner."""
    path = tmp_path_factory.mktemp("client") / "secret"
    path.touch(mode=0o600)
    path.write_text(sandbox.issuer.client_secret)
    return path


@pytest.fixture(scope="session")
def auth(sandbox: Sandbox, secret_file: Path) -> dict[str, Any]:
    """Options of the oauth2 provider that sign in to the broker."""
    return {
        "issuer": sandbox.issuer.issuer_url,
        "client_id": sandbox.issuer.client_id,
        "client_secret_file": str(secret_file),
        "ca_file": str(sandbox.ca_file),
    }


@pytest.fixture(scope="session")
def prepared(sandbox: Sandbox, auth: dict[str, Any]) -> Callable[..., kombu.Connection]:
    """Return a function that makes a Kombu connection, not open yet, over TLS or plain.

    Its keywords: `tls`, `who`, `host`, `port`, `vhost`, `auth` (added to the usual options),
    `only_auth` (instead of them), `options` (other transport options); the rest goes to Kombu.
    """

    def make(
        *,
        tls: bool = False,
        who: str = "oauth2",
        host: str = "localhost",
        port: int | None = None,
        vhost: str = "/",
        options: dict[str, Any] | None = None,
        **rest: Any,
    ) -> kombu.Connection:
        usual = sandbox.broker.amqps_port if tls else sandbox.broker.amqp_port
        chosen = {**rest.pop("only_auth", auth), **rest.pop("auth", {})}
        if tls:
            rest.setdefault("ssl", {"ca_certs": str(sandbox.ca_file)})
        return kombu.Connection(
            f"mqauth{'s' if tls else ''}://{who}@{host}:{port or usual}/{vhost}",
            transport_options={"auth": chosen, **(options or {})},
            **rest,
        )

    return make


@pytest.fixture
def connect(prepared: Callable[..., kombu.Connection]) -> Iterator[Callable[..., kombu.Connection]]:
    """Return a function that opens what `prepared` makes; all are closed with the test."""
    with contextlib.ExitStack() as opened:

        def open_now(**settings: Any) -> kombu.Connection:
            connection = prepared(**settings)
            opened.callback(_close_anyhow, connection)
            connection.connect()
            return connection

        yield open_now


def _close_anyhow(connection: kombu.Connection) -> None:
    errors = connection.connection_errors + connection.channel_errors
    with contextlib.suppress(*errors):
        connection.release()


@pytest.fixture(scope="session")
def admin(sandbox: Sandbox) -> Iterator[kombu.Connection]:
    """A plain pyamqp connection of an internal user, to look at things from outside."""
    broker = sandbox.broker
    with kombu.Connection(
        f"amqp://{broker.host}:{broker.amqp_port}//",
        userid=broker.admin_user,
        password=broker.admin_password,
        transport="pyamqp",
    ) as connection:
        connection.connect()
        yield connection


@pytest.fixture(scope="session")
def new_queue(admin: kombu.Connection) -> Callable[[], str]:
    """Return a function that declares an empty queue and returns its name."""

    def declare() -> str:
        name = f"mqauth-test-{next(_numbers)}"
        kombu.Queue(name, expires=QUEUE_LIFE)(admin.default_channel).declare()
        return name

    return declare


@pytest.fixture
def queue(new_queue: Callable[[], str]) -> str:
    """The name of an empty queue."""
    return new_queue()


@pytest.fixture(scope="session")
def depth(admin: kombu.Connection) -> Callable[[str], int]:
    """Return a function that asks the broker how many messages wait in a queue."""

    def ask(name: str) -> int:
        count: int = admin.default_channel.queue_declare(name, passive=True).message_count
        return count

    return ask


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Return a function that waits until a condition holds and fails the test if it never does."""

    def wait(
        condition: Callable[[], object], what: str = "the condition", limit: float = LIMIT
    ) -> None:
        end = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < end, f"{what} did not come true within {limit:g} s"
            time.sleep(0.01)

    return wait


@pytest.fixture
def mint(issuer: OidcIssuer) -> Callable[..., BrokerCredentials]:
    """Return a function that makes a credential of a token which no client has asked for."""

    def make(**claims: Any) -> BrokerCredentials:
        token = Secret(issuer.mint(**claims))
        content = jwt_claims.unverified_claims(token)
        issued_at = jwt_claims.issued_at(content)
        assert issued_at is not None
        return BrokerCredentials(
            username="",
            password=token,
            issued_at=issued_at,
            expires_at=jwt_claims.expiry(content),
            provider="oauth2",
        )

    return make


@pytest.fixture
def renewals_of(broker: Broker) -> Callable[[Any], int]:
    """Return a function that counts what the broker logged about renewals of a raw connection."""

    def count(raw: Any) -> int:
        port = raw.sock.getsockname()[1]
        return len(re.findall(rf":{port} -> .*updated secret", broker.log_text()))

    return count


@pytest.fixture
def user_of(broker: Broker, eventually: Callable[..., None]) -> Callable[[Any], str]:
    """Return a function that returns the user whom the broker let in on a raw connection."""

    def look(raw: Any) -> str:
        line = re.compile(rf":{raw.sock.getsockname()[1]} -> .*user '(.*?)' authenticated")
        eventually(lambda: line.search(broker.log_text()), "the broker's log of the login")
        users: list[str] = line.findall(broker.log_text())
        return users[-1]

    return look


@pytest.fixture
def plain_proxy(broker: Broker) -> Iterator[TcpProxy]:
    """A proxy of this test's own to the broker's plain port."""
    with TcpProxy(broker.amqp_port) as proxy:
        yield proxy


@pytest.fixture
def read_for_long() -> Callable[[Any, str], None]:
    """Return a function that reads a topic of Kafka for as long as there is only nothing."""

    def read(channel: Any, topic: str) -> None:
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            with contextlib.suppress(Empty):
                channel._get(topic)

    return read
