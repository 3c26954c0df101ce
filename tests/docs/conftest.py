"""Where documentation is tried: the placeholders of its examples lead to a real sandbox."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mqauth.shared import forget_shared_sources
from mqauth_sandbox import Sandbox
from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.sts import StsEndpoint
from tests.celery.processes import Process

BIN = Path(sys.executable).parent
COMMAND_LIMIT = 80.0
TOKEN_LIFETIME = 60.0

PROJECT = """
from celery import Celery

app = Celery("proj")
app.config_from_object("proj_settings")


@app.task
def add(x, y):
    return x + y
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """What the placeholders of examples stand for, and the environment around them."""

    placeholders: Mapping[str, str]
    environment: Mapping[str, str]

    def fill(self, text: str) -> str:
        """Put what is really there in the place of what the documentation says for example."""
        for placeholder, real in self.placeholders.items():
            text = text.replace(placeholder, real)
        return text


@dataclass(frozen=True, kw_only=True)
class Project:
    """A folder with a Celery app called `proj`, and the environment to run it in."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a Python module to its end."""
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            env={**self.environment, "PYTHONPATH": str(self.folder)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT,
            check=False,
        )

    def worker(self, *options: str) -> Process:
        """Start a worker and wait until it consumes."""
        usual = ("--pool", "threads", "--concurrency", "1", "--loglevel", "INFO")
        process = Process(
            "worker",
            ["-m", "celery", "-A", "proj", "worker", *usual, *options],
            {**self.environment, "PYTHONPATH": str(self.folder), "PYTHONUNBUFFERED": "1"},
            self.folder,
        )
        process.wait_for_line("ready.", timeout=60)
        return process


def inherited() -> dict[str, str]:
    """Return this process's environment without what configures mqauth, AWS or Celery."""
    foreign = ("MQAUTH_", "AWS_", "CELERY_")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(foreign) and not name.upper().endswith("_PROXY")
    }


def project(folder: Path, environment: Mapping[str, str], settings: str = "") -> Project:
    """Write a project that finds its broker in its environment."""
    (folder / "proj.py").write_text(PROJECT)
    (folder / "proj_settings.py").write_text(
        f"broker_connection_retry_on_startup = True\n{settings}"
    )
    return Project(folder=folder, environment=environment)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins as a new process does, and without the developer's settings."""
    kept = inherited()
    for name in set(os.environ) - set(kept):
        if not name.startswith("MQAUTH_SANDBOX_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MQAUTH_CACHE", "off")
    yield
    forget_shared_sources()


@pytest.fixture(scope="session")
def prod(mqauth_sandbox: Sandbox) -> str:
    """The virtual host of the examples."""
    mqauth_sandbox.broker.add_vhost("prod")
    return "prod"


@pytest.fixture
def place(
    mqauth_sandbox: Sandbox, mqauth_issuer: OidcIssuer, mqauth_sts: StsEndpoint, prod: str
) -> Place:
    """The sandbox as the examples see it: its authority is one that the host trusts."""
    mqauth_issuer.token_lifetime = TOKEN_LIFETIME
    environment = mqauth_sandbox.environment()
    del environment["CELERY_BROKER_URL"]
    del environment["MQAUTH_AWS_IAM_ROLE_ARN"]
    secret = environment["MQAUTH_OAUTH2_CLIENT_SECRET_FILE"]
    files, service = mqauth_sandbox.identity_files, mqauth_sandbox.roles_anywhere
    resources = "arn:aws:rolesanywhere:eu-west-1:123456789012:"
    broker = f"localhost:{mqauth_sandbox.broker.amqps_port}"
    return Place(
        placeholders={
            "https://rabbit.example.com:15671": (
                f"http://localhost:{mqauth_sandbox.broker.management_port}"
            ),
            "https://login.example.com/realms/prod": mqauth_issuer.issuer_url,
            "/run/secrets/celery-client": secret,
            "/etc/ssl/private-ca.pem": str(mqauth_sandbox.ca_file),
            "rabbit.example.com": broker,
            "rabbit-1.example.com": broker,
            "rabbit-2.example.com": broker,
            "arn:aws:iam::123456789012:role/RabbitMqAdminRole": mqauth_sts.role_arn,
            f"{resources}trust-anchor/TRUST_ANCHOR_ID": service.trust_anchor_arn,
            f"{resources}profile/PROFILE_ID": service.profile_arn,
            "/etc/pki/celery.pem": str(files.certificate),
            "/etc/pki/celery.key": str(files.private_key),
            "/etc/pki/celery-chain.pem": str(files.intermediates),
        },
        environment={
            **environment,
            "SSL_CERT_FILE": str(mqauth_sandbox.ca_file),
            "MQAUTH_CACHE": "off",
        },
    )


@pytest.fixture(scope="session")
def up(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """`mqauth-sandbox up` as documented, and the environment that it prints."""
    options: Sequence[str] = ("--broker", "4", "--token-lifetime", "60")
    process = Process(
        "up",
        [str(BIN / "mqauth-sandbox"), "up", *options],
        {**inherited(), "PYTHONUNBUFFERED": "1"},
        tmp_path_factory.mktemp("up"),
    )
    try:
        process.wait_for_line("the sandbox is up", timeout=90)
        yield Up(options=options, environment=exported(process.output))
        process.send(signal.SIGINT)
        assert process.wait() == 0
    finally:
        process.close()


@dataclass(frozen=True, kw_only=True)
class Up:
    """A running `mqauth-sandbox up`."""

    options: Sequence[str]
    environment: Mapping[str, str]


def exported(output: str) -> dict[str, str]:
    """Return the variables that a shell has after running `export` lines."""
    lines = [shlex.split(line) for line in output.splitlines() if line.startswith("export ")]
    return dict(word.split("=", 1) for line in lines for word in line[1:])


@pytest.fixture(scope="session")
def served_project(up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with a worker, in the environment that `mqauth-sandbox up` prints."""
    folder = tmp_path_factory.mktemp("project")
    served = project(folder, {**inherited(), **up.environment, "MQAUTH_CACHE": str(folder / "c")})
    worker = served.worker()
    try:
        yield served
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.tail()
    finally:
        worker.close()
