"""Plays any number of workers on a real broker's remote control, badly behaved ones included."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import kombu
from kombu import Consumer, Exchange, Queue


def status(**changes: Any) -> dict[str, Any]:
    """Return a source's state as a worker's answer has it."""
    now = datetime.now(UTC)
    return {
        "provider": "oauth2",
        "identity": "oauth2 client celery of https://login.example.com",
        "principal": "celery",
        "freshness": "fresh",
        "issued_at": (now - timedelta(seconds=10)).isoformat(),
        "expires_at": (now + timedelta(hours=1)).isoformat(),
        "remaining": 3600.0,
        "clock_skew": 0.0,
        "renewed_at": now.isoformat(),
        "connections": 4,
        "fetches": 3,
        "shared": 1,
        "rotations": 3,
        "failures": 0,
        "failures_in_a_row": 0,
        "invalidations": 0,
        "last_error": None,
        **changes,
    }


def answer(**changes: Any) -> dict[str, Any]:
    """Return what a worker answers that renews and consumes."""
    source = status(**changes.pop("source", {}))
    recent = {
        str(source["identity"]): [{"at": source["renewed_at"], "kind": "renewed", "error": None}]
    }
    return {"sources": [source], "queues": None, "recent": recent, **changes}


class Choir:
    """Answers every question about credentials.

    Args:
        url: The broker, by a login that does not expire.
        answers: What each worker says.
        raw: Bodies with their content type that come first, from whomever.
    """

    def __init__(
        self, url: str, answers: Mapping[str, Any], raw: Sequence[tuple[bytes, str]] = ()
    ) -> None:
        """Prepare; nothing is answered before the block."""
        self._url = url
        self._answers = answers
        self._raw = raw
        self.questions = 0
        self._over = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._sing, daemon=True)

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        """Fall silent."""
        self._over.set()
        self._thread.join(20)

    def _sing(self) -> None:
        control = Exchange("celery.pidbox", type="fanout", durable=False, delivery_mode="transient")
        with kombu.Connection(self._url, transport="pyamqp") as connection:
            channel = connection.default_channel
            queue = Queue("choir.pidbox", exchange=control, exclusive=True, auto_delete=True)
            with Consumer(channel, [queue], callbacks=[self._reply], no_ack=True):
                self._producer = kombu.Producer(channel)
                self._ready.set()
                while not self._over.is_set():
                    with contextlib.suppress(TimeoutError):
                        connection.drain_events(timeout=0.1)

    def _reply(self, body: Mapping[str, Any], _: Any) -> None:
        self.questions += 1
        where = {
            "exchange": body["reply_to"]["exchange"],
            "routing_key": body["reply_to"]["routing_key"],
            "headers": {"ticket": body["ticket"]},
        }
        for content, kind in self._raw:
            self._producer.publish(content, content_type=kind, content_encoding="binary", **where)
        for name, said in self._answers.items():
            text = json.dumps({name: said})
            self._producer.publish(text, content_type="application/json", **where)
