"""The real Kafka broker: who gets in, who does not, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from mqauth_sandbox import KafkaSandbox, NotInstalledError
from mqauth_sandbox.kafka import prepare
from mqauth_sandbox.kafka.prepare import KafkaInstallation

LIMIT = 60.0
LOOK = 0.5
OWNER = """
import sys, time
from mqauth_sandbox import KafkaSandbox
with KafkaSandbox() as kafka:
    print(kafka.broker.tls_port, kafka.ca_file, flush=True)
    time.sleep(100)
"""


@pytest.fixture(scope="module")
def kafka(mqauth_kafka: KafkaInstallation) -> Iterator[KafkaSandbox]:
    """An issuer and a broker that wants clients to sign in again every two seconds."""
    with KafkaSandbox(token_lifetime=60, max_reauth=2) as running:
        yield running


Admit = Callable[[str], str]


@pytest.fixture
def admit(kafka: KafkaSandbox) -> Admit:
    """Return a function that signs in with a token and returns `in`, or what the client is told."""

    def attempt(token: str, listener: str = "tls") -> str:
        told: list[str] = []
        client = AdminClient(
            settings(kafka, lambda _: (token, time.time() + 60), told.append, listener)
        )
        deadline = time.monotonic() + LIMIT
        while not any("SASL" in words for words in told) and time.monotonic() < deadline:
            try:
                client.list_topics(timeout=LOOK)
            except KafkaException:
                client.poll(0)
            else:
                return "in"
        return " ".join(told)

    return attempt


def settings(
    kafka: KafkaSandbox, token: Any, told: Callable[[str], object], listener: str = "tls"
) -> dict[str, Any]:
    """Return librdkafka's settings for a client that gets its tokens from `token`."""
    port = kafka.broker.tls_port if listener == "tls" else kafka.broker.sasl_port
    return {
        "bootstrap.servers": f"localhost:{port}",
        "security.protocol": "SASL_SSL" if listener == "tls" else "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "ssl.ca.location": str(kafka.ca_file),
        "log_level": 0,
        "oauth_cb": token,
        "error_cb": lambda error: told(error.str()),
    }


def answers(port: int) -> bool:
    """Return whether something listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def forged(token: str) -> str:
    """Return the token with another signature."""
    return token[:-8] + ("AAAAAAAA" if not token.endswith("AAAAAAAA") else "BBBBBBBB")


def java_home(folder: Path, version: str) -> Path:
    """Write a Java that does nothing but tell its version; return its home."""
    java = folder / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)
    return folder


@pytest.mark.parametrize("listener", ["tls", "plain"])
def test_a_token_of_the_issuer_opens_the_door(
    kafka: KafkaSandbox, admit: Callable[..., str], listener: str
) -> None:
    """A valid token is accepted on both listeners."""
    assert admit(kafka.issuer.mint(), listener) == "in"


@pytest.mark.parametrize(
    "bad",
    [
        lambda issuer: issuer.mint(lifetime=-2),
        lambda issuer: issuer.mint(aud=["another"]),
        lambda issuer: issuer.mint(iss="https://localhost:1"),
        lambda issuer: forged(issuer.mint()),
        lambda issuer: "a.b.c",
    ],
    ids=["expired", "audience", "issuer", "forged", "garbage"],
)
def test_no_other_token_does(kafka: KafkaSandbox, admit: Admit, bad: Callable[[Any], str]) -> None:
    """The broker refuses what it is to refuse, and its log and the client's report say so."""
    begun = kafka.broker.log_size()
    assert "invalid_token" in admit(bad(kafka.issuer))
    # The broker answers first and tells its log then.
    deadline = time.monotonic() + LIMIT
    while not any("invalid_token" in line for line in kafka.broker.refusals(begun)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_broker_wants_clients_to_sign_in_again(kafka: KafkaSandbox) -> None:
    """A connection that stays open signs in again, which the log counts."""
    begun = kafka.broker.log_size()
    client = AdminClient(
        settings(kafka, lambda _: (kafka.issuer.mint(), time.time() + 60), lambda _: None)
    )
    client.list_topics(timeout=LIMIT)
    deadline = time.monotonic() + LIMIT
    while kafka.broker.reauthentications(begun) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert topics_once_it_is_let_in(client).brokers


def topics_once_it_is_let_in(client: AdminClient) -> Any:
    """Ask for topics. A broker ends a link whose sign-in came late; the next one brings them."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return client.list_topics(timeout=LIMIT)
        except KafkaException as raised:
            cut_off = raised.args[0].code() == KafkaError._TRANSPORT
            if not cut_off or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def test_a_killed_broker_starts_again(kafka: KafkaSandbox, admit: Admit) -> None:
    """After `kill` the port is dead at once, and `start` brings the broker back."""
    kafka.broker.kill()
    assert not answers(kafka.broker.tls_port)
    kafka.broker.start()
    assert admit(kafka.issuer.mint()) == "in"


def test_nothing_outlives_a_killed_owner(mqauth_kafka: KafkaInstallation) -> None:
    """A broker whose owner was killed by SIGKILL is gone, its files too."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    port, ca_file = owner.stdout.readline().split()
    base = Path(ca_file).parents[1]
    assert answers(int(port))
    owner.send_signal(signal.SIGKILL)
    owner.wait(LIMIT)
    owner.stdout.close()
    deadline = time.monotonic() + LIMIT
    while base.exists() or answers(int(port)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_without_java_a_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where there is no Java, the error names the command that installs it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(NotInstalledError, match=r"Java is not installed.*prepare kafka"):
        prepare.find_kafka()


def test_an_old_java_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Kafka 4 does not run on Java 11, which is said before anything is started."""
    monkeypatch.setenv("JAVA_HOME", os.fspath(java_home(tmp_path, "11.0.2")))
    with pytest.raises(NotInstalledError, match=r"Java 11.*too old.*17"):
        prepare.find_kafka()


def test_without_jars_a_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where Kafka has not been fetched, the error names the command that does."""
    monkeypatch.setenv("MQAUTH_SANDBOX_CACHE", os.fspath(tmp_path))
    monkeypatch.setenv("JAVA_HOME", os.fspath(java_home(tmp_path, "17.0.1")))
    with pytest.raises(NotInstalledError, match=r"Kafka is not installed.*prepare kafka"):
        prepare.find_kafka()
