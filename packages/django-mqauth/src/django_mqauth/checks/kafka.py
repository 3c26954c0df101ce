"""What an alias on Kafka is told: as celery-mqauth reads it, before anybody signs in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.core.checks import CheckMessage

from django_mqauth.checks.messages import Place, error, from_error
from django_mqauth.optional import has_kombu
from mqauth.errors import ConfigurationError, InsecureTransportError

_ANYWHERE = [("localhost", 9098)]


def check_kafka_tls(
    where: Place, options: Mapping[str, Any], *, insecure: bool
) -> Iterator[CheckMessage]:
    """Check TLS options as Kafka's transport reads them."""
    problem = _problem(insecure=insecure, tls=options or True)
    if problem is not None:
        message = problem.message.replace("broker_use_ssl", where)
        yield error(29, f"{message}.", f"{problem.remedy}.", where=where)


def check_kafka_options(
    where: Place, options: Mapping[str, Any], *, insecure: bool
) -> Iterator[CheckMessage]:
    """Check transport options: limits, and settings for librdkafka."""
    problem = _problem(insecure=insecure, options=options)
    if problem is not None:
        number = 11 if isinstance(problem, InsecureTransportError) else 31
        yield from_error(number, problem, where=where)


def _problem(
    *, insecure: bool, tls: Any = True, options: Mapping[str, Any] | None = None
) -> ConfigurationError | None:
    if not has_kombu():
        return None
    from celery_mqauth.kafka.endpoints import link_to  # noqa: PLC0415 - optional

    nobody: Any = None
    try:
        link_to(_ANYWHERE, source=nobody, given_tls=tls, options=options or {}, insecure=insecure)
    except ConfigurationError as problem:
        return problem
    return None
