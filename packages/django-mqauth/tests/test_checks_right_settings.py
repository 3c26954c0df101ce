"""System checks have nothing to say about right settings, and little about a developer's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import run_checks

from check_settings import (
    CA,
    CANARY,
    GOOD,
    GOOD_OPTIONS,
    REMOTE_PLAIN,
    alias,
    celery,
    check,
    kafka,
    on_kafka,
    options,
)

RIGHT: dict[str, dict[str, Any]] = {
    "one alias": alias(),
    "nothing": {},
    "no aliases": {"MQAUTH": {}},
    "several": {"MQAUTH": {"default": GOOD, "billing-eu": GOOD}},
    "failover": alias(BROKER=["amqps://a.example.com/p", "amqps://b.example.com/p"]),
    "loopback in clear": alias(BROKER="amqp://localhost/%2F"),
    "insecure on purpose": {
        **alias(BROKER=REMOTE_PLAIN, OPTIONS={**GOOD_OPTIONS, "insecure": True})
    },
    "region out of the host's name": {
        "MQAUTH": {
            "default": {"BROKER": "amqps://b-1.mq.eu-west-1.on.aws/p", "PROVIDER": "aws-iam"}
        }
    },
    "Celery": celery(
        BROKER_URL="mqauths://default@rabbit.example.com/prod",
        BROKER_USE_SSL={"ca_certs": CA},
    ),
    "Celery with another provider": celery(BROKER_URL="mqauths://static@rabbit.example.com/prod"),
    "a parameter that is read": celery(
        BROKER_URL="mqauths://default@rabbit.example.com/prod?heartbeat=30"
    ),
    "Kafka": {
        **kafka(
            BROKER="mqauths-kafka://a.example.com:9098;mqauths-kafka://b.example.com:9094",
            TLS={"ca_certs": CA},
            TRANSPORT_OPTIONS={"connect_limit": 5, "kafka_common_config": {"debug": "security"}},
        ),
        **on_kafka(
            BROKER_URL="mqauths-kafka://default@a.example.com:9098/;"
            "mqauths-kafka://default@b.example.com:9094/",
            BROKER_USE_SSL={"ca_certs": CA},
            BROKER_TRANSPORT_OPTIONS={"connect_limit": 5},
        ),
    },
    "Kafka's servers with commas": {
        **kafka(),
        **on_kafka(BROKER_URL="mqauths-kafka://default@a.example.com,b.example.com:9098"),
    },
    "Kafka on this host": {
        **kafka(BROKER="mqauth-kafka://localhost:9092"),
        **on_kafka(BROKER_URL="mqauth-kafka://default@localhost:9092/"),
    },
    "Celery on Redis": celery(BROKER_URL="redis://localhost"),
    **{
        f"Celery on {scheme}": celery(BROKER_URL=f"{scheme}://")
        for scheme in ("amqp", "memory", "sqs", "confluentkafka", "sqla+sqlite", "pkg.mod:Mqtt")
    },
    "defaults": {**alias(), "MQAUTH_TIMEOUT": 5, "MQAUTH_CACHE": False, "MQAUTH_RENEW_AT": 0.3},
}


@pytest.mark.parametrize("right", RIGHT)
def test_right_settings_are_quiet(right: str, use: Callable[..., None]) -> None:
    """`manage.py check` has nothing to say."""
    use(**RIGHT[right])
    assert check() == "System check identified no issues (0 silenced).\n"


DEPLOY: dict[str, tuple[dict[str, Any], str]] = {
    "insecure": (options(insecure=True), "W101"),
    "this host": (alias(BROKER="amqps://localhost/"), "W102"),
    "no cache": (options(cache="off"), "W103"),
    "secret in the code": (options(client_secret=CANARY), "W104"),
}


@pytest.mark.parametrize("wrong", DEPLOY)
def test_deployment_is_checked(wrong: str, use: Callable[..., None]) -> None:
    """`check --deploy` tells what is fine on a developer's machine only."""
    settings, identifier = DEPLOY[wrong]
    use(**settings)
    assert f"mqauth.{identifier}" in check(deploy=True)
    assert f"mqauth.{identifier}" not in check()


def test_deployment_of_right_settings_is_quiet(use: Callable[..., None]) -> None:
    """`check --deploy` says nothing of ours about right settings."""
    use(**alias())
    assert "mqauth" not in check(deploy=True)


def test_checks_have_the_tag() -> None:
    """`check --tag mqauth` runs these checks."""
    assert run_checks(tags=["mqauth"]) == []
