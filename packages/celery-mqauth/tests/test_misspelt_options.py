"""Transport options that nobody reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu.transport
import pytest
from celery import Celery
from kombu import Connection

from celery_mqauth import misspelt_options
from celery_mqauth.diagnosis import app_target
from celery_mqauth.kafka.endpoints import OPTIONS, link_to
from celery_mqauth.misspelt_options import amqp_options, warn_of_misspelt
from mqauth.errors import ConfigurationError

AUTH = {"issuer": "https://localhost:1", "client_id": "x"}
LOGGER = "celery_mqauth.misspelt_options"


@pytest.fixture(autouse=True)
def _nothing_told() -> Iterator[None]:
    """Each test begins as a process does."""
    misspelt_options._told.clear()
    yield
    misspelt_options._told.clear()


def connect(options: dict[str, Any]) -> None:
    """Begin to connect to RabbitMQ, as far as the options that are looked at first."""
    connection = Connection("mqauth://nobody@localhost//", transport_options=options)
    with pytest.raises(ConfigurationError, match="nobody"):
        connection.transport.establish_connection()


def walk(options: dict[str, Any]) -> None:
    """Begin to diagnose an app on RabbitMQ."""
    app = Celery(broker="mqauth://oauth2@localhost//", set_as_current=False)
    app.conf.broker_transport_options = options
    app_target(app)


def link(options: dict[str, Any]) -> None:
    """Begin to connect to Kafka."""
    source: Any = None
    link_to([("localhost", 9)], source=source, given_tls=None, options=options, insecure=False)


@pytest.mark.parametrize(
    ("begin", "key", "value", "meant"),
    [
        (connect, "auht", AUTH, "auth"),
        (connect, "Auth", AUTH, "auth"),
        (connect, "oauth2", AUTH, "auth"),
        (connect, "confirm-publish", True, "confirm_publish"),
        (connect, "read_timout", 5, "read_timeout"),
        (connect, "interval_strat", 1, "interval_start"),
        (walk, "auths", AUTH, "auth"),
        (link, "publish_limt", 5, "publish_limit"),
        (link, "num_partition", 5, "num_partitions"),
        (link, "kafka_consumer_conf", {}, "kafka_consumer_config"),
    ],
)
def test_a_misspelt_option(
    begin: Any, key: str, value: object, meant: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once, with the nearest name and without its value; nothing else changes."""
    for _ in range(2):
        begin({key: value})
    (said,) = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert said.startswith(f"nobody reads the transport option {key!r} - did you mean {meant}?")
    assert "localhost" not in said


def test_what_other_transports_read_is_no_mistake(caplog: pytest.LogCaptureFixture) -> None:
    """An app may come with options of Redis, SQS and the like: there is no word about those."""
    folder = Path(str(kombu.transport.__file__)).parent
    source = "\n".join(path.read_text() for path in sorted(folder.rglob("*.py")))
    keys = set(re.findall(r"options(?:\.get|\.pop)?[\[(]\s*['\"]([\w-]+)['\"]", source))
    keys |= {"socket_connect_timeout", "socket_timeout", "retry_on_timeout", "sentinel_kwargs"}
    assert len(keys) > 30
    for known in (amqp_options(), OPTIONS):
        warn_of_misspelt(dict.fromkeys(keys, 1), known)
        warn_of_misspelt({7: 1, "": 1, "predefined_queues": {}, "path": "/"}, known)
    connect({"confirm_publish": True, "max_retries": 3, "on_blocked": print})
    link({"connect_limit": 5, "max_retries": 3, "topic_config": {}, "kafka_admin_config": {}})
    assert not [record for record in caplog.records if record.name == LOGGER]
