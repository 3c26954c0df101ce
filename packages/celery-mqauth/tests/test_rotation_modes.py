"""The setting `rotation`: in place, by another connection, not at all, or whatever works."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import amqp
import kombu
import pytest
from kombu.asynchronous import Hub

from celery_mqauth import connection as connection_module
from celery_mqauth import rotation_mode
from celery_mqauth.errors import CredentialRanOutError, CredentialRefusedError
from celery_mqauth.rotation_mode import Rotation, RotationMode
from mqauth.errors import ConfigurationError
from mqauth.secret import Secret
from mqauth.shared import shared_sources
from mqauth_sandbox import Broker, OidcIssuer
from mqauth_sandbox.rabbitmq.configuration import OAuth2Settings
from mqauth_sandbox.tls import create_certificates

Connect = Callable[..., kombu.Connection]
Eventually = Callable[..., None]

LIFETIME = 30.0
QUICK = {"renew_at": 0.02}
"""Renewal within seconds, and long before a stalled machine would let a credential run out."""
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
            end = time.monotonic() + 30
            while not came:
                assert time.monotonic() < end
                # It may come while a connection is replaced, before anything is waited for.
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=0.5)
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


def let_it_end(raw: Any, seconds: float = 0.5) -> None:
    """Bring forward the moment from which on a connection is given up.

    Left to itself that is so little before the broker ends the connection that a machine which
    stalls just then would meet the one as well as the other.
    """
    assert raw.usable_until < raw.credentials.local_expiry
    raw.usable_until = time.time() + seconds


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


def let_the_first_wait_pass() -> None:
    """Make the one broker that is remembered not to renew in place due for a trial, and no more."""
    ((pair, known),) = rotation_mode._not_in_place.items()
    since = time.monotonic() - known.wait * 1.5
    rotation_mode._not_in_place[pair] = rotation_mode._NotInPlace(known.wait, since)


def test_replacement_may_be_asked_for(
    *, connect: Connect, eventually: Eventually, broker: Broker, issuer: OidcIssuer, queue: str
) -> None:
    """With `replace` each renewal is another connection, and none is told a new secret."""
    issuer.token_lifetime = LIFETIME
    since = broker.log_size()
    connection = connect(auth={**QUICK, "rotation": "replace"})
    seen = [connection.connection]
    ports = [seen[0].sock.getsockname()[1]]
    for _ in range(3):
        eventually(lambda: seen[-1].superseded, "a renewal")
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
    let_it_end(first)
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
        let_it_end(raw)
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
        let_it_end(raw, seconds=5)
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
        let_it_end(first)
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


@pytest.fixture
def picky(picky_broker: Picky, monkeypatch: pytest.MonkeyPatch) -> Picky:
    """Where a login tells why a secret was refused, however long a stalled machine takes."""
    monkeypatch.setattr(connection_module, "PROMPT", 60.0)
    return picky_broker


@pytest.fixture(scope="module")
def picky_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Picky]:
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
        seen = []
        for _ in range(3):
            assert bodies(connection, queue) == ["x"]
            seen.append(connection.connection)
            picky.next_token(eventually)
        assert bodies(connection, queue) == ["x"]
        assert len(set(map(id, seen))) == 3
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


@pytest.mark.parametrize("fault", ["keys out of reach", "another audience"])
def test_a_passing_refusal_is_not_held_against_the_broker(
    *,
    connect: Connect,
    eventually: Eventually,
    issuer: OidcIssuer,
    renewals_of: Callable[[Any], int],
    fault: str,
) -> None:
    """Where the secret was the trouble, the next connection is renewed in place again."""
    issuer.token_lifetime = 20
    connection = connect(auth={"renew_at": 0.02})
    raw = connection.connection
    with contextlib.ExitStack() as meanwhile:
        if fault == "keys out of reach":
            meanwhile.enter_context(issuer.faults.during("down", affects="keys"))
            issuer.rotate_keys()
        else:
            issuer.resource_server_id = "another-service"
            meanwhile.callback(setattr, issuer, "resource_server_id", "rabbitmq")
        with pytest.raises(CredentialRefusedError):
            read_for_ever(raw)
    connection.ensure_connection(max_retries=5, interval_start=0.1)
    raw = connection.connection
    assert raw.rotation.in_place
    carried = raw.credentials
    eventually(lambda: raw.credentials is not carried, "the next renewal")
    raw.channel()
    eventually(lambda: renewals_of(raw), "the renewal in the broker's log")
    assert connection.connection is raw


def test_a_broker_that_takes_new_secrets_again_is_noticed(
    *,
    connect: Connect,
    eventually: Eventually,
    issuer: OidcIssuer,
    queue: str,
    renewals_of: Callable[[Any], int],
) -> None:
    """A replaced connection that has done is tried in place; open ones are renewed so from then."""
    issuer.token_lifetime = LIFETIME
    connection = connect(auth=QUICK)
    first = connection.connection
    first.rotation.not_in_place()
    eventually(lambda: first.superseded, "a renewal")
    assert bodies(connection, queue) == ["x"]
    second = connection.connection
    assert second is not first
    assert not second.rotation.in_place
    let_the_first_wait_pass()
    eventually(lambda: second.superseded, "a renewal")
    assert bodies(connection, queue) == ["x"]
    assert connection.connection is not second
    assert connection.connection.rotation.in_place

    def renewed_in_place() -> bool:
        raw = connection.connection
        carried = raw.credentials
        eventually(lambda: raw.credentials is not carried or raw.superseded, "a renewal")
        assert bodies(connection, queue) == ["x"]
        return connection.connection is raw

    # The first may have been outdated while it was opened, just before the trial.
    assert renewed_in_place() or renewed_in_place()
    eventually(lambda: renewals_of(connection.connection), "the renewal in the broker's log")


def test_a_broker_that_still_refuses_costs_no_connection(
    picky: Picky, eventually: Eventually
) -> None:
    """Whether it takes new secrets by now is tried where nothing can be lost, and less and less."""
    picky.write_token()
    since = picky.broker.log_size()
    with picky.connection() as connection:
        queue = declare(connection)
        picky.next_token(eventually)
        with pytest.raises(CredentialRefusedError):
            read_for_ever(connection)
        assert bodies(connection, queue) == ["x"]
        for trials in (1, 2):
            let_the_first_wait_pass()
            picky.next_token(eventually)
            assert bodies(connection, queue) == ["x"]
            eventually(lambda: refusals(picky.broker, since) == trials + 1)  # noqa: B023
            (known,) = rotation_mode._not_in_place.values()
            assert known.wait == rotation_mode.FIRST_RETRY * 2**trials
            assert not connection.connection.rotation.in_place


def test_refusals_that_were_read_late_count_from_the_second_on() -> None:
    """Nobody knows the reason of one; two secrets in a row are the method's fault."""
    rotation = Rotation(RotationMode.AUTO, identity="somebody", broker="somewhere")
    for _ in range(2):
        rotation.refused_for_whatever_reason(Secret("one"))
        assert rotation.in_place
    rotation.taken_in_place(time.monotonic())
    rotation.refused_for_whatever_reason(Secret("two"))
    assert rotation.in_place
    rotation.refused_for_whatever_reason(Secret("three"))
    assert not rotation.in_place


def test_what_is_known_of_a_secret_is_not_asked_again() -> None:
    """A secret that was refused for a login counts against no broker, however often it comes up."""
    rotation = Rotation(RotationMode.AUTO, identity="somebody", broker="somewhere")
    secret = Secret("no good")
    assert rotation.worth_a_login(secret)
    rotation.secret_is_no_good(secret)
    assert not rotation.worth_a_login(secret)
    rotation.refused_for_whatever_reason(Secret("unclear"))
    rotation.refused_for_whatever_reason(secret)
    assert rotation.in_place


def test_the_memory_of_a_refusal_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a trial open connections are renewed in place again; waits double up to an hour."""
    now = 1000.0
    monkeypatch.setattr(rotation_mode, "time", SimpleNamespace(monotonic=lambda: now))
    rotation = Rotation(RotationMode.AUTO, identity="somebody", broker="somewhere")
    for wait in (60, 120, 240, 480, 960, 1920, 3600, 3600):
        rotation.not_in_place()
        now += wait - 1
        rotation.not_in_place()  # another connection tells the same
        assert (rotation.trial_due, rotation.in_place) == (False, False)
        now += 1
        assert (rotation.trial_due, rotation.in_place) == (True, False)
        now += wait
        assert (rotation.trial_due, rotation.in_place) == (True, True)
    rotation.taken_in_place(sent_at=0)  # an answer from before
    assert (rotation.trial_due, rotation.in_place) == (True, True)
    rotation.taken_in_place(sent_at=now)
    assert (rotation.trial_due, rotation.in_place) == (False, True)


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
