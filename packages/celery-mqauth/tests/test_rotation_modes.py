"""The setting `rotation`: in place, by another connection, not at all, or whatever works."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest
from kombu.asynchronous import Hub

from celery_mqauth.errors import CredentialRanOutError, CredentialRefusedError
from mqauth.errors import ConfigurationError
from mqauth.shared import shared_sources
from mqauth_sandbox import Broker, OidcIssuer
from mqauth_sandbox.rabbitmq.configuration import OAuth2Settings
from mqauth_sandbox.tls import create_certificates

Connect = Callable[..., kombu.Connection]
Eventually = Callable[..., None]

LIFETIME = 5.0
QUICK = {"renew_at": 0.1}
USER = "login"
"""The claim that names the user of `Picky`."""


def bodies(connection: kombu.Connection, queue: str) -> list[Any]:
    """Publish a message without retries, read until it has come, and return what came."""
    came: list[Any] = []
    with connection.channel() as channel:
        consumer = kombu.Consumer(channel, [kombu.Queue(queue, no_declare=True)], no_ack=True)
        consumer.register_callback(lambda body, message: came.append((body, message.channel)))
        with consumer:
            kombu.Producer(channel).publish("x", routing_key=queue)
            while not came:
                connection.drain_events(timeout=10)
    return [body for body, _ in came]


def read_for_ever(connection: Any) -> None:
    """Read until that raises something."""
    while True:
        with contextlib.suppress(TimeoutError):
            connection.drain_events(timeout=0.1)


def repeat(step: Callable[[], object], *, until: float) -> None:
    """Call `step` again and again until a time of `time.time()`."""
    while time.time() < until:
        step()


def updates(broker: Broker, since: int, ports: list[int]) -> int:
    """Return how often the broker took a new secret over one of these connections."""
    log = broker.log_text(since)
    return sum(len(re.findall(rf":{port} -> .*updated secret", log)) for port in ports)


def refusals(broker: Broker, since: int) -> int:
    """Return how many new secrets the broker has refused."""
    return broker.log_text(since).count("Not allowed to change username on refreshed token")


def alarming(broker: Broker, since: int) -> list[str]:
    """Return what the broker wrote that is no plain information."""
    lines = broker.log_text(since).splitlines()
    return [line for line in lines if "[warning]" in line or "[error]" in line]


def test_replacement_may_be_asked_for(
    *, connect: Connect, eventually: Eventually, broker: Broker, issuer: OidcIssuer, queue: str
) -> None:
    """With `replace` each renewal is another connection, and none is told a new secret."""
    issuer.token_lifetime = LIFETIME
    since = broker.log_size()
    connection = connect(auth={**QUICK, "rotation": "replace"})
    (source,) = shared_sources()
    seen = [connection.connection]
    ports = [seen[0].sock.getsockname()[1]]
    for rotation in (1, 2, 3):
        eventually(lambda: source.status().rotations >= rotation, "a rotation")  # noqa: B023
        assert bodies(connection, queue) == ["x"]
        seen.append(connection.connection)
        ports.append(seen[-1].sock.getsockname()[1])
    assert len({id(raw) for raw in seen}) == 4
    assert updates(broker, since, ports) == 0


def test_a_connection_may_be_left_to_its_end(
    *, connect: Connect, eventually: Eventually, broker: Broker, issuer: OidcIssuer, queue: str
) -> None:
    """With `reconnect` it works until its credential runs out; Kombu then connects anew."""
    issuer.token_lifetime = LIFETIME
    since = broker.log_size()
    connection = connect(auth={**QUICK, "rotation": "reconnect"})
    first = connection.connection
    ports = [first.sock.getsockname()[1]]
    eventually(lambda: first.left_behind, "a renewal")
    assert bodies(connection, queue) == ["x"]
    assert connection.connection is first
    with pytest.raises(CredentialRanOutError, match="rotation = reconnect"):
        read_for_ever(connection)
    assert bodies(connection, queue) == ["x"]
    assert connection.connection is not first
    assert updates(broker, since, ports) == 0


def test_an_idle_event_loop_ends_it_in_time(
    *, connect: Connect, eventually: Eventually, issuer: OidcIssuer, queue: str
) -> None:
    """With `reconnect` an event loop that reads nothing ends the connection before the broker."""
    issuer.token_lifetime = LIFETIME
    connection = connect(auth={**QUICK, "rotation": "reconnect"})
    raw = connection.connection
    kombu.Consumer(connection.channel(), [kombu.Queue(queue, no_declare=True)]).consume()
    with contextlib.closing(Hub()) as hub:
        hub.propagate_errors = connection.connection_errors
        connection.register_with_event_loop(hub)
        eventually(lambda: raw.left_behind, "a renewal")
        with pytest.raises(CredentialRanOutError):
            repeat(hub.run_once, until=raw.credentials.local_expiry)


def test_what_was_closed_early_ends_nothing_later(
    *, connect: Connect, eventually: Eventually, issuer: OidcIssuer
) -> None:
    """A connection that was awaited to its end, and closed before, is of no concern to its loop."""
    issuer.token_lifetime = LIFETIME
    connection = connect(auth={**QUICK, "rotation": "reconnect"})
    raw = connection.connection
    with contextlib.closing(Hub()) as hub:
        hub.propagate_errors = connection.connection_errors
        connection.register_with_event_loop(hub)
        eventually(lambda: raw.left_behind, "a renewal")
        hub.run_once()
        assert raw.end_awaited
        hub.remove(raw.sock)
        raw.collect()
        repeat(hub.run_once, until=raw.usable_until + 0.5)


@pytest.mark.parametrize("rotation", ["replace", "reconnect"])
def test_whoever_only_polls_is_renewed_too(
    *, connect: Connect, eventually: Eventually, issuer: OidcIssuer, queue: str, rotation: str
) -> None:
    """`basic_get` changes or ends connections as reading does; what is not answered yet can be."""
    issuer.token_lifetime = LIFETIME
    connection = connect(auth={**QUICK, "rotation": rotation})
    first = connection.connection
    polled = kombu.Queue(queue, no_declare=True)(connection.channel())
    for body in ("one", "two"):
        kombu.Producer(polled.channel).publish(body, routing_key=queue)
    kept = polled.get()
    assert kept.payload == "one"
    eventually(lambda: first.superseded or first.left_behind, "a renewal")
    if rotation == "reconnect":
        with pytest.raises(CredentialRanOutError):
            repeat(polled.get, until=first.credentials.local_expiry)
        return
    assert polled.get(no_ack=True).payload == "two"
    assert connection.connection is not first
    assert first.connected
    kept.ack()
    eventually(lambda: polled.get() is None and not first.connected, "the end of the first")


def test_an_unknown_mode_is_refused(connect: Connect) -> None:
    """The error names the known ones and suggests the nearest."""
    with pytest.raises(ConfigurationError, match=r"auto, update-secret, .* did you mean replace\?"):
        connect(auth={"rotation": "replaced"})


@dataclass(frozen=True, kw_only=True)
class Picky:
    """A broker for which every token is another user's."""

    broker: Broker
    issuer: OidcIssuer
    token_file: Path
    numbers: Iterator[int]

    def write_token(self, **claims: Any) -> None:
        """Renew the token; its subject stays the same and its user does not."""
        name = f"user-{next(self.numbers)}"
        self.token_file.write_text(self.issuer.mint(**{USER: name}, **claims))

    def connection(self, **auth: Any) -> kombu.Connection:
        """Return a connection that is not open yet."""
        given = {"path": str(self.token_file), "cache": False, **auth}
        url = f"mqauth://token-file@localhost:{self.broker.amqp_port}//"
        return kombu.Connection(url, transport_options={"auth": given})

    def next_token(self, eventually: Eventually, **claims: Any) -> None:
        """Renew the token, and wait until the source has seen it."""
        (source,) = shared_sources()
        rotations = source.status().rotations
        self.write_token(**claims)
        eventually(lambda: source.status().rotations > rotations, "a rotation")


@pytest.fixture(scope="module")
def picky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Picky]:
    """RabbitMQ 4, which compares users since 4.0.5."""
    folder = tmp_path_factory.mktemp("picky")
    certificates = create_certificates(folder / "tls")
    with OidcIssuer(
        certificate=certificates.certificate_file,
        private_key=certificates.key_file,
        token_lifetime=30.0,
    ) as issuer:
        settings = OAuth2Settings(jwks_url=issuer.jwks_uri, preferred_username_claims=[USER])
        with Broker("4", certificates=certificates, oauth2=settings) as broker:
            token_file = folder / "token"
            token_file.touch(mode=0o600)
            yield Picky(
                broker=broker, issuer=issuer, token_file=token_file, numbers=itertools.count(1)
            )


def declare(connection: kombu.Connection) -> str:
    """Declare an empty queue and return its name."""
    name: str = connection.default_channel.queue_declare("", auto_delete=False).queue
    return name


def test_a_refusal_is_remembered(
    picky: Picky, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """After one refused update, connections to that broker are replaced, and no other drops."""
    picky.write_token()
    since = picky.broker.log_size()
    with picky.connection() as connection:
        queue = declare(connection)
        picky.next_token(eventually)
        with pytest.raises(CredentialRefusedError):
            read_for_ever(connection)
        assert "replaced from now on" in caplog.text
        eventually(lambda: refusals(picky.broker, since) == 1, "the refusal in the log")
        alarms = alarming(picky.broker, since)
        seen = set()
        for _ in range(3):
            assert bodies(connection, queue) == ["x"]
            seen.add(id(connection.connection))
            picky.next_token(eventually)
        assert bodies(connection, queue) == ["x"]
        assert len(seen) == 3
    assert "updated secret" not in picky.broker.log_text(since)
    assert alarming(picky.broker, since) == alarms


def test_another_subject_is_not_even_tried(picky: Picky, eventually: Eventually) -> None:
    """A token of another subject leads to another connection at once."""
    picky.write_token(sub="one")
    with picky.connection() as connection:
        queue = declare(connection)
        first = connection.connection
        picky.next_token(eventually, sub="two")
        assert bodies(connection, queue) == ["x"]
        assert connection.connection is not first


def test_the_reason_for_another_users_secret(picky: Picky, eventually: Eventually) -> None:
    """With `update-secret` the error tells that the user changes, and promises no replacement."""
    picky.write_token(sub="one")
    with picky.connection(rotation="update-secret") as connection:
        raw = connection.connect()
        picky.next_token(eventually, sub="two")
        eventually(lambda: raw.left_behind, "the news")
        said = str(raw.expired_for(CredentialRanOutError))
    assert "rotation = update-secret renews it in place only" in said
    assert "another user's" in said


def test_in_place_or_not_at_all(picky: Picky, eventually: Eventually) -> None:
    """With `update-secret` a refusal is followed by the next attempt of the same kind."""
    picky.write_token()
    since = picky.broker.log_size()
    with picky.connection(rotation="update-secret") as connection:
        for _ in range(2):
            connection.ensure_connection(max_retries=3)
            raw = connection.connection
            picky.next_token(eventually)
            with pytest.raises(CredentialRefusedError):
                read_for_ever(raw)
        eventually(lambda: refusals(picky.broker, since) == 2, "two refusals in the log")


def test_amqp_errors_of_the_mode_are_recoverable() -> None:
    """Kombu and Celery connect anew on what the modes raise."""
    for error in (CredentialRanOutError, CredentialRefusedError):
        assert issubclass(error, amqp.RecoverableConnectionError)
