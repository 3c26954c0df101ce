"""Kafka's part of a diagnosis: from the address over the login to what may be done with a topic.

`links_of` goes on where the links of the provider end (see `mqauth.links`).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from celery_mqauth.errors import BrokerUnreachableError
from celery_mqauth.kafka.endpoints import KafkaLink, link_of
from celery_mqauth.kafka.errors import NOT_ALLOWED, NotAuthorizedError, not_authorized
from celery_mqauth.kafka.login import sign_in
from celery_mqauth.kafka.token import TokenCallback
from mqauth.errors import MQAuthError
from mqauth.links import Link

_ON_TOPIC = (AclOperation.READ, AclOperation.WRITE)
_ON_GROUP = (AclOperation.READ,)
_SILENT = 2


def links_of(connection: Any, *, topics: Sequence[str] = ()) -> list[Link]:
    """Return what a Kombu connection to Kafka stands on, besides its credential.

    Args:
        connection: A `kombu.Connection` of one of our Kafka schemes; it is not opened.
        topics: Topics that must be readable and writable, with their consumers' groups.

    Raises:
        ConfigurationError: What the user wrote cannot work.
    """
    visit = _Visit(link_of(connection, connection.transport.default_port))
    return [
        Link(name="address", look=visit.address),
        Link(name="login", look=visit.login),
        *(Link(name=f"topic {name}", look=partial(visit.topic, name)) for name in topics),
    ]


class _Visit:
    """What the links have in common: one client, which the login makes."""

    def __init__(self, link: KafkaLink) -> None:
        self._link = link
        self._token = TokenCallback(link.source)
        self._client: AdminClient | None = None

    def address(self, timeout: float) -> str:
        deadline, failures = time.monotonic() + timeout, []
        for server in self._link.servers:
            host, _, port = server.rpartition(":")
            left = max(0.1, deadline - time.monotonic())
            try:
                socket.create_connection((host.strip("[]"), int(port)), left).close()
            except OSError as error:
                failures.append(f"{server}: {error.strerror or error}")
            else:
                return f"{server} answers"
        raise BrokerUnreachableError(
            f"no bootstrap server answers: {'; '.join(failures)}",
            remedy="check host, port, firewall and that the broker runs",
        )

    def login(self, timeout: float) -> str:
        settings = {"log_level": _SILENT, **self._link.settings, "oauth_cb": self._token}
        self._client = sign_in(self._link, self._token, settings, timeout)
        brokers = self._client.list_topics(timeout=timeout).brokers
        who = self._link.source.current
        named = (who.principal if who else None) or self._link.source.provider.identity
        return f"signed in as {named}, {len(brokers)} broker{'s' * (len(brokers) != 1)}"

    def topic(self, name: str, timeout: float) -> str:
        if self._client is None:
            self.login(timeout)
        client: Any = self._client
        found = self._asked(
            client.describe_topics(
                TopicCollection([name]),
                include_authorized_operations=True,
                request_timeout=timeout,
            )[name],
            name,
            timeout,
        )
        self._check(found.authorized_operations, _ON_TOPIC, f"topic {name!r}")
        group = f"{name}-consumer-group"
        described = client.describe_consumer_groups(
            [group], include_authorized_operations=True, request_timeout=timeout
        )[group]
        members = self._asked(described, group, timeout)
        self._check(members.authorized_operations, _ON_GROUP, f"consumer group {group!r}")
        count = len(found.partitions)
        return f"{count} partition{'s' * (count != 1)}, may be read and written"

    def _asked(self, future: Any, name: str, timeout: float) -> Any:
        failure: MQAuthError
        try:
            return future.result(timeout)
        except KafkaException as raised:
            error = raised.args[0]
            if error.code() in NOT_ALLOWED:
                failure = not_authorized(error, name, self._link)
            else:
                failure = BrokerUnreachableError(
                    f"Kafka at {self._link} tells nothing about {name!r}: {error.str()}",
                    remedy="create the topic, or let the worker do so",
                )
        raise failure

    def _check(self, allowed: Any, wanted: Sequence[AclOperation], what: str) -> None:
        if allowed is None or AclOperation.ALL in allowed:
            return
        missing = [operation.name for operation in wanted if operation not in allowed]
        if missing:
            raise NotAuthorizedError(
                f"Kafka at {self._link} does not allow {' and '.join(missing)} on the {what}",
                remedy="allow it with an ACL (Amazon MSK: kafka-cluster actions of the role's "
                "policy)",
            )
