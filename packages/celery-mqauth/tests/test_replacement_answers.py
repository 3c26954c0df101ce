"""What is acknowledged while or after a connection is replaced meets the message that it is for."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import amqp
import amqp.abstract_channel
import kombu
import pytest

from celery_mqauth import replacement, sockets

Connect = Callable[..., kombu.Connection]
LIMIT = 20.0


@pytest.fixture
def replacing(connect: Connect) -> Connect:
    """Return `connect` for connections that are replaced when another credential comes."""

    def make(**settings: Any) -> kombu.Connection:
        return connect(auth={"rotation": "replace"}, **settings)

    return make


@pytest.fixture
def publish(admin: kombu.Connection) -> Callable[[str, str], None]:
    """Return a function that publishes a body to a queue."""

    def send(queue: str, body: str) -> None:
        admin.default_channel.basic_publish(amqp.Message(body), "", queue)

    return send


def read(connection: kombu.Connection, seconds: float = 0.05) -> None:
    """Read what comes within so long."""
    with contextlib.suppress(TimeoutError):
        connection.drain_events(timeout=seconds)


def read_until(connection: kombu.Connection, condition: Callable[[], object]) -> None:
    """Read until `condition` holds."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        read(connection)


def replaced(connection: kombu.Connection) -> Any:
    """Have the connection replaced as if another credential had come; return the old one."""
    old = connection.connection
    old.superseded = True
    read_until(connection, lambda: connection.connection is not old)
    return old


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Have other threads stop before what they write: they are there, and may go on."""
    there, go_on = threading.Event(), threading.Event()
    main, usual = threading.current_thread(), amqp.abstract_channel.dumps

    def dumps(*values: Any) -> Any:
        if threading.current_thread() is not main:
            there.set()
            assert go_on.wait(LIMIT)
        return usual(*values)

    monkeypatch.setattr(amqp.abstract_channel, "dumps", dumps)
    yield there, go_on
    go_on.set()


@pytest.mark.parametrize("answer", ["ack", "reject", "multiple"])
def test_the_last_answer_is_written_before_the_connection_closes(
    replacing: Connect,
    queue: str,
    publish: Callable[[str, str], None],
    held_up: tuple[threading.Event, threading.Event],
    answer: str,
) -> None:
    """A task's thread that is about to acknowledge is waited for, and nothing is repeated."""
    there, go_on = held_up
    connection = replacing()
    got: list[Any] = []
    channel = connection.channel()
    channel.basic_consume(queue, callback=got.append)
    publish(queue, "task")
    read_until(connection, lambda: got)
    old = replaced(connection)
    tag = got[0].delivery_tag
    actions = {
        "ack": lambda: channel.basic_ack(tag),
        "reject": lambda: channel.basic_reject(tag, requeue=False),
        "multiple": lambda: channel.basic_ack(tag, multiple=True),
    }
    thread = threading.Thread(target=actions[answer])
    thread.start()
    assert there.wait(LIMIT)
    read(connection)
    assert old.connected
    go_on.set()
    thread.join()
    read_until(connection, lambda: not connection.connection.predecessors)
    assert not old.connected
    read(connection, 0.3)
    assert len(got) == 1


def test_an_answer_over_what_closes_meanwhile_is_a_lost_connection(
    replacing: Connect,
    queue: str,
    publish: Callable[[str, str], None],
    held_up: tuple[threading.Event, threading.Event],
) -> None:
    """Kombu and Celery know what to do about it."""
    there, go_on = held_up
    connection = replacing()
    got: list[Any] = []
    errors: list[Any] = []
    channel = connection.channel()
    channel.basic_consume(queue, callback=got.append)
    publish(queue, "task")
    read_until(connection, lambda: got)
    old = replaced(connection)

    def acknowledge() -> None:
        try:
            channel.basic_ack(got[0].delivery_tag)
        except Exception as error:  # noqa: BLE001 - whatever it is
            errors.append(error)

    thread = threading.Thread(target=acknowledge)
    thread.start()
    assert there.wait(LIMIT)
    old.collect()
    go_on.set()
    thread.join()
    assert [type(error) for error in errors] == [amqp.RecoverableConnectionError]


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Return a function that has a raw connection's link take nothing any more."""
    waits = sockets.wait_until_ready

    def fill(raw: Any) -> None:
        transport, sock_of_it = raw.transport, raw.transport.sock

        def send_nothing(_: Any) -> int:
            raise BlockingIOError

        def wait(sock: Any, *, writable: bool, timeout: float | None) -> bool:
            if writable and sock is sock_of_it and transport.connected:
                time.sleep(0.05 if timeout is None else min(timeout, 0.05))
                return timeout is None
            return waits(sock, writable=writable, timeout=timeout)

        monkeypatch.setattr(transport, "_send_now", send_nothing)
        monkeypatch.setattr(sockets, "wait_until_ready", wait)

    return fill


def test_a_full_link_keeps_nobody_from_reading_the_new_one(
    *,
    replacing: Connect,
    queue: str,
    publish: Callable[[str, str], None],
    stuck: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An acknowledgement that does not get out holds up neither reading nor closing."""
    monkeypatch.setattr(replacement, "CLOSE_LIMIT", 0.2)
    connection = replacing()
    got: list[Any] = []
    channel = connection.channel()
    channel.basic_consume(queue, callback=got.append)
    publish(queue, "task")
    read_until(connection, lambda: got)
    old = replaced(connection)
    stuck(old)
    lock = old.frame_lock

    def acknowledge() -> None:
        with contextlib.suppress(OSError, amqp.AMQPError):
            channel.basic_ack(got[0].delivery_tag)

    thread = threading.Thread(target=acknowledge, daemon=True)
    thread.start()
    end = time.monotonic() + LIMIT
    while lock.acquire(blocking=False):
        lock.release()
        assert time.monotonic() < end
        time.sleep(0.01)
    publish(queue, "next")
    read_until(connection, lambda: len(got) == 2)
    before = time.monotonic()
    replacement.dismiss(old)
    assert time.monotonic() - before < LIMIT / 2
    thread.join(LIMIT)
    assert not thread.is_alive()


def test_a_generation_is_not_used_again(
    replacing: Connect,
    queue: str,
    new_queue: Callable[[], str],
    publish: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What came over a connection that did not take the place answers for no other message."""
    monkeypatch.setattr(replacement, "RETRY_DELAY", 0.0)
    connection = replacing()
    got: list[Any] = []
    channel, first, second = connection.channel(), queue, new_queue()
    channel.basic_consume(queue, callback=got.append)
    channel.basic_consume(second, callback=got.append)
    usual, fails = type(channel).basic_consume, [True]

    def fail_once(self: Any, queue: str = "", consumer_tag: str = "", **options: Any) -> Any:
        if queue == second and fails:
            fails.clear()
            # The two connections take turns.
            for _ in range(2):
                publish(first, "task")
            while not any(message.channel is self for message in got):
                self.connection.drain_events(timeout=LIMIT)
            raise amqp.RecoverableConnectionError("the link was cut")
        return usual(self, queue, consumer_tag, **options)

    monkeypatch.setattr(type(channel), "basic_consume", fail_once)
    replaced(connection)
    assert not fails
    early = next(message for message in got if message.channel is channel)
    tags = [message.delivery_tag for message in got]
    publish(queue, "victim")
    read_until(connection, lambda: any(each.body == "victim" for each in got))
    assert sum(message.delivery_tag == early.delivery_tag for message in got) == 1, tags
    with pytest.raises(amqp.RecoverableConnectionError, match="is closed"):
        channel.basic_ack(early.delivery_tag)


def test_a_lost_connection_keeps_no_other_from_being_answered(
    replacing: Connect,
    queue: str,
    publish: Callable[[str, str], None],
    depth: Callable[[str], int],
    eventually: Callable[..., None],
) -> None:
    """Acknowledging everything reaches what can be reached."""
    connection = replacing()
    got: list[Any] = []
    channel = connection.channel()
    channel.basic_consume(queue, callback=got.append)
    publish(queue, "old")
    read_until(connection, lambda: got)
    old = replaced(connection)
    publish(queue, "new")
    read_until(connection, lambda: len(got) == 2)
    old.transport.break_off()
    channel.basic_ack(got[1].delivery_tag, multiple=True)
    read_until(connection, lambda: len(got) == 3)
    assert got[2].body == "old"
    connection.release()
    eventually(lambda: depth(queue) == 1)
