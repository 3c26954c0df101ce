"""The pipeline tier with real workers: frozen, idle, ended, and well again."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.celery.processes import wait_until
from tests.django.site import Site

WORKERS = "WorkerCredentials()"


def test_a_frozen_worker_is_named(site: Site) -> None:
    """A worker that is stopped is named in JSON, figures and by the command, until it goes on."""
    site.sandbox.issuer.token_lifetime = 60
    frozen = site.worker("frozen@test")
    site.worker("lively@test")
    site.serve("gthread")
    assert site.health("pipeline") == (
        200,
        {
            "CredentialFreshness(alias='default')": "OK",
            "BrokerLogin(alias='default')": "OK",
            WORKERS: "OK",
        },
    )
    # Both web processes have to know the worker: each remembers for itself.
    for _ in range(6):
        assert site.health("pipeline")[0] == 200
    frozen.send(signal.SIGSTOP)
    try:
        status, said = site.health("pipeline")
        assert status == 500
        assert "frozen@test: it does not answer" in said[WORKERS]
        assert "lively@test" not in said[WORKERS]
        assert said["BrokerLogin(alias='default')"] == "OK"
        assert site.health("application")[0] == 200
        _, figures = site.get("/health/pipeline/?format=openmetrics")
        assert 'mqauth_worker_healthy{worker="frozen@test",state="silent"} 0' in figures
        assert 'mqauth_worker_healthy{worker="lively@test",state="ok"} 1' in figures
        over_http = site.manage(
            "health_check",
            "mqauth_health:pipeline",
            f"127.0.0.1:{site.port}",
            "--forwarded-host",
            "localhost",
            "--timeout",
            "20",
            check=False,
        )
        assert over_http.returncode == 1
        assert "frozen@test: it does not answer" in over_http.stdout
    finally:
        frozen.send(signal.SIGCONT)
    wait_until(lambda: site.health("pipeline")[0] == 200, 20, "the worker is well again")


def test_a_worker_that_consumes_nothing_is_named(site: Site) -> None:
    """A worker that answers ping and consumes nothing is named, until it consumes again."""
    site.sandbox.issuer.token_lifetime = 60
    site.worker("idle@test")
    site.serve("sync")
    control = ["-A", "shop", "control", "--destination", "idle@test"]
    celery(site, *control, "cancel_consumer", "celery")
    assert "pong" in celery(site, "-A", "shop", "inspect", "ping")
    status, said = site.health("pipeline")
    assert status == 500
    assert "idle@test: it answers and consumes nothing" in said[WORKERS]
    assert "consumes nothing" in site.manage("mqauth_check", "--workers", check=False).stdout
    celery(site, *control, "add_consumer", "celery")
    wait_until(lambda: site.health("pipeline")[0] == 200, 20, "the worker consumes again")
    report = site.manage("mqauth_status")
    assert "idle@test: oauth2 client celery of" in report.stdout
    assert site.manage("mqauth_check", "--workers").stdout.count("ok ") == 3


def test_a_worker_that_ended_is_not_missed(site: Site) -> None:
    """Who shuts down in order is forgotten; that nobody is left is told."""
    site.sandbox.issuer.token_lifetime = 60
    first, second = site.worker("first@test"), site.worker("second@test")
    site.serve("sync")
    assert site.health("pipeline")[0] == 200
    first.send(signal.SIGTERM)
    first.wait()
    wait_until(lambda: site.health("pipeline")[0] == 200, 20, "one worker is enough")
    second.send(signal.SIGTERM)
    second.wait()
    status, said = site.health("pipeline")
    assert status == 500
    assert "0 workers answered, at least 1 should" in said[WORKERS]


@pytest.mark.parametrize("arguments", [("mqauth_status",), ("mqauth_token",), ("mqauth_doctor",)])
def test_commands_outside_of_any_server(site: Site, arguments: tuple[str, ...]) -> None:
    """The commands work in a process of their own, and `inspect` knows the alias."""
    done = site.manage(*arguments)
    assert "oauth2 client celery of" in done.stdout


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
