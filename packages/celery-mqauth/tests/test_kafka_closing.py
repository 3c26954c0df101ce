"""What consumers that are being closed sign in with, whatever comes in between.

Played without a broker: what is tried here is the order of things, and it must hold where
librdkafka takes its time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from celery_mqauth.kafka.clients import close_within
from celery_mqauth.kafka.token import TokenCallback

LIMIT = 20.0


class Source:
    """Counts who uses it."""

    def __init__(self) -> None:
        """Be used by nobody."""
        self.users: list[object] = []

    def attach(self, user: object) -> None:
        """Count one more."""
        self.users.append(user)

    def detach(self, user: object) -> None:
        """Count one less."""
        if user in self.users:
            self.users.remove(user)


class Consumer:
    """Is closed as soon as it may be."""

    def __init__(self, may_close: threading.Event) -> None:
        """Be open."""
        self.may_close = may_close
        self.closed = threading.Event()

    def close(self) -> None:
        """End."""
        self.may_close.wait(LIMIT)
        self.closed.set()


@pytest.fixture
def may_close() -> Iterator[threading.Event]:
    """Whether the broker lets consumers go."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def source() -> Source:
    """Where tokens come from."""
    return Source()


@pytest.fixture
def token(source: Any) -> TokenCallback:
    """What consumers sign in with."""
    return TokenCallback(source)


def closing_threads() -> list[threading.Thread]:
    """Return the threads that close consumers."""
    return [thread for thread in threading.enumerate() if thread.name == "mqauth-kafka-close"]


def test_the_token_lasts_as_long_as_the_last_consumer(
    source: Source, token: TokenCallback, may_close: threading.Event
) -> None:
    """One that ends late has it until then, and nobody has it afterwards."""
    at_once = threading.Event()
    at_once.set()
    early, late = Consumer(at_once), Consumer(may_close)
    close_within(0.2, [early, late], token)
    token.end()
    assert early.closed.wait(LIMIT)
    assert not late.closed.is_set()
    assert source.users == [token]
    may_close.set()
    for thread in closing_threads():
        thread.join(LIMIT)
    assert late.closed.is_set()
    assert source.users == []


def test_no_thread_is_to_be_had(
    source: Source,
    token: TokenCallback,
    may_close: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A consumer that nobody can close is told of, keeps no token, and holds no other up."""
    may_close.set()
    consumers = [Consumer(may_close), Consumer(may_close)]
    start = threading.Thread.start

    def start_second(thread: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", start)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start_second)
    close_within(LIMIT, consumers, token)
    token.end()
    assert [consumer.closed.is_set() for consumer in consumers] == [False, True]
    assert source.users == []
    assert "can't start new thread" in caplog.text


@pytest.mark.parametrize("begun", [True, False])
def test_an_interruption_gives_back_what_no_thread_has(
    *,
    source: Source,
    token: TokenCallback,
    may_close: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    begun: bool,
) -> None:
    """Whether or not the thread runs by then, the token ends with the consumer."""
    may_close.set()
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", start)
        if begun:
            thread.start()
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        close_within(LIMIT, [Consumer(may_close)], token)
    token.end()
    for thread in closing_threads():
        thread.join(LIMIT)
    assert source.users == []
