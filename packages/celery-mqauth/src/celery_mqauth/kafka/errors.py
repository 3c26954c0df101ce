"""What a Kafka client reports, in the classes that Kombu and Celery act on.

To those of `celery_mqauth.errors` it adds:

amqp.RecoverableConnectionError
 └─ NotConfirmedError     the broker has not confirmed a message in time
amqp.AccessRefused
 ├─ MechanismError        the listener takes no OAUTHBEARER (a LoginRefusedError as well)
 └─ NotAuthorizedError    the broker does not let this principal do that; a worker stops
amqp.PreconditionFailed
 └─ NotAcceptedError      no attempt would do: the message is too large, or no such topic can be

All of them are `mqauth.MQAuthError` too: one line, cause and remedy, no secret.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable
from typing import Any

import amqp
from confluent_kafka import KafkaError

from celery_mqauth.errors import (
    BrokerUnreachableError,
    CredentialRefusedError,
    CredentialUnavailableError,
    LoginRefusedError,
    OneLineError,
)
from celery_mqauth.kafka.endpoints import KafkaLink
from mqauth.errors import ConfigurationError, MQAuthError

logger = logging.getLogger(__name__)

NOT_ALLOWED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "consumer group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "cluster",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "transactional id",
}
"""Codes by which a broker says that a principal may not do something with what."""

NO_SUCH_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})  # noqa: SLF001 - librdkafka's name
"""Codes by which the broker, or librdkafka by itself, says that there is no such topic."""

_TOO_LARGE = (
    "send less, such as a reference to it; or raise message.max.bytes in kafka_producer_config and "
    "the topic's max.message.bytes"
)
_NOT_ACCEPTED = {
    KafkaError.MSG_SIZE_TOO_LARGE: _TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE: _TOO_LARGE,
    KafkaError.TOPIC_EXCEPTION: "name the queue with at most 249 letters, digits, '.', '_' or '-'",
    KafkaError.INVALID_PARTITIONS: "correct num_partitions in the transport options",
    KafkaError.INVALID_REPLICATION_FACTOR: "correct replication_factor in the transport options: "
    "at most as many as there are brokers",
    KafkaError.INVALID_CONFIG: "correct topic_config in the transport options",
}
"""Codes by which the broker, or librdkafka by itself, refuses for good, with their remedies."""

SIGN_IN_CODES = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})  # noqa: SLF001 - librdkafka's name for it
TLS_CODES = frozenset({KafkaError._SSL})  # noqa: SLF001 - the same
ALL_DOWN = KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001 - the same
_CUT_OFF = KafkaError._TRANSPORT  # noqa: SLF001 - the same
_PASSING = frozenset({_CUT_OFF, ALL_DOWN})
_SAY_AGAIN_AFTER = 60.0


class NotConfirmedError(OneLineError, amqp.RecoverableConnectionError):
    """The broker has not confirmed a message: it may have it, or not."""

    retryable = True


class NotAuthorizedError(OneLineError, amqp.AccessRefused):
    """The broker does not let this principal do that."""


class NotAcceptedError(OneLineError, amqp.PreconditionFailed):
    """Kafka takes no such message, or makes no such topic: another attempt changes nothing."""


class MechanismError(LoginRefusedError):
    """The broker's listener takes no OAUTHBEARER: another token changes nothing."""


class ClientReports:
    """What a client's `error_cb` has been told; what is repeated is logged once a minute.

    Args:
        also: A callback of the user's own.
    """

    def __init__(self, also: Callable[[Any], Any] | None = None) -> None:
        """Know of nothing yet."""
        self._also = also
        self._latest: dict[int, tuple[float, str]] = {}
        self._said: dict[int, float] = {}

    def __call__(self, error: Any) -> None:
        """Take a report (called by librdkafka from poll and flush)."""
        now = time.monotonic()
        code, text = error.code(), error.str()
        if code in SIGN_IN_CODES and "Local: " in text:
            code = _CUT_OFF  # in the midst of it, which is no refusal
        self._latest[code] = (now, text)
        if now - self._said.get(code, -math.inf) >= _SAY_AGAIN_AFTER:
            self._said[code] = now
            # Brokers end idle links, and librdkafka opens them again when it needs them.
            level = logging.INFO if code in _PASSING else logging.WARNING
            logger.log(level, "Kafka client: %s", text)
        if self._also is not None:
            self._also(error)

    def clear(self) -> None:
        """Forget what lies behind."""
        self._latest.clear()

    def text(self, *codes: int) -> str | None:
        """Return what was said last of one of `codes`."""
        found = [self._latest[code] for code in codes if code in self._latest]
        return max(found)[1] if found else None

    def newest(self) -> str | None:
        """Return what was said last; that all is down comes after why."""
        return self.text(*(self._latest.keys() - {ALL_DOWN})) or self.text(ALL_DOWN)


def cause_of(
    reports: ClientReports,
    link: KafkaLink,
    *,
    failure: MQAuthError | None,
    known: bool,
    otherwise: str,
) -> MQAuthError:
    """Return why a client has got nowhere.

    Args:
        reports: What it said.
        link: Where it was to go.
        failure: Why there was no token, if there was none.
        known: Whether this identity has signed in to these servers before.
        otherwise: What is known beside the reports.
    """
    if failure is not None:
        if isinstance(failure, ConfigurationError) and not known:
            return failure
        return CredentialUnavailableError(
            f"no credential to sign in with: {failure.message}", remedy=failure.remedy
        )
    said = reports.text(*SIGN_IN_CODES)
    if said is not None:
        return _not_signed_in(_without_prefix(said), link, known=known)
    said = reports.newest() or otherwise
    if reports.text(*TLS_CODES) is not None or "SSL handshake failed" in said:
        return _no_tls(_without_prefix(reports.text(*TLS_CODES) or said), link)
    tls = "" if link.tls else "; a TLS port wants mqauths-kafka://"
    return BrokerUnreachableError(
        f"no connection to Kafka at {link}: {_without_prefix(said)}",
        remedy=f"check host, port, firewall and that the broker runs{tls}",
    )


def not_authorized(error: Any, what: str, link: KafkaLink) -> NotAuthorizedError:
    """Return the error for an operation that the broker does not allow.

    Args:
        error: A `KafkaError` of one of the codes in `NOT_ALLOWED`.
        what: Name of the topic or group.
        link: Where it happened.
    """
    kind = NOT_ALLOWED[error.code()]
    who = link.source.current.principal if link.source.current else None
    return NotAuthorizedError(
        f"Kafka at {link} does not let {who or link.source.provider.identity} use the {kind} "
        f"{what!r}: {error.str()}",
        remedy="allow it with an ACL (Amazon MSK: with kafka-cluster actions of the role's policy)",
    )


def not_accepted(error: Any, topic: str, link: KafkaLink) -> NotAcceptedError | None:
    """Return the error for what Kafka refuses for good, or None if another attempt may do.

    Args:
        error: A `KafkaError`, or None.
        topic: What it is about.
        link: Where it happened.
    """
    remedy = _NOT_ACCEPTED.get(error.code()) if error is not None else None
    if remedy is None:
        return None
    return NotAcceptedError(
        f"Kafka at {link} does not accept this for the topic {topic!r}: {error.str()}",
        remedy=remedy,
    )


def _not_signed_in(said: str, link: KafkaLink, *, known: bool) -> MQAuthError:
    if "not valid in current SASL state" in said:
        return MechanismError(
            f"Kafka at {link} does not speak SASL there, so that nobody can sign in",
            remedy="connect to a listener with SASL and OAUTHBEARER (Amazon MSK with IAM: port "
            "9098)",
        )
    offered = re.search(r"supported mechanisms: *([\w-]+(?:, *[\w-]+)*)", said)
    if offered or "Unsupported SASL mechanism" in said:
        what = offered[1] if offered else "others"
        return MechanismError(
            f"Kafka at {link} does not take OAUTHBEARER there, but {what}",
            remedy="connect to a listener with OAUTHBEARER (Amazon MSK with IAM: port 9098)",
        )
    identity = link.source.provider.identity
    if known:
        return CredentialRefusedError(
            f"Kafka at {link} refused {identity}, which it has accepted before: {said}",
            remedy="the broker's log has the reason; can it still reach the issuer's keys?",
        )
    own: str | None = getattr(link.source.provider, "login_remedy", None)
    return LoginRefusedError(
        f"Kafka at {link} refused the login of {identity}: {said}",
        remedy="the broker's log has the reason: "
        + (own or "check issuer, audience and signing key"),
    )


def _no_tls(said: str, link: KafkaLink) -> MQAuthError:
    if "certificate" in said:
        return BrokerUnreachableError(
            f"the certificate of Kafka at {link} is not to be trusted: {said}",
            remedy='name its CA with broker_use_ssl={"ca_certs": ...} or SSL_CERT_FILE, and '
            "connect to a name that it bears",
        )
    return BrokerUnreachableError(
        f"no TLS with Kafka at {link}: {said}",
        remedy="is this the TLS port? Amazon MSK's for IAM is 9098",
    )


def _without_prefix(said: str) -> str:
    """Return a report without its thread and broker, which stand in the message already."""
    return re.sub(r"^(\[thrd:[^\]]*\]: )?(sasl_\w+://\S+: )?", "", said)
