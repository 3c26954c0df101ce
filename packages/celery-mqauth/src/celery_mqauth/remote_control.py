"""What a worker does for itself: answer `celery inspect mqauth`, and get ready before it forks."""

from __future__ import annotations

import logging
from typing import Any

from celery.signals import worker_init
from celery.worker.control import inspect_command

from celery_mqauth import worker_heartbeats
from celery_mqauth.endpoints import source_for
from celery_mqauth.registration import SCHEMES
from mqauth.errors import MQAuthError
from mqauth.history import history
from mqauth.shared import shared_sources

logger = logging.getLogger(__name__)

history.start()


@inspect_command()
def mqauth(state: Any) -> dict[str, Any]:
    """State of the broker credentials: provider, expiry, rotations, failures; no secrets."""
    found = [source.status() for source in shared_sources()]
    return {
        "sources": [status.as_dict() for status in found],
        "queues": _queues(state),
        "recent": {
            status.identity: [each.as_dict() for each in history.of(status.identity)]
            for status in found
        },
    }


def _queues(state: Any) -> list[str]:
    """Return what the worker consumes: one that answers and consumes nothing is of no use."""
    consumer = getattr(getattr(state, "consumer", None), "task_consumer", None)
    return sorted(queue.name for queue in consumer.queues) if consumer else []


@worker_init.connect(weak=False)
def prepare(sender: Any = None, **_: Any) -> None:
    """Load in the parent what all prefork children would otherwise load one by one.

    The first of them to renew would keep the host's lock for as long as that takes.
    """
    worker_heartbeats.expect_in(sender.app.conf.event_exchange)
    for connection in (sender.app.connection_for_read(), sender.app.connection_for_write()):
        if connection.transport_cls not in SCHEMES:
            continue
        try:
            source_for(connection).source.prepare()
        except MQAuthError as error:
            # Connecting meets the same, and knows what to do about it.
            logger.debug("nothing prepared: %s", error)
