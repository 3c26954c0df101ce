"""An answer that comes late is never taken for the next question's.

py-amqp takes the next one of its kind, so a message that the broker refused would be reported as
confirmed, and the length of one queue as that of another.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import amqp
import kombu
import pytest
from amqp.exceptions import MessageNacked, NotFound, PreconditionFailed
from vine import promise

from celery_mqauth import asking, sockets

both_links = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
Connect = Callable[..., kombu.Connection]
Slow = Callable[[Any], AbstractContextManager[None]]
CONFIRMED = {"confirm_publish": True}


class OutOfTimeError(Exception):
    """What a time limit raises."""


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Return a context manager in which nothing arrives on a link, however long one waits."""

    def nothing(_: int) -> bytes:
        raise BlockingIOError

    def in_vain(*_: object, timeout: float, **__: object) -> bool:
        time.sleep(timeout)
        return False

    @contextmanager
    def during(raw: Any) -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(raw.transport, "_receive_now", nothing)
            patch.setattr(sockets, "wait_until_ready", in_vain)
            yield

    return during


@pytest.fixture
def full(
    admin: kombu.Connection, depth: Callable[[str], int], eventually: Callable[..., None]
) -> str:
    """The name of a queue that refuses whatever is published."""
    name = f"full-{time.monotonic_ns()}"
    arguments = {"x-overflow": "reject-publish"}
    queue = kombu.Queue(name, expires=120.0, max_length=1, queue_arguments=arguments)
    queue(admin.default_channel).declare()
    admin.default_channel.basic_publish(amqp.Message("x"), "", name)
    eventually(lambda: depth(name) == 1, "the first message")
    return name


def await_news(raw: Any) -> None:
    """Wait until something lies unread on a link."""
    while raw.transport.nothing_to_read():
        time.sleep(0.01)


def look_for_no_news(raw: Any) -> None:
    """Have a publish find nothing to read: what arrives does so while its answer is awaited."""
    raw.transport._readable = lambda _: []


def publish_within(seconds: float, producer: kombu.Producer, queue: str) -> None:
    """Publish with a limit to the wait; older producers of Kombu's hand none on."""
    producer.channel.basic_publish(amqp.Message("{}"), "", queue, confirm_timeout=seconds)


@both_links
def test_a_confirmation_that_comes_late_confirms_no_other_message(
    *, connect: Connect, queue: str, full: str, slow: Slow, tls: bool
) -> None:
    """After a limit of the caller's own the link goes on."""
    connection = connect(tls=tls, options=CONFIRMED)
    raw, producer = connection.connection, connection.Producer()
    producer.publish({}, routing_key=queue)
    look_for_no_news(raw)
    with slow(raw), pytest.raises(TimeoutError):
        publish_within(0.1, producer, queue)
    with pytest.raises(MessageNacked):
        producer.publish({}, routing_key=full)
    producer.publish({}, routing_key=queue)
    assert raw.connected


def test_a_refusal_that_comes_late_refuses_no_other_message(
    *, connect: Connect, queue: str, full: str, slow: Slow, depth: Callable[[str], int]
) -> None:
    """Whoever sent the message again would have it there twice."""
    connection = connect(options=CONFIRMED)
    raw, producer = connection.connection, connection.Producer()
    producer.publish({}, routing_key=queue)
    look_for_no_news(raw)
    with slow(raw), pytest.raises(TimeoutError):
        publish_within(0.1, producer, full)
    producer.publish({}, routing_key=queue)
    assert depth(queue) == 2


@both_links
def test_a_strike_between_a_message_and_its_confirmation(
    *, connect: Connect, queue: str, full: str, tls: bool
) -> None:
    """It does not matter when a wait for a confirmation is given up."""
    connection = connect(tls=tls, options=CONFIRMED)
    raw, producer = connection.connection, connection.Producer()
    producer.publish({}, routing_key=queue)
    look_for_no_news(raw)
    strike_behind_the_next_write(raw)
    with pytest.raises(OutOfTimeError):
        producer.publish({}, routing_key=queue)
    with pytest.raises(MessageNacked):
        producer.publish({}, routing_key=full)


def strike_behind_the_next_write(raw: Any) -> None:
    """Raise what a time limit raises as soon as something is written."""
    write = raw.frame_writer

    def strike(*frame: Any) -> None:
        raw.frame_writer = write
        write(*frame)
        raise OutOfTimeError

    raw.frame_writer = strike


def test_messages_that_nobody_waits_for_are_counted(
    connect: Connect, queue: str, full: str
) -> None:
    """The broker counts them, and confirms many at once."""
    channel = connect().channel()
    channel.confirm_select()
    for _ in range(50):
        channel.basic_publish(amqp.Message("x"), routing_key=queue)
        channel.basic_publish(amqp.Message("x"), routing_key=full)
    channel.basic_publish_confirm(amqp.Message("x"), routing_key=queue)
    with pytest.raises(MessageNacked):
        channel.basic_publish_confirm(amqp.Message("x"), routing_key=full)


def test_a_message_that_a_callback_publishes_while_another_is_being_confirmed(
    connect: Connect, queue: str, new_queue: Callable[[], str], full: str
) -> None:
    """Each is told what became of its own."""
    connection = connect(options=CONFIRMED)
    raw, channel = connection.connection, connection.channel()
    producer, triggers = connection.Producer(channel), new_queue()
    inner: list[str] = []

    def take(_: Any) -> None:
        producer.publish({}, routing_key=queue)
        inner.append("confirmed")

    producer.publish({}, routing_key=queue)
    connection.channel().basic_consume(triggers, no_ack=True, callback=take)
    connect().Producer().publish({}, routing_key=triggers)
    await_news(raw)
    look_for_no_news(raw)
    with pytest.raises(MessageNacked):
        producer.publish({}, routing_key=full)
    assert inner == ["confirmed"]


@both_links
def test_a_message_that_is_returned_is_confirmed_without_a_trace(
    *, connect: Connect, full: str, tls: bool
) -> None:
    """py-amqp raises the return that nobody listens to; the confirmation comes after it."""
    connection = connect(tls=tls, options=CONFIRMED)
    raw, producer = connection.connection, connection.Producer()
    look_for_no_news(raw)
    with pytest.raises(amqp.ChannelError):
        producer.publish({}, routing_key="nowhere", mandatory=True)
    with pytest.raises(MessageNacked):
        producer.publish({}, routing_key=full)
    assert raw.connected


def test_numbers_begin_anew_with_the_channel(connect: Connect, queue: str, full: str) -> None:
    """The broker closes it over a message to an exchange that is not there."""
    connection = connect(options=CONFIRMED)
    raw, channel = connection.connection, connection.channel()
    for _ in range(2):
        channel.basic_publish(amqp.Message("x"), routing_key=queue)
        with pytest.raises(NotFound):
            channel.basic_publish(amqp.Message("x"), exchange="not-there", routing_key=queue)
        with pytest.raises(MessageNacked):
            channel.basic_publish(amqp.Message("x"), routing_key=full)
    assert raw.connected


@both_links
def test_a_question_that_a_limit_has_broken_off_ends_the_link(
    *, connect: Connect, queue: str, new_queue: Callable[[], str], slow: Slow, tls: bool
) -> None:
    """Also if it is the user's own `read_timeout`."""
    connection = connect(tls=tls, options={"read_timeout": 0.5})
    raw, channel = connection.connection, connection.channel()
    with slow(raw), pytest.raises(TimeoutError):
        channel.queue_declare(queue, passive=True)
    with pytest.raises(connection.recoverable_connection_errors):
        channel.queue_declare(new_queue(), passive=True)


@both_links
def test_a_strike_between_a_question_and_its_answer_ends_the_link(
    *, connect: Connect, queue: str, new_queue: Callable[[], str], tls: bool
) -> None:
    """py-amqp has written by then, and does not wait yet."""
    connection = connect(tls=tls)
    raw, channel = connection.connection, connection.channel()
    strike_behind_the_next_write(raw)
    with pytest.raises(OutOfTimeError):
        channel.queue_declare(queue, passive=True)
    assert not raw.connected
    with pytest.raises(connection.recoverable_connection_errors):
        channel.queue_declare(new_queue(), passive=True)


def test_a_question_whose_end_was_struck_itself(
    connect: Connect, queue: str, new_queue: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one ends the link."""
    connection = connect()
    raw, channel = connection.connection, connection.channel()

    def strike() -> None:
        raise OutOfTimeError

    strike_behind_the_next_write(raw)
    with monkeypatch.context() as patch:
        patch.setattr(raw, "lose_step", strike)
        with pytest.raises(OutOfTimeError):
            channel.queue_declare(queue, passive=True)
    with pytest.raises(connection.recoverable_connection_errors):
        channel.queue_declare(new_queue(), passive=True)
    assert not raw.connected


@both_links
def test_what_a_callback_raises_while_an_answer_is_awaited(
    *, connect: Connect, queue: str, new_queue: Callable[[], str], tls: bool
) -> None:
    """It reaches whoever asked, once the answer has come: others' messages do not come again."""
    connection, other = connect(tls=tls), new_queue()
    raw, channel = connection.connection, connection.channel()

    def take(_: Any) -> None:
        raise OutOfTimeError

    channel.basic_consume(queue, no_ack=True, callback=take)
    connect(tls=tls).Producer().publish({}, routing_key=queue)
    await_news(raw)
    with pytest.raises(OutOfTimeError):
        channel.queue_declare(queue, passive=True)
    assert channel.queue_declare(other, passive=True).queue == other
    assert raw.connected


@both_links
def test_an_answer_that_does_not_come_after_that(
    *,
    connect: Connect,
    queue: str,
    slow: Slow,
    new_queue: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    tls: bool,
) -> None:
    """It is not waited for without limit, and never taken for the next one."""
    monkeypatch.setattr(asking, "ANSWER_LIMIT", 0.2)
    connection = connect(tls=tls)
    raw, channel = connection.connection, connection.channel()
    with contextlib.ExitStack() as silence:

        def take(_: Any) -> None:
            silence.enter_context(slow(raw))
            raise OutOfTimeError

        channel.basic_consume(queue, no_ack=True, callback=take)
        connect(tls=tls).Producer().publish({}, routing_key=queue)
        await_news(raw)
        with pytest.raises(OutOfTimeError):
            channel.queue_declare(queue, passive=True)
    assert not raw.connected
    with pytest.raises(connection.recoverable_connection_errors):
        channel.queue_declare(new_queue(), passive=True)


def test_a_message_that_is_returned_while_an_answer_is_awaited(
    connect: Connect, queue: str, new_queue: Callable[[], str]
) -> None:
    """What the broker has against it is no end of the link."""
    connection, other = connect(), new_queue()
    raw, channel = connection.connection, connection.channel()
    channel.basic_publish(amqp.Message("x"), "", "nowhere", mandatory=True)
    await_news(raw)
    with pytest.raises(amqp.ChannelError):
        channel.queue_declare(queue, passive=True)
    assert channel.queue_declare(other, passive=True).queue == other
    assert raw.connected


def test_a_channel_that_is_closed_before_a_message_is_confirmed(
    connect: Connect, queue: str, new_queue: Callable[[], str]
) -> None:
    """Nobody waits for what will never be said."""
    connection, other = connect(options=CONFIRMED), new_queue()
    raw, publishing, consuming = connection.connection, connection.channel(), connection.channel()
    publishing.basic_publish(amqp.Message("x"), "", queue)
    consuming.basic_consume(other, no_ack=True, callback=lambda _: publishing.close())
    connect().Producer().publish({}, routing_key=other)
    await_news(raw)
    look_for_no_news(raw)
    with pytest.raises(connection.recoverable_channel_errors):
        publishing.basic_publish(amqp.Message("x"), "", queue)
    assert raw.confirms == {}


def test_questions_that_two_threads_have_asked_at_once(connect: Connect, queue: str) -> None:
    """One that was answered is not open, whoever remembers it."""
    connection = connect()
    raw, channel = connection.connection, connection.channel()
    channel.asked = promise()
    channel.asked()
    assert channel.queue_declare(queue, passive=True).queue == queue
    assert raw.connected


def test_what_a_callback_raises_while_consumers_are_cancelled(
    connect: Connect, queue: str, admin: kombu.Connection, eventually: Callable[..., None]
) -> None:
    """The answers name their consumers: the link goes on, and with it others' messages."""
    connection = connect()
    raw, channel = connection.connection, connection.channel()
    cancelling = [True]

    def take(_: Any) -> None:
        if cancelling:
            raise OutOfTimeError

    tags = [channel.basic_consume(queue, callback=take) for _ in range(3)]
    for _ in range(3):
        connect().Producer().publish({}, routing_key=queue)
    await_news(raw)
    for tag in tags:
        with contextlib.suppress(OutOfTimeError):
            channel.basic_cancel(tag)
    cancelling.clear()  # what is still unread comes while the connection is closed

    def consumers() -> int:
        declared = admin.default_channel.queue_declare(queue, passive=True)
        return int(declared.consumer_count)

    eventually(lambda: consumers() == 0, "the end of the consumers")
    assert raw.connected


@both_links
def test_an_error_of_the_channel_is_an_answer(*, connect: Connect, queue: str, tls: bool) -> None:
    """The link and the channel go on."""
    connection = connect(tls=tls)
    raw, channel = connection.connection, connection.channel()
    with pytest.raises(NotFound):
        channel.queue_declare("not-there", passive=True)
    with pytest.raises(PreconditionFailed):
        channel.queue_declare(queue, durable=False, exclusive=False, auto_delete=True)
    assert channel.queue_declare(queue, passive=True).queue == queue
    assert raw.connected


def test_a_question_that_was_never_written_leaves_nothing_open(
    connect: Connect, queue: str
) -> None:
    """py-amqp cannot write such a name."""
    connection = connect()
    raw, channel = connection.connection, connection.channel()
    with pytest.raises(Exception, match=r"argument|short|255"):
        channel.queue_bind(queue, "amq.topic", "k" * 300)
    assert channel.queue_declare(queue, passive=True).queue == queue
    assert raw.connected
