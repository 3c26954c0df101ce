"""librdkafka's clients, which a forked process can neither use nor end.

A fork has none of the threads that a client is made of: whoever calls it there waits for ever, and
whoever frees it brings the process down. So every client that a process inherits is kept as it is
until that process ends, past the end of the interpreter, which would free it too.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import confluent_kafka
from confluent_kafka import KafkaException

from celery_mqauth.kafka.token import TokenCallback
from mqauth import forks
from mqauth.errors import ConfigurationError

logger = logging.getLogger(__name__)

librdkafka = logging.getLogger("celery_mqauth.kafka.librdkafka")
"""Where librdkafka's own lines go, which it would write on stderr."""

CLOSE_LIMIT = 5.0
"""Seconds for consumers to commit and to leave their groups."""

_Client = TypeVar("_Client")


class Producer(confluent_kafka.Producer):
    """A producer that can be referred to weakly, which one in C cannot."""


class Consumer(confluent_kafka.Consumer):
    """A consumer that can be referred to weakly."""


def new_client(make: Callable[[dict[str, Any]], _Client], settings: Mapping[str, Any]) -> _Client:
    """Return a client of librdkafka, which forked processes leave alone.

    Args:
        make: `Producer` or `Consumer` of this module, or `AdminClient`.
        settings: Those of librdkafka.

    Raises:
        ConfigurationError: It does not take the settings.
    """
    try:
        client = make({"logger": librdkafka, **settings})
    except (KafkaException, ValueError, TypeError) as error:
        reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        raise ConfigurationError(
            f"librdkafka does not take the settings: {reason}",
            remedy="correct kafka_common_config, kafka_producer_config, kafka_consumer_config or "
            "kafka_admin_config",
        ) from None
    forks.after_in_child(client, _keep_for_ever)
    return client


def _keep_for_ever(client: object) -> None:
    # A reference that nobody gives back: one in a module ends with the interpreter.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(client))


def close_within(limit: float, consumers: Iterable[Any], token: TokenCallback) -> None:
    """Close consumers at the same time, and leave those behind that wait for a broker.

    librdkafka sends a commit again for as long as nobody answers it, and ends no consumer before.
    One that is left behind ends when its broker is back and it has signed in there.

    Args:
        limit: Seconds to wait at most.
        consumers: Those to close.
        token: What they sign in with: they keep it for as long as they last.
    """
    closing = []
    for consumer in consumers:
        name = "mqauth-kafka-close"
        thread = threading.Thread(target=_close, args=(consumer, token), name=name, daemon=True)
        token.lend(consumer)
        try:
            thread.start()
        except BaseException as error:
            if thread.ident is None:
                token.give_back(consumer)
            if not isinstance(error, RuntimeError):
                raise
            logger.warning("a consumer of Kafka is left to its session's end: %s", error)
        else:
            closing.append(thread)
    deadline = time.monotonic() + limit
    for thread in closing:
        thread.join(max(0.0, deadline - time.monotonic()))


def _close(consumer: Any, token: TokenCallback) -> None:
    try:
        with contextlib.suppress(KafkaException, RuntimeError):
            consumer.close()
    finally:
        token.give_back(consumer)
