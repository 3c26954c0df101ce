"""Failover lists, `a;b;c`: each host with its own scheme, its own name and its own identity."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest

from celery_mqauth.errors import BrokerUnreachableError, CredentialUnavailableError
from mqauth.shared import shared_sources
from mqauth_sandbox import Broker, OidcIssuer, Sandbox, TcpProxy

QUICK = {"interval_start": 0, "interval_step": 0.1, "max_retries": 9}


@pytest.fixture
def dead() -> Iterator[int]:
    """A port where nobody answers."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield nobody.getsockname()[1]


@pytest.fixture
def many(sandbox: Sandbox, auth: dict[str, Any]) -> Iterator[Callable[..., kombu.Connection]]:
    """Return a function that makes a Kombu connection for several URLs."""
    made: list[kombu.Connection] = []

    def make(*urls: str, **settings: Any) -> kombu.Connection:
        chosen = settings.pop("auth", auth)
        connection = kombu.Connection(
            ";".join(urls), transport_options={"auth": chosen}, **settings
        )
        made.append(connection)
        return connection

    yield make
    for connection in made:
        connection.release()


def test_dead_hosts_are_skipped(
    many: Callable[..., kombu.Connection], broker: Broker, issuer: OidcIssuer, dead: int
) -> None:
    """With the first two of three away the third is used, and one token serves all attempts."""
    before = issuer.fetches
    here = f"mqauth://oauth2@localhost:{broker.amqp_port}//"
    gone = f"mqauth://oauth2@127.0.0.1:{dead}//"
    failures: list[BaseException] = []
    connection = many(gone, gone, here)
    connection.ensure_connection(errback=lambda error, _: failures.append(error), **QUICK)
    assert connection.connected
    assert [type(failure) for failure in failures] == [BrokerUnreachableError] * 2
    assert issuer.fetches == before + 1


def test_each_host_has_its_own_scheme_and_name(
    many: Callable[..., kombu.Connection], broker: Broker, sandbox: Sandbox, dead: int
) -> None:
    """TLS is verified against the name of the host in use; what the user gave stays as it is."""
    protection = {"ca_certs": str(sandbox.ca_file)}
    connection = many(
        f"mqauths://oauth2@127.0.0.2:{dead}//",
        f"mqauths://oauth2@localhost:{broker.amqps_port}//",
        ssl=protection,
    )
    connection.ensure_connection(**QUICK)
    assert connection.connection.ssl["server_hostname"] == "localhost"
    assert protection == {"ca_certs": str(sandbox.ca_file)}


def test_a_live_connection_moves_on_when_its_host_goes(
    *,
    many: Callable[..., kombu.Connection],
    broker: Broker,
    plain_proxy: TcpProxy,
    queue: str,
    depth: Callable[[str], int],
    eventually: Callable[..., None],
) -> None:
    """A retrying producer publishes by the next host, on a connection that is renewed as well."""
    connection = many(
        f"mqauth://oauth2@localhost:{plain_proxy.port}//",
        f"mqauth://oauth2@localhost:{broker.amqp_port}//",
    )
    connection.ensure_connection(**QUICK)
    first = connection.connection
    plain_proxy.refuse(True)
    plain_proxy.cut()
    producer = connection.Producer(auto_declare=False)
    producer.publish("x", routing_key=queue, retry=True, retry_policy=QUICK)
    eventually(lambda: depth(queue) == 1)
    assert connection.connection is not first
    assert connection.port == broker.amqp_port
    (source,) = shared_sources()
    assert source.status().connections == 1


def test_each_host_has_its_own_identity(
    *,
    many: Callable[..., kombu.Connection],
    broker: Broker,
    auth: dict[str, Any],
    dead: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    user_of: Callable[[Any], str],
) -> None:
    """The name in each URL decides who signs in there; named entries keep the options apart."""
    password = tmp_path / "password"
    password.write_text(broker.admin_password)
    config = tmp_path / "mqauth.toml"
    options = "".join(f'{name} = "{value}"\n' for name, value in auth.items())
    config.write_text(
        f'[first]\nprovider = "oauth2"\n{options}\n[second]\nprovider = "static"\n'
        f'username = "{broker.admin_user}"\npassword_file = "{password}"\n'
    )
    monkeypatch.setenv("MQAUTH_CONFIG", str(config))
    connection = many(
        f"mqauth://first@localhost:{dead}//",
        f"mqauth://second@localhost:{broker.amqp_port}//",
        auth={},
    )
    connection.ensure_connection(**QUICK)
    assert user_of(connection.connection) == broker.admin_user
    connection.switch(f"mqauth://first@localhost:{broker.amqp_port}//")
    assert user_of(connection.connection) == "celery"


def test_an_issuer_that_is_down_fails_all_hosts_alike(
    many: Callable[..., kombu.Connection], broker: Broker, issuer: OidcIssuer
) -> None:
    """Without a credential no host of the list is tried, and the reason is not lost on the way."""
    here = f"mqauth://oauth2@localhost:{broker.amqp_port}//"
    failures: list[BaseException] = []
    connection = many(here, here)
    with issuer.faults.during("down"), pytest.raises(kombu.exceptions.OperationalError) as raised:
        connection.ensure_connection(
            errback=lambda error, _: failures.append(error), max_retries=2, interval_start=0.1
        )
    assert {type(failure) for failure in failures} == {CredentialUnavailableError}
    assert "no credential to sign in with" in str(raised.value)
