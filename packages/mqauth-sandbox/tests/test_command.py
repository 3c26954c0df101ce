"""The command as a user runs it: in a process of its own, ended by signals."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import amqp
import boto3
import pytest
import urllib3
from confluent_kafka.admin import AdminClient

from mqauth_sandbox import NotInstalledError
from mqauth_sandbox.rabbitmq.prepare import prepare

LIMIT = 90.0
COMMAND = [sys.executable, "-m", "mqauth_sandbox"]


@pytest.fixture(scope="module")
def which(request: pytest.FixtureRequest) -> str:
    """The RabbitMQ that this run is about."""
    return str(request.config.getoption("--mqauth-broker"))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        env=os.environ | environment,
    )


class Running:
    """A sandbox that `mqauth-sandbox up` runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Read what it prints until it is up."""
        self.process = process
        printed = cast("IO[str]", process.stdout).readline()
        if printed.startswith("{"):
            self.environment: dict[str, str] = json.loads(printed)["environment"]
        else:
            lines = [printed]
            while not lines[-1].startswith("export MQAUTH_SANDBOX_MANAGEMENT_URL="):
                lines.append(cast("IO[str]", process.stdout).readline())
                assert lines[-1], "it ended while it printed the environment"
            words = [shlex.split(line) for line in lines]
            assert {word[0] for word in words} == {"export"}
            self.environment = dict(word[1].split("=", 1) for word in words)
        self.directory = Path(self.environment["MQAUTH_OAUTH2_CA_FILE"]).parent.parent
        self.processes = descendants(process.pid)

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT)

    def assert_gone(self) -> None:
        """Wait until no process and no file is left."""
        deadline = time.monotonic() + 30
        while (left := alive(self.processes)) or self.directory.exists():
            assert time.monotonic() < deadline, f"left: {left} {self.directory}"
            time.sleep(0.05)
        mounts = Path("/proc/self/mounts").read_text()
        assert str(self.directory) not in mounts


@contextmanager
def up(*arguments: str) -> Iterator[Running]:
    """Run `mqauth-sandbox up` and make sure that it ends."""
    with subprocess.Popen(
        [*COMMAND, "up", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


def descendants(pid: int) -> list[int]:
    """Return the pids of all processes below `pid`."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [one for child in map(int, children) for one in (child, *descendants(child))]


def alive(pids: list[int]) -> list[str]:
    """Return the names of those processes that still run."""
    found = []
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        if stat.rpartition(")")[2].split()[0] not in "ZX":
            found.append(stat)
    return found


def oauth2_token(environment: dict[str, str]) -> str:
    """Fetch a token with nothing but the environment."""
    parameters = {
        "grant_type": "client_credentials",
        "client_id": environment["MQAUTH_OAUTH2_CLIENT_ID"],
        "client_secret": Path(environment["MQAUTH_OAUTH2_CLIENT_SECRET_FILE"]).read_text(),
    }
    https = urllib3.PoolManager(
        ca_certs=environment["MQAUTH_OAUTH2_CA_FILE"], timeout=10, retries=False
    )
    discovery = f"{environment['MQAUTH_OAUTH2_ISSUER']}/.well-known/openid-configuration"
    endpoint = https.request("GET", discovery).json()["token_endpoint"]
    return str(
        https.request("POST", endpoint, fields=parameters, encode_multipart=False).json()[
            "access_token"
        ]
    )


@pytest.mark.parametrize("lifetime", ["nan", "inf", "0"])
def test_a_lifetime_that_is_none(lifetime: str) -> None:
    """Tokens live as long as somebody can mean; nothing is started otherwise."""
    done = run("up", "--token-lifetime", lifetime)
    assert (done.returncode, "--token-lifetime" in done.stderr) == (2, True)


def test_the_printed_environment_leads_to_everything(
    which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the exports alone a client fetches a token, signs in, and calls STS; SIGTERM ends it."""
    with up("--broker", which, "--token-lifetime", "30") as sandbox:
        environment = sandbox.environment
        url = urllib.parse.urlsplit(environment["CELERY_BROKER_URL"])
        assert (url.scheme, url.username) == ("mqauth", "oauth2")
        connection = amqp.Connection(
            f"{url.hostname}:{url.port}",
            userid="",
            password=oauth2_token(environment),
            login_method="PLAIN",
            connect_timeout=10,
        )
        connection.connect()
        connection.close()
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        identity = boto3.Session().client("sts").get_caller_identity()
        assert identity["Account"] in environment["MQAUTH_AWS_IAM_ROLE_ARN"]
        running = {entry["pid"] for entry in json.loads(run("status", "--json").stdout)}
        assert sandbox.process.pid in running
        assert sandbox.end(signal.SIGTERM) == 0
        sandbox.assert_gone()


@pytest.mark.usefixtures("mqauth_kafka")
def test_kafka_is_a_broker_too() -> None:
    """What is printed leads to Kafka with a token of the issuer; SIGTERM ends both."""
    with up("--broker", "kafka", "--json") as sandbox:
        url = urllib.parse.urlsplit(sandbox.environment["CELERY_BROKER_URL"])
        assert (url.scheme, url.username) == ("mqauth-kafka", "oauth2")
        token = oauth2_token(sandbox.environment)
        settings: dict[str, Any] = {
            "bootstrap.servers": f"{url.hostname}:{url.port}",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "OAUTHBEARER",
            "oauth_cb": lambda _: (token, time.time() + 60),
        }
        client = AdminClient(settings)
        assert client.list_topics(timeout=LIMIT).brokers
        del client
        assert sandbox.end(signal.SIGTERM) == 0
        sandbox.assert_gone()


def test_nothing_outlives_a_killed_command(which: str) -> None:
    """SIGKILL leaves neither the node, nor epmd, nor a directory, nor a mount."""
    with up("--broker", which, "--json") as sandbox:
        assert any("beam.smp" in process for process in alive(sandbox.processes))
        assert any("epmd" in process for process in alive(sandbox.processes))
        assert sandbox.end(signal.SIGKILL) == -signal.SIGKILL
        sandbox.assert_gone()


def test_ctrl_c_while_starting_leaves_nothing(which: str) -> None:
    """Ctrl-C before the sandbox is up ends it with the status of the signal."""
    with subprocess.Popen(
        [*COMMAND, "up", "--broker", which],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + LIMIT
        while not any("beam.smp" in one for one in alive(descendants(process.pid))):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        processes = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(LIMIT) == 128 + signal.SIGINT
        assert cast("IO[str]", process.stdout).read() == ""
    assert alive(processes) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--broker", "/nowhere"], "no rabbitmq-server at /nowhere"),
        (["--broker-auth", "kerberos"], "'kerberos' is not one of 'oauth2', 'amazonmq'"),
        (["--token-lifetime", "0"], "0 is not from 1 to 86400 seconds"),
        (["--token-lifetime", "nan"], "nan is not from 1 to 86400 seconds"),
        (["--broker", "kafka", "--broker-auth", "amazonmq"], "leave --broker-auth and --aws-login"),
    ],
)
def test_bad_options_are_named(arguments: list[str], message: str) -> None:
    """What cannot work is one error that names it, with a status that says so."""
    ended = run("up", *arguments)
    assert ended.returncode in (1, 2)
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_prepare_names_what_it_found(which: str) -> None:
    """What is installed already is named at once."""
    ended = run("prepare", which)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{which}: RabbitMQ {which}.")


def test_doctor_looks_at_the_brokers(which: str) -> None:
    """The findings are JSON on request, and name the broker's version."""
    ended = run("doctor", "--json")
    assert ended.returncode == 0, ended.stderr
    findings = {finding["what"]: finding for finding in json.loads(ended.stdout)}
    assert findings[f"RabbitMQ {which}"]["ok"]
    assert findings[f"RabbitMQ {which}"]["found"].startswith(f"{which}.")
    assert findings["namespaces"]["ok"]


def test_without_rights_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who may neither install nor use sudo is told what to do instead."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MQAUTH_SANDBOX_CACHE", str(tmp_path))
    with pytest.raises(NotInstalledError, match=r"needs root.*`mqauth-sandbox prepare` once"):
        prepare("4")


HANGING_DEBOOTSTRAP = """#!/bin/sh
for folder; do :; done
mkdir -p "$folder/usr" && touch "$folder/usr/half-made"
exec sleep 600
"""
FAILING_DEBOOTSTRAP = """#!/bin/sh
echo "E: cannot find the packages"
exit 3
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="bootstrapping needs root")
def test_a_killed_bootstrap_is_cleaned_up_by_the_next(tmp_path: Path) -> None:
    """A half-made system is never taken for a whole one, and is removed by the next attempt.

    A stand-in for debootstrap hangs, then fails: what matters is what we do about it.
    """
    cache = tmp_path / "cache"
    tool = tmp_path / "bin" / "debootstrap"
    tool.parent.mkdir()
    tool.write_text(HANGING_DEBOOTSTRAP)
    tool.chmod(0o755)
    environment = {
        "PATH": f"{tool.parent}:{os.environ['PATH']}",
        "MQAUTH_SANDBOX_CACHE": str(cache),
    }
    with subprocess.Popen(
        [*COMMAND, "prepare", "4"], stderr=subprocess.DEVNULL, env=os.environ | environment
    ) as process:
        deadline = time.monotonic() + LIMIT
        while not list(cache.glob("*.unfinished/usr/half-made")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        processes = descendants(process.pid)
        process.kill()
    deadline = time.monotonic() + 30
    while alive(processes):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    tool.write_text(FAILING_DEBOOTSTRAP)
    ended = run("prepare", "4", **environment)
    assert ended.returncode == 1
    assert "failed with status 3: E: cannot find the packages" in ended.stderr
    assert [path.name for path in cache.iterdir()] == ["prepare.lock"]
    assert "run `mqauth-sandbox prepare 4`" in run("doctor", **environment).stdout
