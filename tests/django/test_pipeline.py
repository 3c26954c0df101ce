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

# Five processes start one after the other before the first test begins.
pytestmark = [pytest.mark.timeout(300)]

LIMIT = 60.0
WORKERS = "WorkerCredentials()"
CHECK = ("mqauth_check", "--workers", "--timeout", "6")
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
    wait_until(lambda: site.health("pipeline")[0] == 200, LIMIT, "the pipeline is green")


def named_alone(site: Site, words: str, other: str) -> dict[str, str]:
    """Return what the pipeline says once it says this of one worker, and nothing of the other.

    A busy machine may keep the other one, too, from answering for a moment.
    """
    said: dict[str, str] = {}

    def told() -> bool:
        status, answer = site.health("pipeline")
        said.update(answer)
        return (
            status == 500
            and words in said[WORKERS]
            and other not in said[WORKERS]
            and said["BrokerLogin(alias='default')"] == "OK"
        )

    wait_until(told, LIMIT, f"{words}, and not {other}")
    return said


def test_all_is_well(site: Site) -> None:
    """With workers that consume all three checks are green."""
    recovers(site)
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
        named_alone(site, "one@test: it does not answer", "two@test")
        wait_until(lambda: site.health("application")[0] == 200, LIMIT, "the others are well")

        def counted() -> bool:
            _, figures = site.get(METRICS)
            return (
                'mqauth_worker_healthy{worker="one@test",state="silent"} 0' in figures
                and 'mqauth_worker_healthy{worker="two@test",state="ok"} 1' in figures
            )

        wait_until(counted, LIMIT, "the figures say the same")
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
        named_alone(site, "one@test: it does not answer", "two@test")
        mqauth_sandbox.broker.ctl("close_all_connections", "because of a test")

        # The other one is back once it has signed in again.
        said = named_alone(site, "one@test: it is not there", "two@test")
        assert "it has ended, or is frozen" in said[WORKERS]
        probe = site.manage("mqauth_check", "--expect", "one@test", check=False)
        assert probe.returncode == 1
        assert "it has ended, or is frozen" in probe.stdout
    finally:
        frozen.send(signal.SIGCONT)
    recovers(site)


def test_a_worker_that_consumes_nothing_is_named(site: Site) -> None:
    """A worker that answers ping and consumes nothing is named, until it consumes again."""
    recovers(site)
    # Celery's own limit is a second.
    asked = ("--destination", "two@test", "--timeout", "30")
    control = ("-A", "shop", "control", *asked)
    celery(site, *control, "cancel_consumer", "celery")
    assert "two@test" in celery(site, "-A", "shop", "inspect", *asked, "ping")
    named_alone(site, "two@test: it answers and consumes nothing", "one@test")
    assert "consumes nothing" in site.manage(*CHECK, check=False).stdout
    celery(site, *control, "add_consumer", "celery")
    recovers(site)
    assert site.manage(*CHECK).stdout.count("ok ") == 4


def test_a_worker_that_ended_is_not_missed(site: Site) -> None:
    """Who shuts down in order is forgotten."""
    leaving = site.worker("leaving@test")
    wait_until(lambda: "leaving@test" in site.get(METRICS)[1], LIMIT, "the third worker is seen")
    leaving.send(signal.SIGTERM)
    leaving.wait()
    recovers(site)
    wait_until(lambda: "leaving@test" not in site.get(METRICS)[1], LIMIT, "it is forgotten")


def test_the_status_command_shows_workers(site: Site) -> None:
    """`mqauth_status` has a line for the alias and for each worker."""
    lines = site.manage("mqauth_status", "--timeout", "6").stdout.splitlines()
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
