"""Kafka's links of a diagnosis: TCP, TLS, login, and what may be done with each topic.

Nothing is left behind: topics are described, not written; what is not there yet is not made, but
the broker is asked whether it might be.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, NewTopic

from celery_mqauth.errors import BrokerUnreachableError
from celery_mqauth.kafka.endpoints import KafkaLink, verifies
from celery_mqauth.kafka.errors import NOT_ALLOWED, NotAuthorizedError, not_authorized
from celery_mqauth.kafka.login import sign_in
from celery_mqauth.kafka.token import TokenCallback
from mqauth.diagnosis.findings import BrokenLinkError
from mqauth.diagnosis.network import connect, context, secure
from mqauth.diagnosis.target import TopicUse
from mqauth.errors import MQAuthError
from mqauth.links import Link

_WHAT = "Kafka"
_SILENT = 2
_PORTS = "Amazon MSK's for IAM is 9098"
_NAME_ITS_CA = 'name the authority that signs it: --ca-file, or "ca_certs" in broker_use_ssl'
_REMEDY = "allow it with an ACL (Amazon MSK: kafka-cluster actions of the role's policy)"
_NO_SUCH_TOPIC = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}  # noqa: SLF001 - librdkafka's
)


class Visit:
    """What the links have in common: a connection, then a client.

    Args:
        link: Where to, and with which token.
        options: As Celery's `broker_transport_options`.
    """

    def __init__(self, link: KafkaLink, options: Mapping[str, Any]) -> None:
        """Connect nowhere yet."""
        self._link = link
        self._options = options
        self._token = TokenCallback(link.source)
        self._socket: Any = None
        self._at = ""
        self._client: AdminClient | None = None

    def links(self, topics: Sequence[TopicUse]) -> list[Link]:
        """Return the links, each of which stands on those before it."""
        return [
            Link(name="broker", look=self.reach),
            *([Link(name="tls", look=self.secure)] if self._link.tls else []),
            Link(name="login", look=self.sign_in),
            *(Link(name=f"topic {use.name}", look=partial(self.topic, use)) for use in topics),
        ]

    def close(self) -> None:
        """Leave."""
        if self._socket is not None:
            self._socket.close()
        self._socket = self._client = None

    def reach(self, timeout: float) -> str:
        """Open a TCP connection to the first bootstrap server that takes one."""
        deadline, failures = time.monotonic() + timeout, []
        for server in self._link.servers:
            host, _, port = server.rpartition(":")
            left = max(0.1, deadline - time.monotonic())
            try:
                self._socket = connect(_WHAT, host.strip("[]"), int(port), left)
            except BrokenLinkError as error:
                failures.append(error)
                continue
            self._at = host.strip("[]")
            silent = "".join(f"; but {failure.message}" for failure in failures)
            return f"{server} answers{silent}"
        if len(failures) == 1:
            raise failures[0]
        raise BrokenLinkError(
            f"no bootstrap server answers: {'; '.join(one.message for one in failures)}",
            remedy=failures[0].remedy or "check host, port and firewall",
        )

    def secure(self, timeout: float) -> str:
        """Begin TLS there."""
        given = self._link.settings
        settings = context(_WHAT, given.get("ssl.ca.location"))
        if not verifies(given):
            settings.check_hostname, settings.verify_mode = False, ssl.CERT_NONE
        self._socket.settimeout(timeout)
        secured = secure(_WHAT, self._socket, self._at, settings, _NAME_ITS_CA, ports=_PORTS)
        self._socket = secured
        return f"{secured.version()}, certificate of {self._at}"

    def sign_in(self, timeout: float) -> str:
        """Sign in as an app does, by librdkafka."""
        with contextlib.suppress(OSError):
            self._socket.close()
        settings = {
            **self._given("kafka_common_config"),
            **self._link.settings,
            **self._given("kafka_admin_config"),
            "log_level": _SILENT,
            "oauth_cb": self._token,
        }
        self._client = sign_in(self._link, self._token, settings, timeout)
        brokers = self._client.list_topics(timeout=timeout).brokers
        who = self._link.source.current
        named = (who.principal if who else None) or self._link.source.provider.identity
        return f"as {named}, {len(brokers)} broker{'s' * (len(brokers) != 1)}"

    def topic(self, use: TopicUse, timeout: float) -> str:
        """Look at what may be done with a topic and with its consumers' group."""
        client: Any = self._client
        described = client.describe_topics(
            TopicCollection([use.name]),
            include_authorized_operations=True,
            request_timeout=timeout,
        )[use.name]
        found = self._asked(described, use.name, timeout)
        if found is None:
            return self._may_be_made(use.name, timeout)
        wanted = [
            *([AclOperation.READ] if use.read else []),
            *([AclOperation.WRITE] if use.write else []),
        ]
        told = self._check(found.authorized_operations, wanted, f"topic {use.name!r}")
        if use.read:
            group = str(
                self._given("kafka_consumer_config").get("group.id") or f"{use.name}-consumer-group"
            )
            described = client.describe_consumer_groups(
                [group], include_authorized_operations=True, request_timeout=timeout
            )[group]
            members = self._asked(described, group, timeout)
            self._check(
                members.authorized_operations, [AclOperation.READ], f"consumer group {group!r}"
            )
        count = len(found.partitions)
        return f"{count} partition{'s' * (count != 1)}, {told}"

    def _may_be_made(self, name: str, timeout: float) -> str:
        wanted = NewTopic(
            name,
            num_partitions=self._options.get("num_partitions", 1),
            replication_factor=self._options.get("replication_factor", 1),
            config=self._options.get("topic_config", {}),
        )
        client: Any = self._client
        made = client.create_topics([wanted], request_timeout=timeout, validate_only=True)[name]
        self._asked(made, name, timeout)
        return "not there yet; may be created, and what else is allowed shows only then"

    def _asked(self, future: Any, name: str, timeout: float) -> Any:
        """Return an answer; None for a topic that is not there."""
        failure: MQAuthError
        try:
            return future.result(timeout)
        except KafkaException as raised:
            error = raised.args[0]
            if error.code() in _NO_SUCH_TOPIC:
                return None
            if error.code() in NOT_ALLOWED:
                failure = not_authorized(error, name, self._link)
            else:
                failure = BrokerUnreachableError(
                    f"Kafka at {self._link} tells nothing about {name!r}: {error.str()}",
                    remedy="see the broker's log",
                )
        except TimeoutError:
            failure = BrokerUnreachableError(
                f"Kafka at {self._link} told nothing about {name!r} within {timeout:g} s",
                remedy="check the broker's load, and whether its other nodes can be reached",
            )
        raise failure

    def _check(self, allowed: Any, wanted: Sequence[AclOperation], what: str) -> str:
        if allowed is None:
            return "and the broker does not tell what is allowed"
        missing = [one.name for one in wanted if one not in allowed]
        if missing and AclOperation.ALL not in allowed:
            raise NotAuthorizedError(
                f"Kafka at {self._link} does not allow {' and '.join(missing)} on the {what}",
                remedy=_REMEDY,
            )
        return f"{' and '.join(one.name for one in wanted)} allowed"

    def _given(self, name: str) -> dict[str, Any]:
        return dict(self._options.get(name) or {})
