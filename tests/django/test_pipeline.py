"""The pipeline tier with real workers: frozen, idle, ended, and well again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mqauth_sandbox import Sandbox
from tests.celery.processes import wait_until
from tests.django.site import Site

WORKERS = "WorkerCredentials()"
METRICS = "/health/dev/pipeline/?format=openmetrics"


@pytest.fixture(scope="module")
def site(mqauth_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The project with two workers and a server of one process that has seen both."""
    issuer = mqauth_sandbox.issuer
    lifetime, issuer.token_lifetime = issuer.token_lifetime, 60
    site = Site(mqauth_sandbox, tmp_path_factory.mktemp("site"))
    try:
        site.worker("one@test")
        site.worker("two@test")
        site.serve("runserver")
        yield site
    finally:
        site.close()
        issuer.token_lifetime = lifetime


def recovers(site: Site) -> None:
    """Wait until the pipeline is green again."""
    wait_until(lambda: site.health("pipeline")[0] == 200, 20, "the pipeline is green")


def test_all_is_well(site: Site) -> None:
    """With workers that consume all three checks are green."""
    assert site.health("pipeline") == (
        200,
        {
            "CredentialFreshness(alias='default')": "OK",
            "BrokerLogin(alias='default')": "OK",
            WORKERS: "OK",
        },
    )


def test_health_is_not_for_everybody(site: Site) -> None:
    """Who does not know the path finds no health endpoint, and no page gives it away."""
    assert site.get("/health/pipeline/")[0] == 404
    status, page = site.get("/")
    assert status == 200
    assert "/health/" not in page
    program = "import shop.urls; print('health' in str(shop.urls.urlpatterns))"
    done = site.manage(
        *("shell", "--no-imports", "-c", program),
        SHOP_DEBUG="0",
        MQAUTH_SANDBOX_BROKER_ADDRESS="amqps://localhost/",
    )
    assert done.stdout == "False\n"


def test_a_frozen_worker_is_named(site: Site) -> None:
    """A worker that is stopped is named in JSON, figures and by the command, until it goes on."""
    recovers(site)
    frozen = site.process("one@test")
    frozen.send(signal.SIGSTOP)
    try:
        status, said = site.health("pipeline")
        assert status == 500
        assert "one@test: it does not answer" in said[WORKERS]
        assert "two@test" not in said[WORKERS]
        assert said["BrokerLogin(alias='default')"] == "OK"
        assert site.health("application")[0] == 200
        _, figures = site.get("/health/dev/pipeline/?format=openmetrics")
        assert 'mqauth_worker_healthy{worker="one@test",state="silent"} 0' in figures
        assert 'mqauth_worker_healthy{worker="two@test",state="ok"} 1' in figures
        command = ("health_check", "mqauth_health:pipeline", f"127.0.0.1:{site.port}")
        options = ("--forwarded-host", "localhost", "--timeout", "20")
        over_http = site.manage(*command, *options, check=False)
        assert over_http.returncode == 1
        assert "one@test: it does not answer" in over_http.stdout
    finally:
        frozen.send(signal.SIGCONT)
    recovers(site)


def test_a_worker_stays_named_while_it_is_frozen(site: Site, mqauth_sandbox: Sandbox) -> None:
    """Once the broker has closed a frozen worker's connection, it is named still; then it recovers.

    As the broker does once the token has run out, and nobody renews it.
    """
    recovers(site)
    frozen = site.process("one@test")
    frozen.send(signal.SIGSTOP)
    try:
        assert "one@test: it does not answer" in site.health("pipeline")[1][WORKERS]
        mqauth_sandbox.broker.ctl("close_all_connections", "because of a test")

        def gone() -> bool:
            return "one@test: it is not there" in site.health("pipeline")[1][WORKERS]

        wait_until(gone, 40, "the control queue is gone")
        said = site.health("pipeline")[1][WORKERS]
        assert "it has ended, or is frozen" in said
        assert "two@test" not in said
        probe = site.manage("mqauth_check", "--expect", "one@test", check=False)
        assert probe.returncode == 1
        assert "it has ended, or is frozen" in probe.stdout
    finally:
        frozen.send(signal.SIGCONT)
    wait_until(lambda: site.health("pipeline")[0] == 200, 60, "the pipeline is green")


def test_a_worker_that_consumes_nothing_is_named(site: Site) -> None:
    """A worker that answers ping and consumes nothing is named, until it consumes again."""
    recovers(site)
    control = ("-A", "shop", "control", "--destination", "two@test")
    celery(site, *control, "cancel_consumer", "celery")
    assert "two@test" in celery(site, "-A", "shop", "inspect", "ping")
    status, said = site.health("pipeline")
    assert status == 500
    assert "two@test: it answers and consumes nothing" in said[WORKERS]
    assert "consumes nothing" in site.manage("mqauth_check", "--workers", check=False).stdout
    celery(site, *control, "add_consumer", "celery")
    recovers(site)
    assert site.manage("mqauth_check", "--workers").stdout.count("ok ") == 4


def test_a_worker_that_ended_is_not_missed(site: Site) -> None:
    """Who shuts down in order is forgotten."""
    leaving = site.worker("leaving@test")
    wait_until(lambda: "leaving@test" in site.get(METRICS)[1], 20, "the third worker is seen")
    leaving.send(signal.SIGTERM)
    leaving.wait()
    assert site.health("pipeline")[0] == 200
    assert "leaving@test" not in site.get(METRICS)[1]


def test_the_status_command_shows_workers(site: Site) -> None:
    """`mqauth_status` has a line for the alias and for each worker."""
    lines = site.manage("mqauth_status").stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["default", "one@test", "two@test"]
    assert all("oauth2 client celery of" in line for line in lines)


def celery(site: Site, *arguments: str) -> str:
    """Run the `celery` command, which never starts Django, to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "celery", *arguments],
        env=site.environment(),
        cwd=site.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
