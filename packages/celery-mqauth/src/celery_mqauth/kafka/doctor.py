"""Kafka's links of a diagnosis: TCP, TLS, login, and what may be done with each topic.

Nothing is left behind: topics are described, not written; what is not there yet is not made, but
the broker is asked whether it might be.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from celery_mqauth.errors import BrokerUnreachableError
from celery_mqauth.kafka.endpoints import KafkaLink, names, verifies
from celery_mqauth.kafka.errors import (
    NO_SUCH_TOPIC,
    NOT_ALLOWED,
    NotAuthorizedError,
    not_authorized,
)
from celery_mqauth.kafka.login import sign_in
from celery_mqauth.kafka.settings import common_settings, given
from celery_mqauth.kafka.token import TokenCallback
from celery_mqauth.kafka.topics import new_topic
from mqauth.credentials import ClientCertificate
from mqauth.diagnosis.findings import BrokenLinkError
from mqauth.diagnosis.network import connect, context, secure
from mqauth.diagnosis.target import TopicUse
from mqauth.errors import ConfigurationError, MQAuthError
from mqauth.links import Link

_WHAT = "Kafka"
_CERTIFICATE_ELSEWHERE = ("ssl.keystore.location", "ssl.certificate.pem", "ssl.key.pem")
_PORTS = "Amazon MSK's for IAM is 9098"
_NAME_ITS_CA = 'name the authority that signs it: --ca-file, or "ca_certs" in broker_use_ssl'
_REMEDY = "allow it with an ACL (Amazon MSK: kafka-cluster actions of the role's policy)"


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
        settings = self._settings
        if any(settings.get(name) for name in _CERTIFICATE_ELSEWHERE):
            return "left to librdkafka, which alone reads this client's certificate"
        trust = context(
            _WHAT,
            settings.get("ssl.ca.location"),
            _certificate(settings),
            settings.get("ssl.key.password"),
        )
        if not verifies(settings):
            trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        elif not names(settings):
            trust.check_hostname = False
        self._socket.settimeout(timeout)
        secured = secure(_WHAT, self._socket, self._at, trust, _NAME_ITS_CA, ports=_PORTS)
        self._socket = secured
        return f"{secured.version()}, certificate of {self._at}"

    def sign_in(self, timeout: float) -> str:
        """Sign in as an app does, by librdkafka."""
        with contextlib.suppress(OSError):
            self._socket.close()
        self._client = sign_in(self._link, self._token, self._settings, timeout)
        try:
            brokers = self._client.list_topics(timeout=timeout).brokers
        except KafkaException as error:
            raise BrokerUnreachableError(
                f"Kafka at {self._link} took the login and then did not answer: "
                f"{error.args[0].str()}",
                remedy="check the broker's load, and whether its other nodes can be reached",
            ) from None
        who = self._link.source.current
        named = (who.principal if who else None) or self._link.source.provider.identity
        return f"as {named}, {len(brokers)} broker{'s' * (len(brokers) != 1)}"

    def topic(self, use: TopicUse, timeout: float) -> str:
        """Look at what may be done with a topic and with its consumers' group."""
        client: Any = self._client
        found = self._asked(
            lambda: client.describe_topics(
                TopicCollection([use.name]),
                include_authorized_operations=True,
                request_timeout=timeout,
            ),
            use.name,
            timeout,
        )
        if found is None:
            return self._may_be_made(use.name, timeout)
        wanted = [
            *([AclOperation.READ] if use.read else []),
            *([AclOperation.WRITE] if use.write else []),
        ]
        told = self._check(found.authorized_operations, wanted, f"topic {use.name!r}")
        if use.read:
            said = given(self._options, "kafka_consumer_config").get("group.id")
            group = str(said or f"{use.name}-consumer-group")
            members = self._asked(
                lambda: client.describe_consumer_groups(
                    [group], include_authorized_operations=True, request_timeout=timeout
                ),
                group,
                timeout,
            )
            self._check(
                members.authorized_operations, [AclOperation.READ], f"consumer group {group!r}"
            )
        count = len(found.partitions)
        return f"{count} partition{'s' * (count != 1)}, {told}"

    def _may_be_made(self, name: str, timeout: float) -> str:
        wanted = new_topic(name, self._options)
        client: Any = self._client
        self._asked(
            lambda: client.create_topics([wanted], request_timeout=timeout, validate_only=True),
            name,
            timeout,
        )
        return "not there yet; may be created, and what else is allowed shows only then"

    def _asked(self, ask: Callable[[], Mapping[str, Any]], name: str, timeout: float) -> Any:
        """Return the answer about a name; None for a topic that is not there."""
        failure: MQAuthError
        try:
            return ask()[name].result(timeout)
        except KafkaException as raised:
            error = raised.args[0]
            if error.code() in NO_SUCH_TOPIC:
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
        except (TypeError, ValueError) as error:
            failure = ConfigurationError(
                f"Kafka cannot be asked about {name!r}: {error}",
                remedy="correct the name, and the transport options for new topics",
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

    @property
    def _settings(self) -> dict[str, Any]:
        """Those of an app's admin client, but silent: the findings say it."""
        settings = common_settings(self._link, self._token, self._options)
        return {**settings, **given(self._options, "kafka_admin_config"), "log_level": 2}


def _certificate(settings: Mapping[str, Any]) -> ClientCertificate | None:
    """Return the certificate that a listener with `ssl.client.auth` asks for."""
    certificate, key = (settings.get(f"ssl.{name}.location") for name in ("certificate", "key"))
    if not certificate:
        return None
    return ClientCertificate(
        certificate_file=Path(certificate), private_key_file=Path(key) if key else None
    )
