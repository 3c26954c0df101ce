"""What the tests of the Django app share: a project, real brokers, processes that end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import override_settings

import project_settings
from mqauth.shared import forget_shared_sources
from mqauth_sandbox import Sandbox

_folder = tempfile.TemporaryDirectory(prefix="django-mqauth-")


def _start_django() -> None:
    settings.configure(**project_settings.settings(Path(_folder.name)))
    django.setup()


if not settings.configured:
    _start_django()

TOKEN_LIFETIME = 300.0


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins as a new process does, and without the developer's settings."""
    for name in list(os.environ):
        foreign = name.startswith(("MQAUTH_", "DJANGO_", "CELERY_", "AWS_"))
        if foreign and not name.startswith("MQAUTH_SANDBOX_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MQAUTH_CACHE", "off")
    yield
    forget_shared_sources()


@pytest.fixture(scope="session")
def database() -> None:
    """Tables of the apps."""
    call_command("migrate", verbosity=0)


@pytest.fixture(scope="session")
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A broker and its issuer for all tests here."""
    which = request.config.getoption("--mqauth-broker")
    with Sandbox(broker=which, token_lifetime=TOKEN_LIFETIME) as running:
        yield running


@pytest.fixture(scope="session")
def secret_file(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's secret in a file of its owner."""
    path = tmp_path_factory.mktemp("client") / "secret"
    path.touch(mode=0o600)
    path.write_text(sandbox.issuer.client_secret)
    return path


@pytest.fixture(scope="session")
def alias(sandbox: Sandbox, secret_file: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that makes an alias which signs in to the sandbox."""

    def make(*, tls: bool = True, port: int | None = None, **options: Any) -> dict[str, Any]:
        broker = sandbox.broker
        usual = broker.amqps_port if tls else broker.amqp_port
        return {
            "BROKER": f"amqp{'s' * tls}://localhost:{port or usual}//",
            "PROVIDER": "oauth2",
            "OPTIONS": {
                "issuer": sandbox.issuer.issuer_url,
                "client_id": sandbox.issuer.client_id,
                "client_secret_file": str(secret_file),
                "ca_file": str(sandbox.ca_file),
                **options,
            },
            **({"TLS": {"ca_certs": str(sandbox.ca_file)}} if tls else {}),
        }

    return make


@pytest.fixture
def use() -> Iterator[Callable[..., None]]:
    """Return a function that overrides settings until the test ends."""
    active: list[override_settings] = []

    def override(**overrides: Any) -> None:
        active.append(override_settings(**overrides))
        active[-1].enable()

    yield override
    for each in reversed(active):
        each.disable()


@pytest.fixture
def site(
    use: Callable[..., None], alias: Callable[..., dict[str, Any]], sandbox: Sandbox
) -> Iterator[Sandbox]:
    """The project with an alias `default` that signs in; the sandbox is well again afterwards."""
    use(MQAUTH={"default": alias()})
    issuer = sandbox.issuer
    lifetime = issuer.token_lifetime
    yield sandbox
    issuer.faults.reset()
    issuer.token_lifetime = lifetime
    issuer.start()
    if not sandbox.broker.running:
        sandbox.broker.start()
