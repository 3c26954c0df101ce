"""Kafka's end of the chain that `mqauth doctor` walks; entry point `kafka` of `mqauth.brokers`.

It is loaded, and looks at what the user wrote, before anybody knows whether Kafka's client is
installed: `doctor` is what needs that.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from celery_mqauth.kafka.client_version import CLIENT, check_client
from celery_mqauth.kafka.endpoints import KafkaLink, link_to
from celery_mqauth.kafka.token import check_bearer
from mqauth.credentials import BrokerCredentials
from mqauth.diagnosis.target import Target, TopicUse
from mqauth.errors import ConfigurationError
from mqauth.links import Link
from mqauth.provider import Provider

if TYPE_CHECKING:
    from celery_mqauth.kafka.doctor import Visit


class KafkaChain:
    """What leads from a token to topics of Kafka (a `mqauth.diagnosis.other_brokers.OtherBroker`).

    Args:
        target: The cluster.
        topics: What is to be used there.
        insecure: Whether a token may travel in clear.

    Raises:
        ConfigurationError: What the user wrote cannot work.
    """

    def __init__(self, target: Target, topics: Sequence[TopicUse], *, insecure: bool) -> None:
        """Check what the user wrote."""
        self._target, self._topics, self._insecure = target, topics, insecure
        self._visit: Visit | None = None
        self._link_with(_Nobody())

    def libraries(self) -> str:
        """Return which client library there is.

        Raises:
            ConfigurationError: It is missing, too old, or cannot be loaded.
        """
        check_client()
        try:
            client: Any = importlib.import_module("confluent_kafka")
        except ImportError as error:
            raise ConfigurationError(
                f"{CLIENT} is installed and cannot be loaded: {error}",
                remedy="install a wheel of it that fits this machine",
            ) from None
        return f"{CLIENT} {version(CLIENT)}, librdkafka {client.libversion()[0]}"

    def check_token(self, credentials: BrokerCredentials) -> None:
        """Check that a credential is a token."""
        check_bearer(credentials)

    def links(self, credentials: BrokerCredentials, provider: Provider) -> Sequence[Link]:
        """Return the links from TCP to each topic."""
        doctor: Any = importlib.import_module("celery_mqauth.kafka.doctor")
        link = self._link_with(_Fetched(credentials, provider))
        self._visit = visit = doctor.Visit(link, self._target.client)
        links: Sequence[Link] = visit.links(self._topics)
        return links

    def close(self) -> None:
        """Leave."""
        if self._visit is not None:
            self._visit.close()

    def _link_with(self, source: Any) -> KafkaLink:
        target = self._target
        tls: Any = None
        if target.tls:
            tls = {**target.ssl, **({"ca_certs": target.ca_file} if target.ca_file else {})} or True
        return link_to(
            target.servers or [(target.host, target.port)],
            source=source,
            given_tls=tls,
            options=target.client,
            insecure=self._insecure,
        )


class _Nobody:
    """Stands for tokens before there is one."""


class _Fetched:
    """Hands out the one token that was fetched for the diagnosis; has the shape of a source."""

    def __init__(self, credentials: BrokerCredentials, provider: Provider) -> None:
        self.provider = provider
        self.current: BrokerCredentials | None = credentials
        self._credentials = credentials

    def get(self) -> BrokerCredentials:
        return self._credentials

    def invalidate(self, rejected: BrokerCredentials) -> None:
        """Keep it: another one would hide what the broker says about this one."""

    def attach(self, listener: Any) -> None:
        """Count nobody."""

    def detach(self, listener: Any) -> None:
        """Count nobody."""
