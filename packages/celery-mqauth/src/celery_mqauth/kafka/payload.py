"""Messages as Kombu writes them, and those that somebody else has put into a topic."""

from __future__ import annotations

from typing import Any

from kombu.utils.json import loads

from celery_mqauth.kafka.qos import Message


def payload_of(record: Any, channel: Any) -> dict[str, Any] | None:
    """Return what Kombu makes its message of, or None if nothing can be made of it.

    Args:
        record: librdkafka's message.
        channel: Where it has come.
    """
    place = {
        "topic": record.topic(),
        "partition": record.partition(),
        "offset": record.offset(),
    }
    try:
        payload = {**loads(record.value()), **place}
        Message(payload, channel=channel)  # decodes it, as Kombu does where nothing catches it
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        return None
    return payload
