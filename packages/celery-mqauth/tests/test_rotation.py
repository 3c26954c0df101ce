"""Open connections of every kind outlive the token they signed in with.

One run per broker, watched from several sides: a producer, a producer with publisher confirms, a
consumer blocked without time limit, an idle connection and a crowd, each over TLS and plain.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import amqp
import kombu
import pytest

from mqauth import CredentialFetched, CredentialRenewed, CredentialSource, events
from mqauth.shared import shared_sources
from mqauth_sandbox import Sandbox

LIFETIME = 12.0
RENEWALS = 6
CROWD = 6
PROTECTIONS = (True, False)


@dataclass(kw_only=True)
class Link:
    """One raw connection and what its thread has seen."""

    tls: bool
    connection: kombu.Connection
    raw: Any
    queue: str = ""
    handled: int = 0
    error: BaseException | None = None
    thread: threading.Thread | None = None


@dataclass(kw_only=True)
class Run:
    """What happened while tokens were renewed."""

    source: CredentialSource
    producers: list[Link] = field(default_factory=list)
    consumers: list[Link] = field(default_factory=list)
    idle: list[Link] = field(default_factory=list)
    seen: list[tuple[str, events.CredentialEvent]] = field(default_factory=list)
    fetches: int = 0
    rotations: int = 0
    seconds: float = 0.0
    first_lifetime: float = 0.0
    log: str = ""

    @property
    def links(self) -> list[Link]:
        """All connections."""
        return self.producers + self.consumers + self.idle


@pytest.fixture(scope="module")
def run(
    sandbox: Sandbox,
    prepared: Callable[..., kombu.Connection],
    new_queue: Callable[[], str],
    eventually: Callable[..., None],
    forget_sources: Callable[[], None],
) -> Iterator[Run]:
    """Renew tokens under open connections for longer than the first token lives."""
    forget_sources()
    issuer = sandbox.issuer
    usual, issuer.token_lifetime = issuer.token_lifetime, LIFETIME
    start, fetches_before = sandbox.broker.log_size(), issuer.fetches
    seen: list[tuple[str, events.CredentialEvent]] = []
    unsubscribe = events.subscribe(lambda e: seen.append((threading.current_thread().name, e)))

    def link(*, tls: bool, **options: Any) -> Link:
        connection = prepared(tls=tls, auth={"renew_at": 0.1, "cache": False}, **options)
        raw = connection.connect()
        return Link(tls=tls, connection=connection, raw=raw, queue=new_queue())

    links = [link(tls=tls) for tls in PROTECTIONS]
    (source,) = shared_sources()
    run = Run(source=source, seen=seen)
    assert source.current is not None
    run.first_lifetime = source.current.lifetime
    began = time.monotonic()
    stop = threading.Event()
    try:
        run.producers = links
        run.producers += [link(tls=t, options={"confirm_publish": True}) for t in PROTECTIONS]
        run.consumers = [link(tls=tls) for tls in PROTECTIONS]
        run.idle = [link(tls=tls) for tls in PROTECTIONS for _ in range(CROWD)]
        for producer in run.producers:
            _start(producer, _publish_until, stop)
        for consumer in run.consumers:
            _start(consumer, _consume, stop)
        eventually(
            lambda: (
                source.status().rotations >= RENEWALS
                and time.monotonic() - began > run.first_lifetime * 1.25
            ),
            f"{RENEWALS} renewals, for longer than a token lives",
            limit=60,
        )
        stop.set()
        for producer in run.producers:
            assert producer.thread is not None
            producer.thread.join(10)
        run.seconds = time.monotonic() - began

        def counted() -> bool:
            run.rotations = source.status().rotations
            run.fetches = issuer.fetches - fetches_before
            return run.fetches == run.rotations + 1

        # A fetch that is under way counts at the issuer and is no rotation yet.
        eventually(counted, "as many fetches as rotations, and the first one")
        run.log = sandbox.broker.log_text(start)
        # What follows is no more about renewal: let nothing run out behind its back.
        issuer.token_lifetime = usual
        known = source.current
        eventually(lambda: source.current is not known, "the last renewal")
        eventually(lambda: all(x.raw.credentials is source.current for x in run.links))
        yield run
    finally:
        issuer.token_lifetime = usual
        unsubscribe()
        for link_ in run.links:
            link_.raw.collect()
        forget_sources()


def _start(
    link: Link, work: Callable[[Link, threading.Event], None], stop: threading.Event
) -> None:
    def guarded() -> None:
        try:
            work(link, stop)
        except BaseException as error:  # noqa: BLE001 - a test looks at it
            link.error = error

    link.thread = threading.Thread(target=guarded, name=f"owner-of-{link.queue}", daemon=True)
    link.thread.start()


def _publish_until(link: Link, stop: threading.Event) -> None:
    channel = link.raw.channel()
    producer = kombu.Producer(channel, auto_declare=False)
    while not stop.is_set():
        producer.publish({"number": link.handled}, routing_key=link.queue, serializer="json")
        link.handled += 1
        stop.wait(0.002)


def _consume(link: Link, stop: threading.Event) -> None:
    channel = link.raw.channel()

    def received(message: Any) -> None:
        link.handled += 1
        channel.basic_ack(message.delivery_tag)

    channel.basic_consume(link.queue, callback=received)
    while not link.handled:
        link.raw.drain_events()


def test_it_lasted_longer_than_a_token(run: Run) -> None:
    """The run covers at least five renewals and the whole life of the first token."""
    assert run.rotations >= 5
    assert run.seconds > run.first_lifetime


def test_producers_keep_their_connection(
    run: Run, depth: Callable[[str], int], eventually: Callable[..., None]
) -> None:
    """Whoever publishes all the time, with confirms or not, loses neither link nor message."""
    for link in run.producers:
        assert link.error is None
        assert link.raw.connected
        assert link.handled > 100
        eventually(lambda link=link: depth(link.queue) == link.handled, "the last message")


def test_a_blocked_consumer_keeps_its_connection(
    run: Run, admin: kombu.Connection, eventually: Callable[..., None]
) -> None:
    """A consumer that has waited without time limit all along still gets its message."""
    for link in run.consumers:
        assert link.error is None
        assert link.thread is not None
        assert link.thread.is_alive()
        admin.Producer().publish({}, routing_key=link.queue)
        link.thread.join(10)
        assert (link.handled, link.error) == (1, None)
        assert link.raw.connected


def test_idle_connections_are_as_good_as_new(run: Run) -> None:
    """Connections that nobody has touched since they were opened publish and consume."""
    for link in run.idle:
        channel = link.raw.channel()
        channel.basic_publish_confirm(amqp.Message("hello"), routing_key=link.queue)
        assert channel.basic_get(link.queue, no_ack=True).body == "hello"


def test_one_fetch_serves_all_connections(run: Run) -> None:
    """The issuer is asked once per rotation, however many connections there are."""
    assert len(run.links) == 4 + 2 + 2 * CROWD
    assert run.fetches == run.rotations + 1


def test_nothing_is_fetched_where_messages_pass(run: Run) -> None:
    """Only the first connect waits for the issuer; later fetches are the renewal thread's."""
    fetched = [thread for thread, event in run.seen if isinstance(event, CredentialFetched)]
    assert fetched[0] == threading.main_thread().name
    assert set(fetched[1:]) == {"mqauth-renewal-oauth2"}
    renewed = [thread for thread, event in run.seen if isinstance(event, CredentialRenewed)]
    assert set(renewed) == {"mqauth-renewal-oauth2"}


def test_the_broker_saw_renewals_and_no_end(run: Run) -> None:
    """By the broker's own account every connection was renewed and none was closed."""
    for link in run.links:
        port = link.raw.sock.getsockname()[1]
        lines = [line for line in run.log.splitlines() if f":{port} -> " in line]
        assert [line for line in lines if "closing" in line or "closed" in line] == []
        renewals = [line for line in lines if "updated secret, reason: credential renewed" in line]
        assert len(renewals) >= 5
