"""The transports behind `mqauth-kafka://` and `mqauths-kafka://`; the package says more."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import amqp
from confluent_kafka import KafkaException
from kombu.transport import confluentkafka

from celery_mqauth.endpoints import hide_inline_secrets, without_secrets_shown
from celery_mqauth.kafka.channel import Channel
from celery_mqauth.kafka.endpoints import KafkaLink, link_of
from celery_mqauth.kafka.probe import probe


class Transport(confluentkafka.Transport):
    """Kafka with renewed tokens, `mqauth-kafka://`."""

    Channel = Channel
    default_port = 9092
    # How long a worker pauses that has as many messages as it may have.
    polling_interval = 0.05

    connection_errors = (amqp.ConnectionError, KafkaException)
    recoverable_connection_errors = (amqp.RecoverableConnectionError, KafkaException)

    link: KafkaLink

    def __init__(self, client: Any, **options: Any) -> None:
        """Keep the Kombu connection that this transport serves."""
        super().__init__(client, **options)
        if "celery.worker" in sys.modules:
            # A worker that was not started by the `celery` command has not loaded it yet.
            importlib.import_module("celery_mqauth.remote_control")

    def establish_connection(self) -> Any:
        """Sign in to the broker.

        Raises:
            ConfigurationError: What the user wrote cannot work.
            amqp.AMQPError: See `celery_mqauth.errors` and `celery_mqauth.kafka.errors`.
        """
        client: Any = self.client
        hide_inline_secrets(client)
        self.link = link_of(client, self.default_port)
        client.transport_options = without_secrets_shown(
            client.transport_options, self.link.source.provider
        )
        client.hostname = client.hostname or "localhost"
        client.port = client.port or self.default_port
        return super().establish_connection()

    def probe(self, limit: float, *, topic: str | None = None) -> None:
        """Sign in once for its own sake; see `celery_mqauth.kafka.probe.probe`.

        Args:
            limit: Seconds that all of it may take.
            topic: A topic to send a message over and to read it back.
        """
        client: Any = self.client
        link = link_of(client, self.default_port)
        probe(link, limit, options=client.transport_options, topic=topic)


class SSLTransport(Transport):
    """Kafka over TLS with renewed tokens, `mqauths-kafka://`."""

    default_port = 9098

    def __init__(self, client: Any, **options: Any) -> None:
        """Switch TLS on."""
        super().__init__(client, **options)
        if not client.ssl:
            client.ssl = True
