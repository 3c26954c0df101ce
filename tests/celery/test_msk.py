"""From AWS credentials of each kind to a Kafka cluster with IAM sign-in, at the cluster's edge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient

from celery_mqauth.errors import LoginRefusedError
from mqauth.cli.root import cli as mqauth_command
from mqauth.shared import forget_shared_sources, shared_sources
from mqauth_sandbox.kafka.edge import MskSignIn
from mqauth_sandbox.kafka.msk import MskSandbox
from mqauth_sandbox.kafka.prepare import KafkaInstallation
from tests.celery.processes import wait_until
from tests.docs.documents import ROOT, blocks

LIMIT = 20.0
REAUTH = 3.0
SESSION = 25.0
BIN = Path(sys.executable).parent
README = ROOT / "packages" / "celery-mqauth" / "README.md"

SCRIPT = """
import json, sys, kombu, celery_mqauth
settings = json.load(sys.stdin)
with kombu.Connection(settings["url"], ssl={"ca_certs": settings["ca"]},
                      transport_options={"auth": settings["auth"]}) as connection:
    queue = connection.SimpleQueue(settings["topic"])
    queue.put("from a process of its own")
    queue.close()
"""


@pytest.fixture(scope="module")
def msk(mqauth_kafka: KafkaInstallation) -> Iterator[MskSandbox]:
    """An account and a cluster that wants a login every three seconds."""
    with MskSandbox(max_reauth=REAUTH) as running:
        yield running


@pytest.fixture(autouse=True)
def environment(
    msk: MskSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """Nothing of the developer's decides a test; returns what a process of its own gets."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "MQAUTH_", "CREDPROC_", "CELERY_")):
            monkeypatch.delenv(name)
    ours = {**msk.environment(), "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    yield ours
    forget_shared_sources()


@pytest.fixture
def connect(msk: MskSandbox) -> Callable[..., kombu.Connection]:
    """Return a function that makes a connection with options of the provider."""

    def make(**auth: Any) -> kombu.Connection:
        return kombu.Connection(
            f"mqauths-kafka://aws-msk-iam@localhost:{msk.edge.port}",
            ssl={"ca_certs": str(msk.ca_file)},
            transport_options={"auth": {"region": msk.region, **auth}},
        )

    return make


@pytest.fixture
def identity(msk: MskSandbox) -> dict[str, str]:
    """Options that name the Roles Anywhere identity."""
    return {f"roles_anywhere_{name}": value for name, value in msk.identity().items()}


def use(connection: kombu.Connection, topic: str) -> None:
    """Send a message and receive it, then again when every client has signed in once more."""
    queue = connection.SimpleQueue(topic)
    for text in ("first", "second"):
        queue.put(text)
        message = queue.get(timeout=LIMIT)
        assert message.payload == text
        message.ack()
        if text == "first":
            time.sleep(REAUTH)
    queue.close()


def outcomes(sign_ins: list[MskSignIn]) -> set[tuple[str, str | None]]:
    """Return how logins ended, and whose they were."""
    return {(one.outcome, one.arn) for one in sign_ins}


def test_a_users_key(
    msk: MskSandbox, connect: Callable[..., kombu.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long-term key signs in, and again on the connections that stay."""
    for name, value in msk.access_key().items():
        monkeypatch.setenv(name, value)
    before = len(msk.edge.sign_ins)
    with connect() as connection:
        use(connection, "static")
        wait_until(
            lambda: any(one.again for one in msk.edge.sign_ins[before:]), LIMIT, "another sign-in"
        )
    assert outcomes(msk.edge.sign_ins[before:]) == {("ok", msk.sts.user_arn)}


def test_an_assumed_role(
    msk: MskSandbox, connect: Callable[..., kombu.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role's session signs in, assumed once for all clients."""
    for name, value in msk.access_key().items():
        monkeypatch.setenv(name, value)
    before, calls = len(msk.edge.sign_ins), len(msk.sts.calls)
    with connect(role_arn=msk.sts.role_arn, role_session_name="worker") as connection:
        use(connection, "role")
    arn = msk.sts.role_arn.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/")
    assert outcomes(msk.edge.sign_ins[before:]) == {("ok", f"{arn}/worker")}
    assert [call.action for call in msk.sts.calls[calls:]] == ["AssumeRole"]


def test_a_certificate_in_process(
    msk: MskSandbox, connect: Callable[..., kombu.Connection], identity: dict[str, str]
) -> None:
    """Certificate, CreateSession, token, broker: in this process, with no credential on disk."""
    before, sessions = len(msk.edge.sign_ins), len(msk.roles_anywhere.calls)
    with connect(**identity, cache=False) as connection:
        use(connection, "certificate")
    assert [call.outcome for call in msk.roles_anywhere.calls[sessions:]] == ["ok"]
    ((outcome, arn),) = outcomes(msk.edge.sign_ins[before:])
    assert outcome == "ok"
    assert arn is not None
    assert msk.roles_anywhere.role_arn.rpartition("/")[2] in arn


def test_a_certificate_by_profile(
    msk: MskSandbox,
    connect: Callable[..., kombu.Connection],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The profile that other Kafka clients of the host share: credproc as credential_process."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(profile(msk, tmp_path)))
    before, sessions = len(msk.edge.sign_ins), len(msk.roles_anywhere.calls)
    with connect(profile="onprem") as connection:
        use(connection, "profile")
    assert {outcome for outcome, _ in outcomes(msk.edge.sign_ins[before:])} == {"ok"}
    assert [call.outcome for call in msk.roles_anywhere.calls[sessions:]] == ["ok"]


def profile(msk: MskSandbox, folder: Path) -> Path:
    """Write an AWS configuration whose credentials come from a certificate; return its path."""
    arguments = " ".join(
        f"--{name.replace('_', '-')} {value}" for name, value in msk.identity().items()
    )
    config = folder / "aws-config"
    config.write_text(f"[profile onprem]\ncredential_process = {BIN / 'credproc'} {arguments}\n")
    return config


def test_documented_clients_share_the_profile(
    msk: MskSandbox,
    environment: dict[str, str],
    mqauth_kafka_java: KafkaInstallation,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The README's settings let a Java client and one on librdkafka in, by one session."""
    environment["AWS_CONFIG_FILE"] = str(profile(msk, tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", environment["AWS_CONFIG_FILE"])
    before, sessions = len(msk.edge.sign_ins), len(msk.roles_anywhere.calls)
    servers = f"localhost:{msk.edge.port}"
    properties = tmp_path / "client.properties"
    trust = f"ssl.truststore.type=PEM\nssl.truststore.location={msk.ca_file}\n"
    properties.write_text(documented("sasl.jaas.config") + trust)
    java = [str(mqauth_kafka_java.java), "-XX:TieredStopAtLevel=1"]
    java += ["-cp", f"{mqauth_kafka_java.jars}/*", "org.apache.kafka.tools.TopicCommand"]
    made = subprocess.run(
        [
            *java,
            *(f"--bootstrap-server={servers}", f"--command-config={properties}"),
            *("--create", "--topic=made-by-java"),
        ],
        env={**environment, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    text = documented("oauth_cb").replace(
        '"region": "eu-west-1"', f'"region": "{msk.region}", "profile": "onprem"'
    )
    shown: dict[str, Any] = {}
    exec(text, shown)  # noqa: S102 - our own README
    settings = {
        **shown["settings"],
        "bootstrap.servers": servers,
        "ssl.ca.location": str(msk.ca_file),
    }
    assert "made-by-java" in AdminClient(settings).list_topics(timeout=LIMIT).topics
    assert {outcome for outcome, _ in outcomes(msk.edge.sign_ins[before:])} == {"ok"}
    assert len(outcomes(msk.edge.sign_ins[before:])) == 1, "one session, hence one name"
    assert [call.outcome for call in msk.roles_anywhere.calls[sessions:]] == ["ok"]


def documented(what: str) -> str:
    """Return the block of the README that has `what` in it."""
    (found,) = [block.text for block in blocks(README) if what in block.text]
    return found


def test_the_documented_doctor_command(msk: MskSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds nothing wrong with the cluster, and names the links that lead to an AWS token."""
    for name, value in msk.access_key().items():
        monkeypatch.setenv(name, value)
    (line,) = documented("--broker mqauths-kafka://").splitlines()
    words = line.replace("HOST:9098", f"localhost:{msk.edge.port}").split()
    more = ["--ca-file", str(msk.ca_file), "--option", f"region={msk.region}", "--json"]
    done = CliRunner().invoke(mqauth_command, [*words[1:], *more])
    assert done.exit_code == 0, done.output
    links = [link["link"] for link in json.loads(done.stdout)["links"]]
    assert links == [
        *("options", "libraries", "AWS credentials", "token", "credential", "claims"),
        *("broker", "tls", "login", "topic celery", "topic audit"),
    ]
    assert "X-Amz" not in done.output


def test_processes_of_a_host_share_a_token(
    msk: MskSandbox, environment: dict[str, str], identity: dict[str, str]
) -> None:
    """Three processes that need a token one after the other open one session for it."""
    sessions = len(msk.roles_anywhere.calls)
    settings = {
        "url": f"mqauths-kafka://aws-msk-iam@localhost:{msk.edge.port}",
        "ca": str(msk.ca_file),
        "auth": {"region": msk.region, **identity},
        "topic": "shared",
    }
    for _ in range(3):
        subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT],
            input=json.dumps(settings),
            env={**environment, "PATH": os.environ["PATH"]},
            text=True,
            timeout=60,
            check=True,
        )
    assert [call.outcome for call in msk.roles_anywhere.calls[sessions:]] == ["ok"]


def test_another_region_is_refused_with_a_remedy(
    msk: MskSandbox, connect: Callable[..., kombu.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token for another region's clusters does not open this one, and the error asks for it."""
    for name, value in msk.access_key().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LoginRefusedError, match=r"Access denied.*kafka-cluster:Connect.*region"):
        connect(region="us-east-1").connect()


def test_sessions_that_last_seconds_are_no_interruption(
    msk: MskSandbox, connect: Callable[..., kombu.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token ends with the session behind it; there is one of the next session before that."""
    for name, value in msk.access_key().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(msk.sts, "session_lifetime", SESSION)
    before = len(msk.edge.sign_ins)
    with connect(role_arn=msk.sts.role_arn) as connection:
        queue = connection.SimpleQueue("short")
        queue.put("a")
        queue.get(timeout=LIMIT).ack()
        (source,) = shared_sources()
        first = source.current
        assert first is not None
        assert first.remaining() <= SESSION
        wait_until(first.expired, SESSION + LIMIT, "the end of the first session")
        queue.put("b")
        assert queue.get(timeout=LIMIT).payload == "b"
        queue.close()
    assert {one.outcome for one in msk.edge.sign_ins[before:]} == {"ok"}
