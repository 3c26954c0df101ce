"""Publishing one message, and waiting for what the broker says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException

_PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})  # noqa: SLF001 - librdkafka's names


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """What became of a message.

    Attributes:
        refused: Why librdkafka did not even take it; empty if it did.
        told: Whether librdkafka has said what became of it.
        error: The `KafkaError` for which the broker does not have it, or None.
        message: The message with its place in the topic, or None.
    """

    refused: str = ""
    told: bool = False
    error: Any = None
    message: Any = None


def deliver(producer: Any, topic: str, text: bytes, limit: float) -> Delivery:
    """Publish a message; wait `limit` seconds at most, after which it is not sent any more.

    It raises nothing, since an error keeps the variables of its frames: for as long as somebody
    has the error, the producer would live and try on, however closed its channel is. Callers do
    not keep the producer in a variable either.
    """
    told: list[tuple[Any, Any]] = []
    try:
        producer.produce(topic, text, on_delivery=lambda *of_it: told.append(of_it))
    except KafkaException as error:
        return Delivery(refused=error.args[0].str(), error=error.args[0])
    except BufferError as error:
        return Delivery(refused=str(error))
    producer.flush(limit)
    if not told:
        # Or librdkafka would send it later, when nobody counts on it and somebody has sent another.
        producer.purge()
        producer.poll(0)
    # What the broker confirmed at the last moment was published, and must not be sent again.
    failure, message = told[0] if told else (None, None)
    if not told or (failure is not None and failure.code() in _PURGED):
        return Delivery()
    return Delivery(told=True, error=failure, message=message)
