"""Opening the first client of a channel: bounded, one retry with a fresh token, a named cause."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from celery_mqauth.errors import (
    CredentialRefusedError,
    CredentialUnavailableError,
    LoginRefusedError,
)
from celery_mqauth.kafka.clients import new_client
from celery_mqauth.kafka.endpoints import KafkaLink, check_loopback
from celery_mqauth.kafka.errors import (
    ALL_DOWN,
    SIGN_IN_CODES,
    TLS_CODES,
    ClientReports,
    MechanismError,
    cause_of,
)
from celery_mqauth.kafka.token import TokenCallback, check_bearer
from mqauth.errors import ConfigurationError, InsecureTransportError, MQAuthError

_FIRST_LOOK = 0.5
_LONGEST_LOOK = 4.0
_DOWN_LIMIT = 3.0

_has_signed_in: set[tuple[str, str]] = set()


def sign_in(
    link: KafkaLink, token: TokenCallback, settings: Mapping[str, Any], limit: float
) -> AdminClient:
    """Return an admin client whose first request the broker has answered.

    A refused token is thrown away and fetched anew once, as it may have been revoked or the issuer
    may have changed its keys.

    Args:
        link: Where to.
        token: What librdkafka gets its token from.
        settings: Those of librdkafka, `oauth_cb` included.
        limit: Seconds for each of the two attempts.

    Raises:
        ConfigurationError: Something that the user wrote cannot work.
        CredentialUnavailableError: There is no token.
        LoginRefusedError: The broker refuses a first login twice, or takes no OAUTHBEARER.
        CredentialRefusedError: The same, though it has accepted the identity before.
        BrokerUnreachableError: There is no (trusted) link to a broker.
    """
    _first_token(link)
    try:
        client = _connected(link, token, settings, limit)
    except MechanismError:
        raise
    except (LoginRefusedError, CredentialRefusedError):
        refused = token.given
        if refused is None:
            raise
        link.source.invalidate(refused)
        if _first_token(link) == refused.password:
            raise
        client = _connected(link, token, settings, limit)
    _has_signed_in.add(_key(link))
    return client


def has_signed_in(link: KafkaLink) -> bool:
    """Return whether this identity has signed in to these servers before."""
    return _key(link) in _has_signed_in


def _key(link: KafkaLink) -> tuple[str, str]:
    return link.source.provider.identity, str(link)


def _first_token(link: KafkaLink) -> Any:
    """Have a token at hand before librdkafka asks, as only here a failure reaches the caller."""
    try:
        credentials = link.source.get()
    except MQAuthError as error:
        if isinstance(error, ConfigurationError) and not has_signed_in(link):
            raise
        raise CredentialUnavailableError(
            f"no credential to sign in with: {error.message}", remedy=error.remedy
        ) from error
    check_bearer(credentials)
    return credentials.password


def _connected(
    link: KafkaLink, token: TokenCallback, settings: Mapping[str, Any], limit: float
) -> AdminClient:
    reports = ClientReports()
    client = new_client(AdminClient, {**settings, "error_cb": reports})
    deadline, look = time.monotonic() + limit, _FIRST_LOOK
    while (left := deadline - time.monotonic()) > 0:
        try:
            metadata = client.list_topics(timeout=min(look, left))
        except KafkaException:
            client.poll(0)  # has librdkafka tell the reports
        else:
            elsewhere = _in_clear(link, metadata.brokers.values())
            if elsewhere is None:
                return client
            del client
            raise elsewhere
        if token.failure is not None or reports.text(*SIGN_IN_CODES, *TLS_CODES):
            break  # librdkafka would try on and on
        if reports.text(ALL_DOWN) and limit - left > _DOWN_LIMIT:
            break  # when to try again is the business of Kombu and Celery
        look = min(look * 2, _LONGEST_LOOK)
    # Not to live on in the frames of the error, trying.
    del client
    raise cause_of(
        reports,
        link,
        failure=token.failure,
        known=has_signed_in(link),
        otherwise=f"no answer within {limit:g} s",
    )


def _in_clear(link: KafkaLink, brokers: Any) -> InsecureTransportError | None:
    """Return what speaks against the brokers that the first one names: clients go on to them."""
    try:
        if not link.tls and not link.insecure:
            for broker in brokers:
                check_loopback(broker.host)
    except InsecureTransportError as error:
        return error.with_traceback(None)
    return None
