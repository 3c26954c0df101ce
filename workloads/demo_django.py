"""`python -m workloads.demo_django`: a Django site whose broker credentials live 15 s, to look at.

Everything is real: RabbitMQ 4.3, an issuer, and the project in examples/django with two workers,
beat and a web server. It runs until Ctrl-C; the address and a login for the admin are printed.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from mqauth_sandbox import Sandbox, SandboxError
from mqauth_sandbox.ports import free_ports
from mqauth_sandbox.rabbitmq.prepare import prepare
from workloads.processes import REPOSITORY, Child, terminate_like_interrupt
from workloads.site import forget_foreign_settings

PROJECT = REPOSITORY / "examples" / "django"
USER = "admin"
START_LIMIT = 60.0
WATCH_SECONDS = 0.5
WORKERS = ("packer", "helper")
WORKER_OPTIONS = ("--concurrency", "2", "--loglevel", "INFO")


class DemoError(Exception):
    """The demonstration cannot go on; the text says why."""


def environment(sandbox: Sandbox, folder: Path) -> dict[str, str]:
    """Return the environment of all processes of the site."""
    given = sandbox.environment()
    # Celery would prefer it to the settings, and they are what is shown here.
    del given["CELERY_BROKER_URL"]
    return {
        **os.environ,
        **given,
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "MQAUTH_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        "SHOP_FOLDER": str(folder),
        "SHOP_SECRET_KEY": secrets.token_urlsafe(40),
    }


def manage(variables: dict[str, str], *arguments: str) -> None:
    """Run `manage.py`.

    Raises:
        DemoError: It failed.
    """
    done = subprocess.run(
        [sys.executable, str(PROJECT / "manage.py"), *arguments],
        env=variables,
        capture_output=True,
        text=True,
        timeout=START_LIMIT,
        check=False,
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise DemoError(f"manage.py {arguments[0]} failed: {' '.join(last)}")


@contextmanager
def site(sandbox: Sandbox, folder: Path, port: int, password: str) -> Iterator[list[Child]]:
    """Run workers, beat and server for the block.

    Raises:
        DemoError: One of them does not start.
    """
    variables = environment(sandbox, folder)
    manage(variables, "migrate", "--verbosity", "0")
    manage(
        {**variables, "DJANGO_SUPERUSER_PASSWORD": password},
        *("createsuperuser", "--noinput", "--username", USER, "--email", "admin@example.com"),
    )
    celery = ["-m", "celery", "--app", "shop"]
    schedule = str(folder / "schedule")
    commands = {
        **{
            f"worker {name}": [*celery, "worker", "--hostname", f"{name}@shop", *WORKER_OPTIONS]
            for name in WORKERS
        },
        "beat": [*celery, "beat", "--schedule", schedule, "--loglevel", "INFO"],
        "server": [str(PROJECT / "manage.py"), "runserver", "--noreload", f"127.0.0.1:{port}"],
    }
    with ExitStack() as stack:
        children = []
        for name, arguments in commands.items():
            children.append(Child(name, arguments, variables, folder))
            stack.callback(children[-1].kill)
        wait_for_server(port, children)
        yield children


def wait_for_server(port: int, children: list[Child]) -> None:
    """Wait until the server takes connections.

    Raises:
        DemoError: It does not.
    """
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        check(children)
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise DemoError(f"the server did not start within {START_LIMIT:.0f} s")


def check(children: list[Child]) -> None:
    """Make sure that all of them run.

    Raises:
        DemoError: One has ended.
    """
    for child in children:
        if child.exit_code is not None:
            raise DemoError(f"the {child.name} ended:\n{child.log_tail()}")


def say(text: str) -> None:
    """Tell the user."""
    print(text, flush=True)


def run(*, broker: str, ttl: float, port: int) -> None:
    """Run the demonstration until somebody ends it.

    Raises:
        DemoError: Something does not start, or has ended by itself.
        SandboxError: There is no broker.
    """
    if broker in ("3", "4"):
        prepare("3" if broker == "3" else "4", lambda text: say(f"demo: {text}"))
    password = secrets.token_urlsafe(9)
    port = port or free_ports(1)[0]
    with tempfile.TemporaryDirectory(prefix="mqauth-django-") as name:
        say(f"demo: starting RabbitMQ {broker} and the issuer")
        with Sandbox(broker=broker, token_lifetime=ttl) as sandbox:
            say("demo: starting workers, beat and server")
            with site(sandbox, Path(name), port, password) as children:
                say(f"demo: the site:           http://localhost:{port}/")
                say(f"demo: broker credentials: http://localhost:{port}/admin/mqauth/")
                say(f"demo: health:             http://localhost:{port}/health/dev/pipeline/")
                say(f"demo: sign in as {USER} with {password}; end with Ctrl-C")
                while True:
                    check(children)
                    time.sleep(WATCH_SECONDS)


@click.command(help=__doc__)
@click.option("--broker", default="4", show_default=True, help="3, 4, or an installation's path.")
@click.option("--ttl", default=15.0, show_default=True, help="Seconds that tokens live.")
@click.option("--port", default=8000, show_default=True, help="Of the web server; 0 for any.")
def main(*, broker: str, ttl: float, port: int) -> None:
    """Run it, and end it in order."""
    terminate_like_interrupt()
    forget_foreign_settings()
    try:
        run(broker=broker, ttl=ttl, port=port)
    except KeyboardInterrupt:
        say("\ndemo: ended")
    except (DemoError, SandboxError) as error:
        print(f"demo: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
