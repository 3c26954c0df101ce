"""`celery mqauth scopes` and `celery mqauth doctor`, as they are run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from celery_mqauth.command import mqauth
from mqauth_sandbox import Sandbox
from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.tls import create_certificates
from tests.permissions.apps import classic

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 80.0
ARN = "arn:aws:iam::123456789012:role/W"
ROUTED = ("celery", "mails", "feeds", "webs", "reports", "payments", "nightly")


def run(
    *arguments: str,
    app: str = "classic",
    stdin: str = "",
    command: str = "scopes",
    **variables: str,
) -> tuple[int, str]:
    """Run the command on an app; return its exit status and what it printed."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MQAUTH_", "AWS_", "CELERY_", "COLUMNS"))
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "celery", "-A", f"tests.permissions.apps.{app}"),
            *("mqauth", command, *arguments),
        ],
        env={
            **environment,
            "PYTHONPATH": str(ROOT),
            "CELERY_BROKER_URL": "amqp://guest@localhost/prod",
            **variables,
        },
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def issuer(tmp_path: Path) -> OidcIssuer:
    """An issuer that mints tokens; nobody asks it for one."""
    files = create_certificates(tmp_path)
    return OidcIssuer(certificate=files.certificate_file, private_key=files.key_file)


def scopes_of(role: str) -> list[str]:
    """Return the scopes that are printed for a role."""
    return run("--role", role, "--format", "scopes")[1].split()


def test_a_quiet_worker_needs_less() -> None:
    """What a worker's options turn off is not granted."""
    everything = scopes_of("worker")
    _, quiet = run("-r", "worker", "-f", "scopes", "--without-gossip", "--without-mingle",
                   "--without-heartbeat", "--without-task-events")  # fmt: skip
    assert set(quiet.split()) < set(everything)
    assert "celeryev" not in quiet
    assert "rabbitmq.write:prod/celeryev/task.*" in everything


def test_every_form() -> None:
    """Each form holds each scope or name."""
    _, conf = run("--format", "conf", app="custom")
    assert "auth_oauth2.scope_aliases.1.alias = celery-worker" in conf
    assert "rabbitmq.read:prod/shop.events/order.%23" in conf
    _, advanced = run("--format", "advanced", "--vhost", "a/b", app="custom")
    assert '<<"rabbitmq.write:a%2Fb/shop.mails"/utf8>>' in advanced
    _, amazon = run(
        "-f", "amazonmq", "-r", "worker", "--role-arn", "arn:aws:iam::123456789012:role/W"
    )
    assert f"auth_oauth2.scope_aliases.1.alias = {ARN}" in amazon
    assert "rabbitmq/configure:prod/celery " in amazon
    _, regex = run("-f", "regex", "-r", "events", app="custom")
    assert "rabbitmqctl set_permissions -p prod celery-events '^(shop\\.celeryev|" in regex
    report = json.loads(run("-f", "json")[1])
    assert {grant["role"] for grant in report} >= {"worker", "producer", "results", "beat"}
    assert all(grant["scopes"] and grant["permissions"] for grant in report)


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_table_fits(columns: str) -> None:
    """No line is longer than the terminal, and each says what it is for."""
    _, table = run("--role", "worker", app="custom", COLUMNS=columns)
    assert max(map(len, table.splitlines())) <= int(columns)
    assert "remote control" in table
    assert "\x1b" not in table


def test_a_check(issuer: OidcIssuer) -> None:
    """What a token lacks, what it does not need and what is too wide are told apart."""
    scopes = [scope for scope in scopes_of("producer") if "amq.default" not in scope]
    token = issuer.mint(scopes=[*scopes, "rabbitmq.read:other/*", "rabbitmq.write:prod/cel*/*"])
    code, said = run("-r", "producer", "--check", "--token", "-", stdin=token)
    assert code == 3, said
    assert "producer: 1 missing" in said
    lines = [line.split() for line in said.splitlines()]
    assert ["missing", "rabbitmq.write:prod/amq.default", "tasks"] in lines
    assert ["not", "needed", "rabbitmq.read:other/*"] in lines
    enough = issuer.mint(scopes=scopes_of("producer"))
    code, said = run("-r", "producer", "--check", "--token", "-", stdin=enough)
    assert (code, said) == (0, "producer: enough\n")


def test_a_check_where_scopes_differ_in_their_prefix(issuer: OidcIssuer) -> None:
    """One scope without the prefix changes nothing, and what is assumed is told."""
    token = issuer.mint(scopes=["read:*/*", *scopes_of("producer")])
    code, said = run("-r", "producer", "--check", "--token", "-", stdin=token)
    assert code == 0, said
    assert "scope prefix 'rabbitmq.' are assumed from the token: 7 of 8 scopes" in said
    code, said = run("-r", "producer", "--check", "--token", "-", "--prefix", "", stdin=token)
    assert code == 3, said
    assert ["missing", "write:prod/amq.default", "tasks"] in map(str.split, said.splitlines())


def test_a_check_of_a_token_that_no_broker_takes(issuer: OidcIssuer) -> None:
    """An expired token is told to be that, not to lack everything."""
    token = issuer.mint(scopes=scopes_of("producer"), lifetime=-60)
    code, said = run("-r", "producer", "--check", "--token", "-", stdin=token)
    assert code == 2, "the file has to be another one"
    assert "no broker takes this token" in said


def invoked(*arguments: str) -> Result:
    """Run `celery mqauth scopes` in this process."""
    app = SimpleNamespace(app=classic.make())
    return CliRunner().invoke(mqauth, ["scopes", *arguments], obj=app)


def test_a_check_of_a_file_that_holds_no_token(tmp_path: Path) -> None:
    """A binary file is one line of error."""
    file = tmp_path / "token"
    file.write_bytes(b"\x7fELF\xd0\xff" * 1000)
    arguments = ["-r", "producer", "--check", "--token", str(file)]
    done = invoked(*arguments)
    assert done.exit_code == 2
    assert done.output.startswith("Error: the token is no JWT")


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("-f", "amazonmq", "-r", "worker", "--role-arn", "foo"), "arn:aws:iam::123456789012"),
        (("-f", "amazonmq", "--role-arn", ARN), "choose one with --role"),
        (("-r", "worker", "--role-arn", ARN), "add --format amazonmq"),
        (("-f", "amazonmq", "--issuer", "foo"), "https://HOST"),
        (("--vhost", ""), "the default one is /"),
        (("--vhost", "v" * 256), "at most 255"),
        (("--vhost", "a\nb"), "control characters"),
        (("--name", "a b"), "one word"),
        (("--prefix", "a b"), "one word"),
    ],
)
def test_options_that_cannot_be(arguments: tuple[str, ...], remedy: str) -> None:
    """What no broker and no account can have is refused with what to write."""
    done = invoked(*arguments)
    assert done.exit_code == 2
    assert remedy in done.output


@pytest.mark.parametrize("limit", ["nan", "-1", "0", "inf"])
def test_a_time_limit_of_the_status(limit: str) -> None:
    """Nobody waits for ever, or for no time, for workers."""
    done = CliRunner().invoke(mqauth, ["status", "--timeout", limit])
    assert done.exit_code == 2
    assert "at most 300" in done.output


def test_a_check_of_expressions() -> None:
    """The expressions of a user of the broker's own can be compared too."""
    code, said = run("-r", "producer", "--check", "--configure", ".*", "--write", "^celery",
                     "--read", ".*")  # fmt: skip
    assert code == 3
    assert "write: ^amq\\.default$" in said
    lines = [line.split() for line in said.splitlines()]
    assert ["wider", "than", "needed", "read:", ".*"] in lines
    report = json.loads(run("-r", "producer", "--check", "-f", "json", "--configure", ".*")[1])
    assert report[0]["wider"] == ["configure: .*"]


READ, WRITE = "amqp://guest@localhost/vread", "amqp://guest@localhost/vwrite"
APART = {"CELERY_BROKER_READ_URL": READ, "CELERY_BROKER_WRITE_URL": WRITE}


def test_virtual_hosts_of_reading_and_writing(issuer: OidcIssuer) -> None:
    """Each form names both of them, and a grant for one of them alone is not enough."""
    worker = ("-r", "worker")
    code, said = run(*worker, "-f", "scopes", **APART)
    scopes = said.split()
    assert code == 0, said
    assert {"rabbitmq.read:vread/celery", "rabbitmq.write:vwrite/amq.default"} <= set(scopes)
    token = issuer.mint(scopes=scopes)
    assert run(*worker, "--check", "--token", "-", stdin=token, **APART) == (0, "worker: enough\n")
    token = issuer.mint(scopes=[scope for scope in scopes if "vread" not in scope])
    code, said = run(*worker, "--check", "--token", "-", stdin=token, **APART)
    assert code == 3
    assert "rabbitmq.read:vread/celery" in said
    _, regex = run(*worker, "-f", "regex", **APART)
    assert [line.split()[3] for line in regex.splitlines()] == ["vwrite", "vread"]
    (report,) = json.loads(run(*worker, "-f", "json", **APART)[1])
    assert (report["vhost"], list(report["elsewhere"])) == ("vwrite", ["vread"])
    _, conf = run(*worker, "-f", "conf", **APART)
    assert conf.count("alias = celery-worker") == 1
    assert set(conf.split()) > set(scopes)
    everything = ("--configure", ".*", "--write", ".*", "--read", ".*")
    code, said = run(*worker, "--check", *everything, **APART)
    assert (code, said.splitlines()[0]) == (0, "worker: enough")
    code, said = run(*worker, "--vhost", "other", **APART)
    assert code == 2
    assert "the app's URLs name vwrite and vread" in said


def test_a_transport_whose_library_is_missing(tmp_path: Path) -> None:
    """It is one line, not a traceback."""
    (tmp_path / "redis.py").write_text("raise ImportError('no redis here')\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    url = "redis://localhost"
    code, said = run("-r", "producer", CELERY_BROKER_URL=url, PYTHONPATH=path)
    assert code == 2
    assert "begins with redis://, and what Kombu needs for that cannot be loaded" in said
    assert "Traceback" not in said


def test_no_credential_to_compare_with() -> None:
    """An app that signs in by a password is told what to give instead."""
    code, said = run("--check")
    assert code == 2
    assert "does not sign in by mqauth" in said


def test_a_queue_that_there_is_not() -> None:
    """A queue that the app does not have is named, with those that it has."""
    code, said = run("-Q", "nowhere", app="custom")
    assert code == 2
    assert "no queue 'nowhere'" in said
    assert "shop.mails, shop.news, shop.orders" in said


def test_queues_that_no_configuration_defines() -> None:
    """Queues of routes, tasks, beat and -Q go to who creates them, and what is unknown is told."""
    code, said = run("-f", "json", "-Q", "celery,mails", app="routed")
    said, _, _ = said.partition("Note: ")
    configured = {
        grant["role"]: {e["scope"] for e in grant["scopes"] if "configure:" in e["scope"]}
        for grant in json.loads(said)
    }
    created = {
        role: {name for name in ROUTED if f"rabbitmq.configure:prod/{name}" in scopes}
        for role, scopes in configured.items()
    }
    assert code == 0
    assert created["producer"] == {"celery", "mails", "feeds", "webs", "reports", "payments"}
    assert created["beat"] == {"celery", "nightly"}
    assert created["worker"] == {"celery", "mails"}
    assert "rabbitmq.configure:prod/*@*.dq2" in configured["worker"]
    code, said = run("-r", "producer", "-f", "scopes", "--queue", "on.demand", app="routed")
    assert "rabbitmq.configure:prod/on.demand" in said.split()
    assert said.count("Note: ") == 1
    assert "router tests.permissions.apps.routed.pays" in said


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_doctor_of_an_app(columns: str, sandbox_4: Sandbox) -> None:
    """An app's own chain is walked to everything that it does, and mended by what is printed."""
    issuer = sandbox_4.issuer
    environment = {
        name: value
        for name, value in sandbox_4.environment().items()
        if name.startswith("MQAUTH_OAUTH2_")
    }
    environment |= {"CELERY_BROKER_URL": sandbox_4.broker_url, "COLUMNS": columns}

    def doctor() -> tuple[int, str]:
        return run(*("--role", "worker", "--role", "flower"), command="doctor", **environment)

    before = list(issuer.scopes)
    try:
        code, said = doctor()
        assert code == 0, said
        assert max(map(len, said.splitlines())) <= int(columns)
        assert "\x1b" not in said
        issuer.scopes = ["rabbitmq.read:*/*", "rabbitmq.write:*/*", "rabbitmq.configure:*/*"]
        code, said = doctor()
        assert code == 24, said
        assert "celeryev" in said
        report = json.loads(
            run("--json", "-r", "worker", "-r", "flower", command="doctor", **environment)[1]
        )
        issuer.scopes += report["links"][-1]["remedy"].removeprefix("add scopes: ").split()
        code, said = doctor()
        assert code == 0, said
    finally:
        issuer.scopes = before


def test_the_doctor_of_an_app_with_a_password() -> None:
    """An app that mqauth does not sign in is told so."""
    code, said = run(command="doctor")
    assert code == 2
    assert "mqauth does not sign it in" in said
