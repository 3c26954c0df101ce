"""Kombu's pools, clones and pickles: one source behind all of them, no secret in any."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest
from kombu import pools

from mqauth import Secret
from mqauth.credentials import BrokerCredentials
from mqauth.shared import shared_sources
from mqauth_sandbox import OidcIssuer

Connect = Callable[..., kombu.Connection]
THREADS = 6


@pytest.fixture(autouse=True)
def no_pools_left() -> Iterator[None]:
    """Close the pools that a test filled."""
    yield
    pools.reset()


def test_connections_of_a_pool_share_one_token(
    prepared: Connect,
    issuer: OidcIssuer,
    queue: str,
    depth: Callable[[str], int],
    eventually: Callable[..., None],
) -> None:
    """Threads that publish by a producer pool cause one fetch, and each connection is renewed."""
    issuer.token_lifetime = 20
    before = issuer.fetches
    connection = prepared(auth={"renew_at": 0.02})
    raws: set[Any] = set()
    errors: list[BaseException] = []
    everybody = threading.Barrier(THREADS, timeout=20)

    def publish() -> None:
        try:
            with pools.producers[connection].acquire(block=True) as producer:
                everybody.wait()  # so that nobody gets the connection of another
                producer.publish("x", routing_key=queue)
                raws.add(producer.connection.connection)
        except BaseException as error:  # noqa: BLE001 - asserted below
            errors.append(error)

    threads = [threading.Thread(target=publish) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert len(raws) == THREADS
    (source,) = shared_sources()
    assert source.status().connections == THREADS
    before_renewal = [raw.credentials for raw in raws]
    issuer.token_lifetime = 300
    eventually(lambda: source.current is not None and source.current.lifetime > 100)
    eventually(lambda: all(raw.credentials is source.current for raw in raws), "the renewals")
    assert all(source.current is not earlier for earlier in before_renewal)
    assert issuer.fetches - before == source.status().rotations + 1
    eventually(lambda: depth(queue) == THREADS)
    with pools.producers[connection].acquire(block=True) as producer:
        assert producer.connection.connection in raws


def test_equal_connections_share_a_pool_through_renewals(
    prepared: Connect, mint: Callable[..., BrokerCredentials]
) -> None:
    """A pool is found by what the user wrote, which no renewal changes."""
    connection = prepared()
    pool = pools.connections[connection]
    with pool.acquire(block=True) as pooled:
        assert pooled.connect().credentials_renewed(mint())
    assert pools.connections[prepared()] is pool
    assert pools.connections[connection.clone()] is pool


def test_a_clone_signs_in_by_itself(connect: Connect, issuer: OidcIssuer) -> None:
    """A clone is another connection of the same identity and needs no other fetch."""
    original = connect()
    before = issuer.fetches
    with original.clone() as clone:
        assert clone.connect() is not original.connection
        assert clone.connection.credentials is original.connection.credentials
    assert issuer.fetches == before
    assert original.connected


def test_a_pickled_connection_holds_no_token(connect: Connect, auth: dict[str, Any]) -> None:
    """What goes to another process is the name of who signs in, and it works there."""
    original = connect()
    token = original.connection.credentials.password.reveal()
    pickled = pickle.dumps(original)
    assert token.encode() not in pickled
    with pickle.loads(pickled) as copy:  # noqa: S301 - made here
        assert copy.connect().connected
        assert copy.connection is not original.connection


def test_a_wrapped_secret_is_not_pickled(prepared: Connect, auth: dict[str, Any]) -> None:
    """A connection whose options hold a secret refuses to be pickled."""
    options = {**auth, "client_secret": Secret("s3cret")}
    del options["client_secret_file"]
    with pytest.raises(TypeError, match="a Secret is not pickled"):
        pickle.dumps(prepared(only_auth=options))


def test_a_secret_given_inline_does_not_show(connect: Connect, auth: dict[str, Any]) -> None:
    """Once the connection is open, neither its descriptions nor a pickle hold the option."""
    options = {**auth, "client_secret": Path(auth["client_secret_file"]).read_text()}
    del options["client_secret_file"]
    connection = connect(only_auth=options)
    shown = repr(connection.info()), repr(connection.transport_options), connection.as_uri()
    assert options["client_secret"] not in "".join(shown)
    assert options["client_secret"].encode() not in pickle.dumps(connection)
    with connection.clone() as clone:
        assert clone.connect().connected


def test_no_description_shows_a_token(connect: Connect) -> None:
    """URI, info, repr and the attributes of an open connection are fit for a log."""
    connection = connect()
    raw = connection.connection
    token = raw.credentials.password.reveal()
    shown = [
        connection.as_uri(),
        connection.as_uri(include_password=True),
        connection.as_uri(mask=""),
        repr(connection),
        repr(connection.info()),
        repr(connection.transport_options),
        repr(raw),
        repr(vars(raw)),
        repr(raw.source),
        repr(raw.source.status()),
        repr(connection.transport),
    ]
    assert [text for text in shown if token in text or token.split(".")[2] in text] == []
    assert "oauth2" in connection.as_uri()


def test_nothing_logged_at_debug_holds_a_token(
    connect: Connect,
    mint: Callable[..., BrokerCredentials],
    caplog: pytest.LogCaptureFixture,
    queue: str,
) -> None:
    """Neither a login nor a renewal nor a publish writes a token to any logger."""
    caplog.set_level("DEBUG")
    for name in ("amqp", "amqp.connection.Connection.heartbeat_tick", "kombu", "urllib3"):
        caplog.set_level("DEBUG", logger=name)
    connection = connect()
    raw = connection.connection
    newer = mint()
    assert raw.credentials_renewed(newer)
    connection.Producer().publish("x", routing_key=queue)
    raw.channel()
    assert caplog.records
    (source,) = shared_sources()
    assert source.current is not None
    for credentials in (newer, source.current):
        signature = credentials.password.reveal().split(".")[2]
        assert signature not in caplog.text
