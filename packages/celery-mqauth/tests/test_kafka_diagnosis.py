"""What the doctor makes of an app on Kafka before, and without, any broker."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import celery
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from celery_mqauth.command import mqauth as command
from celery_mqauth.diagnosis import DEFAULT_ROLES, app_target
from celery_mqauth.kafka import probe
from celery_mqauth.kafka.chain import KafkaChain
from celery_mqauth.kafka.delivery import deliver
from celery_mqauth.kafka.errors import NotAuthorizedError, NotConfirmedError
from celery_mqauth.least.topics import app_topics, topics_left_out
from mqauth.diagnosis.findings import BrokenLinkError
from mqauth.diagnosis.target import Target
from mqauth.errors import ConfigurationError
from mqauth_sandbox.tls import CertificateAuthority

LIMIT = 10.0


def kafka_app(broker: str = "mqauths-kafka://oauth2@localhost:1", **conf: Any) -> celery.Celery:
    """Return an app with an inline secret."""
    app = celery.Celery("proj", broker=broker, set_as_current=False)
    auth = {"issuer": "https://localhost:1", "client_id": "x", "client_secret": "s3cret"}
    app.conf.update(broker_transport_options={"auth": auth}, **conf)
    return app


def test_only_names_that_are_known_are_topics() -> None:
    """What an exchange or a worker's own queue is called shows only at run time; that is told."""
    app = kafka_app(
        task_routes={"proj.a": {"exchange": "audit"}, "proj.b": {"queue": "b"}},
        worker_direct=True,
    )
    assert [use.name for use in app_topics(app, roles=DEFAULT_ROLES)] == ["b", "celery"]
    direct, exchange = topics_left_out(app, roles=DEFAULT_ROLES)
    assert "the queue *@*.dq2 is not looked at" in direct
    assert "an exchange without a queue" in exchange
    named = app_topics(app, roles=DEFAULT_ROLES, queues=["w1@host.dq2"])
    assert [use.name for use in named if use.read] == ["w1host.dq2"]


def test_an_app_without_servers_is_refused() -> None:
    """A comma alone names nobody."""
    with pytest.raises(ConfigurationError, match="names no bootstrap server"):
        app_target(kafka_app("mqauths-kafka://oauth2@,"))


@pytest.mark.parametrize(
    "broker",
    [
        "mqauths-kafka://oauth2@a:1,b:2",
        "mqauths-kafka://oauth2@a:1;mqauths-kafka://oauth2@b:1,c:2",
    ],
)
def test_a_port_for_each_server_is_refused_in_one_line(broker: str) -> None:
    """It is how everybody else writes them, and Kombu's own error has no remedy."""
    with pytest.raises(ConfigurationError, match=r"cannot be read.*one port for all hosts"):
        app_target(kafka_app(broker))


def test_an_error_of_amqp_says_its_remedy_once() -> None:
    """Those who print message and remedy, as the doctor does, print each of them once."""
    error = NotAuthorizedError("it is not allowed", remedy="allow it")
    assert (error.message, error.remedy) == ("it is not allowed", "allow it")
    assert str(error) == error.reply_text == "it is not allowed (allow it)"


def test_what_has_been_given_up_is_not_sent() -> None:
    """A message that nobody waits for any more does not arrive when the broker comes back."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        producer = Producer({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
        assert not deliver(producer, "celery", b"{}", 0.1).told
        assert len(producer) == 0


def test_a_probe_whose_login_took_all_the_time_sends_nothing() -> None:
    """Whoever asked has gone on."""
    with pytest.raises(NotConfirmedError, match="took all of the time"):
        probe._sent("localhost:1", {}, "celery", b"", time.monotonic())  # type: ignore[arg-type]


def test_an_inline_secret_does_not_show() -> None:
    """Whoever prints what an app's configuration names prints no secret."""
    assert "s3cret" not in repr(app_target(kafka_app()))


def test_a_configuration_of_rabbitmq_is_refused(tmp_path: Path) -> None:
    """Kafka's tokens are not judged by what RabbitMQ wants of them."""
    conf = tmp_path / "rabbitmq.conf"
    conf.write_text("auth_oauth2.resource_server_id = rabbit\n")
    context = type("Context", (), {"app": kafka_app()})()
    done = CliRunner().invoke(command, ["doctor", "--json", "--conf", str(conf)], obj=context)
    (finding,) = json.loads(done.stdout)["links"]
    assert (done.exit_code, finding["link"]) == (2, "options")
    assert "--conf is about RabbitMQ" in finding["detail"]


@pytest.mark.parametrize("presented", [True, False], ids=["presented", "missing"])
def test_the_tls_link_presents_the_client_certificate(
    tmp_path: Path,
    presented: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A listener with `ssl.client.auth=required` is no broken one."""
    authority = CertificateAuthority()
    server, own = authority.server_files(tmp_path), authority.issue_client(tmp_path, "celery")
    settings = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=server.ca_file)
    settings.load_cert_chain(server.certificate_file, server.key_file)
    settings.verify_mode = ssl.CERT_REQUIRED
    # In TLS 1.3 the client is through before the server looks at its certificate.
    settings.maximum_version = ssl.TLSVersion.TLSv1_2
    certificate = {"certfile": str(own.certificate_file), "keyfile": str(own.key_file)}

    def answer(listening: socket.socket) -> None:
        peer, _ = listening.accept()
        try:
            settings.wrap_socket(peer, server_side=True).close()
        except OSError:
            peer.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=answer, args=(listening,), daemon=True)
        answering.start()
        target = Target(
            host="localhost",
            port=listening.getsockname()[1],
            kind="kafka",
            ssl={"ca_certs": str(server.ca_file), **(certificate if presented else {})},
        )
        chain = KafkaChain(target, (), insecure=False)
        broker, tls, *_ = chain.links(None, None)  # type: ignore[arg-type]  # nobody signs in
        broker.look(LIMIT)
        if presented:
            assert tls.look(LIMIT).startswith("TLSv1.2, certificate of localhost")
        else:
            with pytest.raises(BrokenLinkError, match="no TLS"):
                tls.look(LIMIT)
        answering.join(LIMIT)
        chain.close()
