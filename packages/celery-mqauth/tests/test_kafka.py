"""The Kafka transports on a real broker: signing in, staying signed in, and bad input."""

from __future__ import annotations

import contextlib
import gc
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from typing import Any

import kombu
import pytest
from confluent_kafka.admin import (
    AdminClient,
)

from celery_mqauth import kafka as kafka_package
from celery_mqauth.errors import (
    BrokerUnreachableError,
    CredentialRefusedError,
    CredentialUnavailableError,
    LoginRefusedError,
)
from celery_mqauth.kafka import client_version, clients, doctor, login, probe
from celery_mqauth.kafka.clients import close_within
from celery_mqauth.kafka.endpoints import link_of
from celery_mqauth.kafka.errors import MechanismError, NotConfirmedError
from mqauth.errors import ConfigurationError, InsecureTransportError, MQAuthError
from mqauth.shared import shared_sources
from mqauth_sandbox import KafkaSandbox
from mqauth_sandbox.kafka.prepare import KafkaInstallation

LIFETIME = 6.0
REAUTH = 3.0
LIMIT = 20.0

Connect = Callable[..., kombu.Connection]

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def world(mqauth_kafka: KafkaInstallation) -> Iterator[KafkaSandbox]:
    """A broker with ports for every mistake, which wants a login every three seconds."""
    with KafkaSandbox(token_lifetime=LIFETIME, max_reauth=REAUTH, open_listener=True) as running:
        yield running


@pytest.fixture(autouse=True)
def well_again(world: KafkaSandbox) -> Iterator[None]:
    """Leave issuer and broker as they were."""
    audience = world.issuer.resource_server_id
    login._has_signed_in.clear()
    yield
    world.issuer.faults.reset()
    world.issuer.resource_server_id = audience
    world.issuer.token_lifetime = LIFETIME
    world.broker.start()


@pytest.fixture
def auth(world: KafkaSandbox) -> dict[str, Any]:
    """Options of the oauth2 provider that sign in to the broker."""
    return dict(world.oauth2_options)


@pytest.fixture
def connection(world: KafkaSandbox, auth: dict[str, Any]) -> Iterator[Connect]:
    """Return a function that makes a Kombu connection, not open yet; all end with the test."""
    with contextlib.ExitStack() as opened:

        def make(
            *,
            tls: bool = True,
            who: str = "oauth2",
            servers: str | None = None,
            auth_options: dict[str, Any] | None = None,
            **rest: Any,
        ) -> kombu.Connection:
            usual = world.broker.tls_port if tls else world.broker.sasl_port
            scheme = "mqauths-kafka" if tls else "mqauth-kafka"
            options = rest.pop("options", {})
            rest.setdefault("ssl", {"ca_certs": str(world.ca_file)} if tls else False)
            made = kombu.Connection(
                f"{scheme}://{who}@{servers or f'localhost:{usual}'}",
                transport_options={"auth": {**auth, **(auth_options or {})}, **options},
                **rest,
            )
            opened.callback(made.release)
            return made

        yield make


@pytest.fixture
def topic() -> str:
    """The name of a topic that nobody has used."""
    return f"topic-{next(_numbers)}"


def exchange_messages(connection: kombu.Connection, topic: str, count: int = 5) -> None:
    """Send and receive messages of a topic."""
    queue = connection.SimpleQueue(topic)
    for number in range(count):
        queue.put({"number": number})
    for number in range(count):
        message = queue.get(timeout=LIMIT)
        assert message.payload == {"number": number}
        message.ack()
    queue.close()


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_messages_come_and_go(
    connection: Connect,
    topic: str,
    tls: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Messages sent over either listener are received over it."""
    exchange_messages(connection(tls=tls), topic)


@pytest.mark.parametrize(
    "servers", ["localhost,127.0.0.1:{0}", "localhost:{0};{1}://oauth2@127.0.0.1:{0}"]
)
def test_several_bootstrap_servers(
    world: KafkaSandbox, connection: Connect, topic: str, servers: str
) -> None:
    """Hosts that share a port, or URLs with `;` between them, are all told to librdkafka."""
    port = world.broker.tls_port
    opened = connection(servers=servers.format(port, "mqauths-kafka"))
    opened.connect()
    told = opened.connection.link.settings["bootstrap.servers"]
    assert told == f"localhost:{port},127.0.0.1:{port}"
    exchange_messages(opened, topic)


def test_an_acknowledged_message_stays_away_and_others_come_back(
    connection: Connect, topic: str
) -> None:
    """After a restart a consumer gets what it had not acknowledged, and nothing else."""
    first = connection()
    queue = first.SimpleQueue(topic)
    for number in range(4):
        queue.put(number)
    messages = [queue.get(timeout=LIMIT) for _ in range(3)]
    messages[0].ack()
    first.release()
    again = connection().SimpleQueue(topic)
    assert [again.get(timeout=LIMIT).payload for _ in range(3)] == [1, 2, 3]


def test_a_rejected_message_can_be_queued_again(connection: Connect, topic: str) -> None:
    """`requeue` puts a message at the end of its topic, once."""
    queue = connection().SimpleQueue(topic)
    queue.put("again")
    queue.get(timeout=LIMIT).requeue()
    message = queue.get(timeout=LIMIT)
    assert message.payload == "again"
    message.ack()
    with pytest.raises(queue.Empty):
        queue.get(timeout=2)


def test_idle_clients_sign_in_again(
    world: KafkaSandbox, connection: Connect, topic: str, eventually: Callable[..., None]
) -> None:
    """Producer, consumer and admin client that do nothing outlive their token, and then work."""
    # librdkafka asks for another after four fifths: the last is for a machine that stalls.
    world.issuer.token_lifetime = 25
    idle = connection()
    exchange_messages(idle, topic)
    (source,) = shared_sources()
    first = source.current
    assert first is not None
    begun, fetched = world.broker.log_size(), world.issuer.fetches
    eventually(first.expired, "the end of the first token", 60)
    eventually(lambda: world.broker.reauthentications(begun) >= 9, "re-authentications", 60)
    assert world.issuer.fetches - fetched >= 2
    assert world.broker.refusals(begun) == []
    exchange_messages(idle, topic)


def test_all_clients_of_a_process_share_a_source(
    world: KafkaSandbox, connection: Connect, topic: str
) -> None:
    """However many clients sign in, the issuer is asked once."""
    world.issuer.token_lifetime = 300
    fetched = world.issuer.fetches
    for number in range(2):
        exchange_messages(connection(), f"{topic}-{number}")
    assert world.issuer.fetches - fetched == 1
    assert [source.status().connections for source in shared_sources()] == [2]


def test_a_refused_login_is_final_and_says_why(world: KafkaSandbox, connection: Connect) -> None:
    """A token for another audience is tried twice, with a fresh one the second time."""
    world.issuer.resource_server_id = "another"
    world.issuer.token_lifetime = 300
    fetched = world.issuer.fetches
    with pytest.raises(LoginRefusedError, match=r"refused the login.*invalid_token.*audience"):
        connection().connect()
    assert world.issuer.fetches - fetched == 2


def test_an_expired_token_is_refused(
    world: KafkaSandbox, connection: Connect, eventually: Callable[..., None]
) -> None:
    """The broker does not let an expired token in, whatever the client believes."""
    begun = world.broker.log_size()
    expired = world.issuer.mint(lifetime=-5)
    settings: dict[str, Any] = {
        "bootstrap.servers": f"localhost:{world.broker.sasl_port}",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "log_level": 0,
        "oauth_cb": lambda _: (expired, time.time() + 60),
    }
    admin = AdminClient(settings)
    with pytest.raises(Exception, match="transport failure"):
        admin.list_topics(timeout=2)
    # librdkafka tries on while there is a client, however long the broker takes.
    eventually(lambda: any("invalid_token" in line for line in world.broker.refusals(begun)))
    del admin


def test_a_refusal_after_a_success_is_recoverable(world: KafkaSandbox, connection: Connect) -> None:
    """An identity that was accepted before is not sent away for good."""
    connection().connect()
    world.issuer.resource_server_id = "another"
    for source in shared_sources():
        assert source.current is not None
        source.invalidate(source.current)
    with pytest.raises(CredentialRefusedError, match="accepted before"):
        connection()._establish_connection()


def test_an_issuer_that_is_down_is_named(world: KafkaSandbox, connection: Connect) -> None:
    """Where no token can be had, the error is recoverable and has the issuer's reason."""
    with (
        world.issuer.faults.during("error500"),
        pytest.raises(CredentialUnavailableError, match="no credential to sign in with"),
    ):
        connection()._establish_connection()


@pytest.mark.parametrize(
    ("port", "tls", "error", "words"),
    [
        ("admin_port", False, MechanismError, r"not take OAUTHBEARER there, but PLAIN \("),
        ("open_port", False, MechanismError, r"does not speak SASL there.*listener with SASL"),
        ("sasl_port", True, BrokerUnreachableError, r"no TLS with Kafka.*TLS port"),
        ("tls_port", False, BrokerUnreachableError, r"no connection.*wants mqauths-kafka"),
    ],
    ids=["mechanism", "no SASL", "TLS to plain", "plain to TLS"],
)
def test_a_wrong_listener_is_told_apart(  # noqa: PLR0917 - parameters of the test
    world: KafkaSandbox,
    connection: Connect,
    port: str,
    tls: bool,  # noqa: FBT001 - a parameter of the test
    error: type[Exception],
    words: str,
) -> None:
    """Each kind of wrong listener gives its own cause and remedy, and soon."""
    servers = f"localhost:{getattr(world.broker, port)}"
    wrong = connection(tls=tls, servers=servers)
    with pytest.raises(error, match=words):
        wrong._establish_connection()


def test_a_certificate_of_somebody_else_is_not_trusted(connection: Connect) -> None:
    """Without the authority's certificate the error says how to name it."""
    with pytest.raises(BrokerUnreachableError, match=r"not to be trusted.*ca_certs"):
        connection(ssl=True)._establish_connection()


@pytest.mark.parametrize("name", ["ssl.ca.location", "ssl.ca.pem"])
def test_librdkafkas_settings_may_name_the_authority(
    world: KafkaSandbox, connection: Connect, name: str
) -> None:
    """What the system trusts does not stand in the way of what the user says."""
    said = str(world.ca_file) if name.endswith("location") else world.ca_file.read_text("ascii")
    opened = connection(ssl=True, options={"kafka_common_config": {name: said}})
    opened.connect()
    opened.connection.probe(LIMIT)


def test_nobody_there(connection: Connect) -> None:
    """A port where nobody listens is an unreachable broker."""
    with pytest.raises(BrokerUnreachableError, match=r"localhost:1: .*refused"):
        connection(servers="localhost:1")._establish_connection()


def test_a_broker_that_is_gone_is_not_waited_for(
    world: KafkaSandbox, connection: Connect, topic: str, read_for_long: Callable[..., None]
) -> None:
    """Without its broker a publish fails within its limit, and a consumer says so as well."""
    opened = connection(options={"publish_limit": 8, "connect_limit": 8})
    exchange_messages(opened, topic)
    world.broker.kill()
    with pytest.raises((NotConfirmedError, BrokerUnreachableError)):
        opened.default_channel._put(topic, {"body": ""})
    with pytest.raises(BrokerUnreachableError, match="no connection to Kafka"):
        read_for_long(opened.default_channel, topic)
    opened.release()


def test_nothing_goes_on_behind_a_closed_connection(
    world: KafkaSandbox,
    connection: Connect,
    topic: str,
    eventually: Callable[..., None],
    kafka_clients: Callable[[], int],
) -> None:
    """However long somebody keeps the error of a failed publish, its producer tries no more."""
    gc.collect()
    # One that an earlier test left to end with its broker's return would be counted, and then not.
    eventually(lambda: not kafka_clients(), "an end of earlier clients", 60)
    opened = connection(options={"publish_limit": 8})
    opened.SimpleQueue(topic).put("confirmed")
    world.broker.kill()
    with pytest.raises((NotConfirmedError, BrokerUnreachableError)) as kept:
        opened.default_channel._put(topic, {"body": ""})
    assert kafka_clients()
    opened.release()
    eventually(lambda: not kafka_clients(), "an end of all clients", LIMIT)
    del kept


def test_a_consumer_left_behind_ends_with_the_outage(
    world: KafkaSandbox,
    connection: Connect,
    topic: str,
    eventually: Callable[..., None],
    kafka_clients: Callable[[], int],
) -> None:
    """One that cannot commit is not waited for; back with its broker, by a newer token, it ends."""
    gc.collect()
    # One that an earlier test left to end with its broker's return would be counted, and then not.
    eventually(lambda: not kafka_clients(), "an end of earlier clients", 60)
    opened = connection()
    queue = opened.SimpleQueue(topic)
    queue.put("hello")
    message = queue.get(timeout=LIMIT)
    world.broker.kill()
    message.ack()
    opened.release()  # takes its five seconds, and the start some: no token lasts as long
    assert kafka_clients(), "nothing was left behind, so this shows nothing"
    world.broker.start()
    eventually(lambda: not kafka_clients(), "an end of all clients", 60)


def test_a_closed_connection_asks_for_no_token(
    connection: Connect, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that outlives its connection, as somebody keeps it, costs the issuer nothing."""
    opened = connection()
    opened.SimpleQueue(topic).put("confirmed")
    channel: Any = opened.default_channel
    token = channel.token
    assert token("")[0]
    opened.release()
    asked: list[bool] = []
    monkeypatch.setattr(token.source, "get", lambda: asked.append(True))
    with pytest.raises(MQAuthError, match="has been closed"):
        token("")
    assert not asked


def test_an_interrupted_end_asks_for_no_token_either(
    connection: Connect, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal or a time limit that strikes while consumers end leaves no token that is renewed."""
    opened = connection()
    opened.SimpleQueue(topic).put("confirmed")
    channel: Any = opened.default_channel

    def interrupted(*arguments: Any) -> None:
        close_within(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr("celery_mqauth.kafka.channel.close_within", interrupted)
    with pytest.raises(KeyboardInterrupt):
        channel.close()
    with pytest.raises(MQAuthError, match="has been closed"):
        channel.token("")


def test_lines_of_librdkafka_are_logged(
    connection: Connect,
    topic: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whoever wants to read them finds them in the log, and none on stderr."""
    caplog.set_level("DEBUG", "celery_mqauth.kafka.librdkafka")
    exchange_messages(
        connection(options={"kafka_common_config": {"log_level": 7, "debug": "broker"}}), topic
    )
    found = " ".join(r.message for r in caplog.records if r.name.endswith(".librdkafka"))
    assert "#producer-" in found
    assert "#consumer-" in found
    assert "rdkafka#" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "settings", "error", "words"),
    [
        ("admin", {"no.such.setting": 1}, ConfigurationError, "no.such.setting"),
        ("consumer", {"no.such.setting": 1}, ConfigurationError, "no.such.setting"),
        ("producer", {"transactional.id": "x"}, NotConfirmedError, "does not take a message"),
    ],
)
def test_a_probe_goes_by_what_the_app_says(  # noqa: PLR0917 - parameters of the test
    connection: Connect,
    topic: str,
    name: str,
    settings: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    """A health check's clients have the settings of the app's, and fail in its words."""
    wrong = connection(options={f"kafka_{name}_config": settings})
    with pytest.raises(error, match=words):
        wrong.transport.probe(LIMIT, topic=topic)
    right: Any = connection(options={"kafka_consumer_config": {"enable.partition.eof": True}})
    right.transport.probe(LIMIT, topic=topic)


def test_a_probe_does_not_wait_for_its_consumer_to_end(
    connection: Connect, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client of librdkafka ends when a broker has answered, which may take for ever."""
    may_close, closed = threading.Event(), threading.Event()

    class Slow(clients.Consumer):
        def close(self) -> None:
            may_close.wait(LIMIT)
            super().close()
            closed.set()

    monkeypatch.setattr(probe, "Consumer", Slow)
    monkeypatch.setattr(probe, "CLOSE_LIMIT", 0.2)
    opened: Any = connection()
    opened.transport.probe(LIMIT, topic=topic)
    assert not closed.is_set()
    may_close.set()
    assert closed.wait(LIMIT)


def test_a_broker_that_goes_after_the_login(
    world: KafkaSandbox, connection: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor says so in one line."""

    def sign_in(*given: Any) -> AdminClient:
        client = login.sign_in(*given)
        world.broker.kill()
        return client

    monkeypatch.setattr(doctor, "sign_in", sign_in)
    client = connection()
    visit = doctor.Visit(link_of(client, client.transport.default_port), {})
    *before, signing_in = visit.links([])
    for link in before:
        link.look(LIMIT)
    with pytest.raises(BrokerUnreachableError, match="took the login and then did not answer"):
        signing_in.look(10.0)
    visit.close()


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"tls": False, "servers": "broker.example:9092"}, InsecureTransportError, "clear text"),
        ({"tls": False, "servers": "localhost,b:1"}, InsecureTransportError, "clear text"),
        ({"ssl": {"ca_cert": "x"}}, ConfigurationError, "no option 'ca_cert'"),
        ({"ssl": {"ca_certs": "/nowhere.pem"}}, ConfigurationError, "/nowhere.pem"),
        ({"ssl": {"cert_reqs": 0}}, InsecureTransportError, "verification"),
        ({"options": {"sasl_mechanism": "PLAIN"}}, ConfigurationError, "sasl_mechanism"),
        (
            {"options": {"kafka_common_config": {"sasl.password": "x"}}},
            ConfigurationError,
            "sasl.password",
        ),
        *(
            (
                {"options": {f"kafka_{name}_config": {"enable.ssl.certificate.verification": off}}},
                InsecureTransportError,
                f"kafka_{name}_config switches",
            )
            for name in ("common", "admin", "producer", "consumer")
            for off in ("false", "f", "F", "0", 0, False)
        ),
        (
            {"options": {"kafka_common_config": {"no.such.setting": 1}}},
            ConfigurationError,
            "no.such.setting",
        ),
        ({"options": {"kafka_common_config": "x"}}, ConfigurationError, "is a str"),
        ({"options": {"kafka_common_config": 5}}, ConfigurationError, "is an int"),
        ({"ssl": {"ca_certs": "/dev/zero"}}, ConfigurationError, "not a regular file"),
        ({"who": "oauth2:password"}, ConfigurationError, "holds a password"),
        *(
            ({"options": {name: value}}, ConfigurationError, rf"'{name}' is '{value}'.*more than 0")
            for name in ("connect_limit", "publish_limit", "wait_time_seconds", "polling_interval")
            for value in (float("nan"), float("inf"), -1, 0, "5", True)
        ),
    ],
    ids=lambda value: None,
)
def test_what_cannot_work_is_refused(
    connection: Connect, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    """Contradictions and unsafe settings are refused before anything is sent."""
    with pytest.raises(error, match=words):
        connection(**settings).connect()


def test_a_password_is_no_token(
    connection: Connect, auth: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider of user names and passwords is refused: OAUTHBEARER wants a token."""
    monkeypatch.setenv("MQAUTH_STATIC_USERNAME", "u")
    monkeypatch.setenv("MQAUTH_STATIC_PASSWORD", "p")
    auth.clear()
    with pytest.raises(ConfigurationError, match=r"by a user name and a password.*OAUTHBEARER"):
        connection(who="static").connect()


@pytest.mark.parametrize(
    ("installed", "words"),
    [(None, r"confluent-kafka is not installed.*celery-mqauth\[kafka\]"), ("2.12.2", r"2\.12\.2")],
    ids=["missing", "old"],
)
def test_the_client_is_checked(
    monkeypatch: pytest.MonkeyPatch, installed: str | None, words: str
) -> None:
    """A missing or old confluent-kafka is one line that names the extra."""

    def version(name: str) -> str:
        if installed is None:
            raise PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(client_version, "version", version)
    with pytest.raises(ConfigurationError, match=words):
        _ = kafka_package.Transport
