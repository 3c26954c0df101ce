"""An alias on Kafka: health checks, the doctor, and what nobody can know there."""

from __future__ import annotations

import datetime as dt
import json
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from confluent_kafka.admin import AclOperation, AdminClient, NewTopic
from health_check.exceptions import ServiceUnavailable, ServiceWarning

from django_mqauth import broker_url, broker_use_ssl
from django_mqauth.health import BrokerLogin, WorkerCredentials
from django_mqauth.login import sign_in_once
from mqauth.shared import shared_sources
from mqauth_sandbox import KafkaSandbox
from mqauth_sandbox.kafka.acls import allow
from mqauth_sandbox.kafka.prepare import KafkaInstallation
from test_commands import run

TOPIC = "mqauth-health"
LIMIT = 20.0


@pytest.fixture(scope="module")
def kafka(mqauth_kafka: KafkaInstallation) -> Iterator[KafkaSandbox]:
    """A broker on which nothing is allowed that no ACL allows, and a topic to probe."""
    with KafkaSandbox(acls=True) as running:
        admin = AdminClient({**running.broker.admin_config})
        admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(LIMIT)
        yield running


@pytest.fixture
def alias(kafka: KafkaSandbox, use: Callable[..., None]) -> Callable[..., None]:
    """Return a function that makes the alias `default` one on Kafka."""

    def make(broker: str = "") -> None:
        use(
            MQAUTH={
                "default": {
                    "BROKER": broker or f"mqauths-kafka://localhost:{kafka.broker.tls_port}",
                    "PROVIDER": "oauth2",
                    "OPTIONS": kafka.oauth2_options,
                    "TLS": {"ca_certs": str(kafka.ca_file)},
                }
            }
        )

    make()
    return make


def test_a_login_is_a_real_one(kafka: KafkaSandbox, alias: Callable[..., None]) -> None:
    """Each check signs in anew; a token that the broker refuses is a failure with a remedy."""
    check = BrokerLogin(timeout=dt.timedelta(seconds=LIMIT))
    check.run()
    kafka.issuer.resource_server_id = "another"
    for source in shared_sources():
        assert source.current is not None
        source.invalidate(source.current)
    with pytest.raises(ServiceUnavailable, match=r"refused .*invalid_token"):
        check.run()
    kafka.issuer.resource_server_id = "kafka"
    check.run()
    assert sign_in_once("default", LIMIT) is None


def test_a_message_there_and_back(kafka: KafkaSandbox, alias: Callable[..., None]) -> None:
    """Over a topic of the check's own, if READ and WRITE are allowed on it, with no group."""
    check = BrokerLogin(topic=TOPIC, timeout=dt.timedelta(seconds=LIMIT))
    with pytest.raises(ServiceUnavailable, match=rf"use the topic '{TOPIC}'.*ACL"):
        check.run()
    allow(kafka, TOPIC, AclOperation.WRITE)
    with pytest.raises(ServiceUnavailable, match=rf"use the topic '{TOPIC}'.*ACL"):
        check.run()
    allow(kafka, TOPIC, AclOperation.READ)
    check.run()
    BrokerLogin(topic="of nobody", round_trip=False, timeout=check.timeout).run()


def test_a_broker_that_hangs(kafka: KafkaSandbox, alias: Callable[..., None]) -> None:
    """A port that takes connections and answers nothing ends with the check's time limit."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        alias(f"mqauths-kafka://localhost:{silent.getsockname()[1]}")
        # The probe's own limit, or this one: the probe's client takes its time to go.
        with pytest.raises(ServiceUnavailable, match=r"no answer within [12] s"):
            BrokerLogin(timeout=dt.timedelta(seconds=2)).run()


def test_an_issuer_that_hangs(kafka: KafkaSandbox, alias: Callable[..., None]) -> None:
    """The wait for a token is part of the check's time."""
    with kafka.issuer.faults.during("hang"):
        with pytest.raises(ServiceUnavailable, match=r"no credential within 0\.5 s.*the issuer"):
            BrokerLogin(timeout=dt.timedelta(seconds=0.5)).run()
        assert sign_in_once("default", 0.5) == "no credential within 0.5 s"
        assert not [each for each in shared_sources() if each.status().failures]


def test_no_time_is_a_mistake(alias: Callable[..., None]) -> None:
    """A check that may take no time is told so, and does not wait."""
    with pytest.raises(ServiceUnavailable, match=r"the time limit is '0\.0'"):
        BrokerLogin(timeout=dt.timedelta(0)).run()


def test_nobody_can_ask_workers(alias: Callable[..., None]) -> None:
    """What cannot be known is said, as a warning; it is not green."""
    app = Celery("site", broker=broker_url(), broker_use_ssl=broker_use_ssl())
    with pytest.raises(ServiceWarning, match=r"cannot be asked on Kafka.*not known.*lag"):
        WorkerCredentials(app=app).run()


def test_the_doctor_knows_the_alias(
    kafka: KafkaSandbox, alias: Callable[..., None], use: Callable[..., None]
) -> None:
    """`mqauth_doctor` walks Kafka's chain, and to the topics of the site's app."""
    app = Celery("site", broker=broker_url(), broker_use_ssl=broker_use_ssl())
    app.conf.task_default_queue = "elsewhere"
    use(MQAUTH_CELERY_APP=app)
    code, text = run("mqauth_doctor", "--json")
    links: list[dict[str, Any]] = json.loads(text)["links"]
    assert [link["link"] for link in links][-4:] == ["broker", "tls", "login", "topic elsewhere"]
    assert code == 26
    assert re.search("use the topic 'elsewhere'", links[-1]["detail"])
