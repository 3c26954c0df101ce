"""Topics that are to be made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka.admin import NewTopic

from mqauth.errors import ConfigurationError


def new_topic(name: str, options: Mapping[str, Any]) -> NewTopic:
    """Return a topic as the transport options want it.

    Args:
        name: Its name.
        options: As Celery's `broker_transport_options`.

    Raises:
        ConfigurationError: They hold what librdkafka does not take.
    """
    try:
        return NewTopic(
            name,
            num_partitions=options.get("num_partitions", 1),
            replication_factor=options.get("replication_factor", 1),
            config=options.get("topic_config", {}),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"a topic cannot be made as the transport options say: {error}",
            remedy="give num_partitions and replication_factor as numbers, topic_config as a "
            "mapping of strings",
        ) from None
