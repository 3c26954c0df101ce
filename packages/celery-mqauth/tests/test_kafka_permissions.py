"""What a principal may do on Kafka, and the diagnosis of that and of all that leads there."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from typing import Any

import celery
import kombu
import pytest
from click.testing import CliRunner
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from celery_mqauth.command import mqauth as celery_command
from celery_mqauth.kafka import client_version, login
from celery_mqauth.kafka.errors import NotAuthorizedError
from mqauth.cli.root import cli
from mqauth.diagnosis import other_brokers
from mqauth.diagnosis.findings import EXIT_CODES
from mqauth_sandbox import KafkaSandbox
from mqauth_sandbox.kafka import acls
from mqauth_sandbox.kafka.prepare import KafkaInstallation

LIMIT = 20.0

_numbers = itertools.count(1)


@pytest.fixture
def topic() -> str:
    """The name of a topic that nobody has used."""
    return f"topic-{next(_numbers)}"


@pytest.fixture
def auth(guarded: KafkaSandbox) -> dict[str, str]:
    """Options of the oauth2 provider that sign in to the broker."""
    return guarded.oauth2_options


@pytest.fixture(scope="module")
def guarded(mqauth_kafka: KafkaInstallation) -> Iterator[KafkaSandbox]:
    """A broker on which nothing is allowed that no ACL allows, with ports for every mistake."""
    with KafkaSandbox(acls=True, open_listener=True) as running:
        yield running


@pytest.fixture(scope="module")
def admin(guarded: KafkaSandbox) -> Iterator[AdminClient]:
    """A client that may do everything, and that does not outlive its broker."""
    settings: dict[str, Any] = {**guarded.broker.admin_config, "log_level": 0}
    with AdminClient(settings) as client:
        yield client


@pytest.fixture
def allow(guarded: KafkaSandbox, admin: AdminClient, topic: str) -> Callable[..., None]:
    """Make the topic; return a function that allows operations on it or its consumers' group."""
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(LIMIT)

    def add(*operations: AclOperation, of: ResourceType = ResourceType.TOPIC) -> None:
        name = topic if of == ResourceType.TOPIC else f"{topic}-consumer-group"
        acls.allow(guarded, name, *operations, of=of)

    return add


@pytest.fixture
def channel(guarded: KafkaSandbox, auth: dict[str, str]) -> Iterator[Any]:
    """A channel to that broker; Kombu's way over it would try again for long."""
    url = f"mqauth-kafka://oauth2@localhost:{guarded.broker.sasl_port}"
    with kombu.Connection(url, transport_options={"auth": auth}) as connection:
        yield connection.default_channel


def test_a_topic_that_may_not_be_written(
    allow: Callable[..., None], channel: Any, topic: str
) -> None:
    """A publish that no ACL allows fails at once, with the topic's name and a remedy.

    The next ones as well, which librdkafka refuses by itself.
    """
    for _ in range(3):
        with pytest.raises(NotAuthorizedError, match=rf"celery use the topic '{topic}'.*ACL"):
            channel._put(topic, {"body": ""})


def test_a_topic_that_may_not_be_created(channel: Any, topic: str) -> None:
    """The same holds for a topic that would have to be made."""
    with pytest.raises(NotAuthorizedError, match=rf"'{topic}'"):
        channel._new_queue(topic)


@pytest.mark.parametrize("missing", ["topic '{}'", "consumer group '{}-consumer-group'"])
def test_what_may_not_be_read(
    allow: Callable[..., None],
    channel: Any,
    topic: str,
    missing: str,
    read_for_long: Callable[..., None],
) -> None:
    """A consumer that may not read fails instead of waiting for ever."""
    if missing.startswith("topic"):
        allow(AclOperation.READ, of=ResourceType.GROUP)
    else:
        allow(AclOperation.READ, AclOperation.DESCRIBE)
    with pytest.raises(NotAuthorizedError, match=missing.format(topic)):
        read_for_long(channel, topic)


def test_what_is_allowed_works(allow: Callable[..., None], channel: Any, topic: str) -> None:
    """With the ACLs that it takes, messages come and go."""
    allow(AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE)
    allow(AclOperation.READ, of=ResourceType.GROUP)
    queue = channel.connection.client.SimpleQueue(topic)
    queue.put("hello")
    message = queue.get(timeout=LIMIT)
    assert message.payload == "hello"
    message.ack()
    queue.close()


def test_acknowledgements_that_are_refused(
    *,
    guarded: KafkaSandbox,
    admin: AdminClient,
    allow: Callable[..., None],
    channel: Any,
    topic: str,
    read_for_long: Callable[..., None],
    eventually: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever may not commit any more is told so, as its messages come again."""
    allow(AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE)
    allow(AclOperation.READ, of=ResourceType.GROUP)
    queue = channel.connection.client.SimpleQueue(topic)
    queue.put("hello")
    message = queue.get(timeout=LIMIT)
    group = f"{topic}-consumer-group"
    anybody: Any = None
    any_of_it = (AclOperation.ANY, AclPermissionType.ANY)
    everything = AclBindingFilter(
        ResourceType.GROUP, group, ResourcePatternType.ANY, anybody, anybody, *any_of_it
    )
    (gone,) = admin.delete_acls([everything]).values()
    assert len(list(gone.result(LIMIT))) == 1
    # The controller has answered; the broker, which judges, hears of it a moment later.
    eventually(lambda: not admin.describe_acls(everything).result(LIMIT), "the end of the ACL")
    message.ack()
    with pytest.raises(NotAuthorizedError, match=f"the consumer group '{group}'.*ACL"):
        read_for_long(channel, topic)
    assert f"acknowledgements in the topic '{topic}' are not taken" in caplog.text


Doctor = Callable[..., tuple[int, dict[str, dict[str, Any]]]]


@pytest.fixture
def doctor(guarded: KafkaSandbox, auth: dict[str, str]) -> Iterator[Doctor]:
    """Return a function that runs `mqauth doctor` on the broker: exit code, findings by link."""
    audience = guarded.issuer.resource_server_id

    def walk(
        *more: str, port: str = "tls_port", url: str = "", ca: bool = True, **options: str
    ) -> tuple[int, dict[str, dict[str, Any]]]:
        tls = port in ("tls_port", "sasl_port over TLS")
        number = getattr(guarded.broker, port.partition(" ")[0])
        url = url or f"mqauth{'s' if tls else ''}-kafka://oauth2@localhost:{number}"
        given = [f"--option={name}={value}" for name, value in {**auth, **options}.items()]
        ca_file = ["--ca-file", str(guarded.ca_file)] if ca else []
        login._has_signed_in.clear()
        return outcome(
            CliRunner().invoke(
                cli, ["doctor", "--json", "--timeout=20", "--broker", url, *given, *ca_file, *more]
            )
        )

    yield walk
    guarded.issuer.resource_server_id = audience
    guarded.issuer.faults.reset()


def outcome(result: Any) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return what the command ended with, and what it found, by link."""
    assert isinstance(result.exception, SystemExit | None), result.exception
    found = json.loads(result.stdout)
    assert found["exit_code"] == result.exit_code
    links = {finding["link"]: finding for finding in found["links"]}
    broken = [name for name, finding in links.items() if finding["status"] == "failed"]
    assert broken == ([list(links)[-1]] if result.exit_code else [])
    return result.exit_code, links


def broken(found: tuple[int, dict[str, dict[str, Any]]]) -> tuple[int, str, str]:
    """Return exit code and name of the broken link, and what is said of it."""
    code, links = found
    last = list(links.values())[-1]
    assert str(last["remedy"]) not in last["detail"]
    return code, last["link"], f"{last['detail']} ({last['remedy']})"


def test_the_doctor_walks_to_each_topic(
    allow: Callable[..., None], doctor: Doctor, guarded: KafkaSandbox, topic: str
) -> None:
    """From the configuration to the topic all is told, and no secret."""
    allow(AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE)
    allow(AclOperation.READ, of=ResourceType.GROUP)
    code, links = doctor("--topic", topic)
    assert code == 0
    assert list(links) == [
        *("options", "libraries", "files", "issuer", "clock", "credential", "claims"),
        *("broker", "tls", "login", f"topic {topic}"),
    ]
    expected = r"confluent-kafka \d+\.\d+\.\d+, librdkafka \d+\.\d+\.\d+"
    assert re.fullmatch(expected, links["libraries"]["detail"])
    assert links["login"]["detail"] == "as celery, 1 broker"
    assert links[f"topic {topic}"]["detail"] == "1 partition, READ and WRITE allowed"
    assert "eyJ" not in json.dumps(links)
    assert guarded.issuer.client_secret not in json.dumps(links)


@pytest.mark.parametrize(
    ("port", "link", "words"),
    [
        ("admin_port", "login", r"does not take OAUTHBEARER there, but PLAIN"),
        ("open_port", "login", r"does not speak SASL there"),
        ("sasl_port over TLS", "tls", r"no TLS.*MSK's for IAM is 9098"),
    ],
)
def test_the_doctor_tells_wrong_listeners_apart(
    doctor: Doctor, guarded: KafkaSandbox, port: str, link: str, words: str
) -> None:
    """No SASL, no OAUTHBEARER, no TLS: a link, a code, a cause and a remedy each, soon."""
    code, where, said = broken(doctor(port=port))
    assert (code, where) == (EXIT_CODES[link], link)
    assert re.search(words, said)


def test_the_doctor_stops_at_each_broken_link(
    doctor: Doctor, guarded: KafkaSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first to the last, each with its own code."""
    code, where, said = broken(doctor(client_id=""))
    assert (code, where) == (2, "options")
    code, where, said = broken(doctor(url="mqauth-kafka://oauth2@broker.example:9092", ca=False))
    assert (code, where) == (2, "options")
    assert "in clear text" in said
    code, where, said = broken(doctor(client_secret_file="/nowhere"))
    assert (code, where) == (10, "files")
    code, where, said = broken(doctor(url="mqauths-kafka://oauth2@localhost,127.0.0.1:1"))
    assert (code, where) == (20, "broker")
    assert re.search(r"localhost:1 .*refused; .*127\.0\.0\.1:1 .*refused", said)
    code, where, said = broken(doctor(ca=False))
    assert (code, where) == (21, "tls")
    assert re.search(r"not to be trusted.*--ca-file", said)
    with guarded.issuer.faults.during("error500"):
        assert broken(doctor())[:2] == (11, "issuer")
    guarded.issuer.resource_server_id = "another"
    code, where, said = broken(doctor())
    assert (code, where) == (22, "login")
    assert re.search(r"refused the login of .*invalid_token.*audience", said)

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(client_version, "version", missing)
    code, where, said = broken(doctor())
    assert (code, where) == (9, "libraries")
    assert re.search(
        r'confluent-kafka is not installed.*pip install "celery-mqauth\[kafka\]"', said
    )
    monkeypatch.setattr(other_brokers, "entry_points", lambda **_: ())
    code, where, said = broken(doctor())
    assert (code, where) == (9, "libraries")
    assert 'pip install "celery-mqauth[kafka]"' in said


def test_the_doctor_names_what_is_not_allowed(
    allow: Callable[..., None], doctor: Doctor, topic: str
) -> None:
    """The operation that no ACL allows is named, on the topic and on its consumers' group."""
    assert broken(doctor("--topic", topic))[:2] == (26, f"topic {topic}")
    allow(AclOperation.READ, AclOperation.DESCRIBE)
    code, _, said = broken(doctor("--topic", topic))
    assert code == 26
    assert re.search(rf"not allow WRITE on the topic '{topic}' \(allow it with an ACL", said)
    code, _, said = broken(doctor("--topic", f"read:{topic}"))
    assert re.search(rf"use the consumer group '{topic}-consumer-group'", said)
    allow(AclOperation.WRITE)
    code, links = doctor("--topic", f"write:{topic}")
    assert code == 0
    assert links[f"topic {topic}"]["detail"] == "1 partition, WRITE allowed"


def test_a_topic_that_is_not_there_yet(
    guarded: KafkaSandbox, admin: AdminClient, doctor: Doctor, topic: str
) -> None:
    """Where it may be made that is no broken link, and it is not made."""
    acls.allow(guarded, topic, AclOperation.DESCRIBE)
    assert broken(doctor("--topic", topic))[:2] == (26, f"topic {topic}")
    acls.allow(guarded, topic, AclOperation.CREATE)
    code, links = doctor("--topic", topic)
    assert code == 0
    assert links[f"topic {topic}"]["detail"].startswith("not there yet; may be created")
    assert topic not in admin.list_topics(timeout=LIMIT).topics


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--broker=mqauths-kafka://oauth2@h", "--operation=declare queue a"], "about RabbitMQ"),
        (["--broker=mqauths://oauth2@h", "--topic=a"], "only Kafka has topics"),
        (["--broker=mqauths-kafka://oauth2@h", "--topic=copy:a"], "is no topic"),
        (["--broker=mqauths-kafka://oauth2:secret@h"], "holds a password"),
        (["--broker=mqauths-kafka://oauth2@h:x"], "cannot be read"),
        (["--broker=mqauths-kafka://"], "none that mqauth knows"),
        (["--broker=mqauths-kafka://,"], "none that mqauth knows"),
        (["--broker=mqauths-kafka://oauth2@h?password=secret@"], "does not read: password"),
        (["--broker=mqauths-kafka://oauth2@h;mqauths-kafka://static@g"], "different users"),
    ],
)
def test_questions_that_make_no_sense(arguments: list[str], words: str) -> None:
    """What does not fit the broker is refused before anything is asked."""
    code, where, said = broken(outcome(CliRunner().invoke(cli, ["doctor", "--json", *arguments])))
    assert (code, where) == (2, "options")
    assert words in said
    assert "secret@" not in said


def test_an_app_is_diagnosed(  # noqa: PLR0917 - fixtures
    allow: Callable[..., None],
    admin: AdminClient,
    guarded: KafkaSandbox,
    auth: dict[str, str],
    topic: str,
    eventually: Callable[..., None],
) -> None:
    """`celery mqauth doctor` looks at the topics of the app's queues, as its role uses them."""

    def walk(*arguments: str, **options: str) -> tuple[int, dict[str, dict[str, Any]]]:
        app = celery.Celery(
            "proj", broker=f"mqauths-kafka://oauth2@localhost:{guarded.broker.tls_port}"
        )
        app.conf.update(
            broker_use_ssl={"ca_certs": str(guarded.ca_file)},
            broker_transport_options={"auth": auth, **options},
            task_default_queue=topic,
        )
        context = type("Context", (), {"app": app})()
        return outcome(
            CliRunner().invoke(celery_command, ["doctor", "--json", *arguments], obj=context)
        )

    allow(AclOperation.WRITE, AclOperation.DESCRIBE)
    code, links = walk("--role=producer")
    assert code == 0
    assert links[f"topic {topic}"]["detail"] == "1 partition, WRITE allowed"
    code, where, said = broken(walk())
    assert (code, where) == (26, f"topic {topic}")
    assert "READ on the topic" in said
    code, where, said = broken(walk("--role=flower"))
    assert (code, where) == (2, "options")
    assert "no fanout" in said
    admin.delete_topics([topic])[topic].result(LIMIT)
    eventually(lambda: topic not in admin.list_topics(timeout=LIMIT).topics, "its end", LIMIT)
    code, where, said = broken(walk(num_partitions="3"))
    assert (code, where) == (26, f"topic {topic}")
    assert "num_partitions and replication_factor as numbers" in said
