"""The example project with a worker and a web server of a test's own."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from mqauth_sandbox import Sandbox
from mqauth_sandbox.ports import free_ports
from tests.celery.processes import START_LIMIT, Process, wait_until
from workloads.demo_django import PROJECT

ADMIN = "admin"
COMMAND_LIMIT = 60.0

SERVERS = {
    "sync": ["-m", "gunicorn", "--worker-class", "sync", "--workers", "3"],
    "gthread": ["-m", "gunicorn", "--worker-class", "gthread", "--workers", "2", "--threads", "3"],
    "uvicorn": ["-m", "uvicorn", "--workers", "3", "--log-level", "warning"],
    "runserver": [],
}


class Site:
    """A database, a credential cache, and processes that end with the test.

    Args:
        sandbox: Broker and issuer.
        folder: A folder of the test's own.
    """

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        """Make the database."""
        self.sandbox = sandbox
        self.folder = folder
        self.password = secrets.token_urlsafe(9)
        self.port = 0
        self._processes: list[Process] = []
        self.manage("migrate", "--verbosity", "0")
        self.manage(
            *("createsuperuser", "--noinput", "--username", ADMIN, "--email", "a@example.com"),
            DJANGO_SUPERUSER_PASSWORD=self.password,
        )

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment of all processes."""
        foreign = ("MQAUTH_", "AWS_", "CELERY_", "DJANGO_")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        given = self.sandbox.environment()
        del given["CELERY_BROKER_URL"]
        return {
            **inherited,
            **given,
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "MQAUTH_CACHE": str(self.folder / "cache"),
            "PYTHONPATH": str(PROJECT),
            "PYTHONUNBUFFERED": "1",
            "SHOP_FOLDER": str(self.folder),
            "SHOP_SECRET_KEY": "of this test alone",
            **variables,
        }

    def manage(
        self, *arguments: str, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `manage.py` to its end."""
        done = subprocess.run(
            [sys.executable, str(PROJECT / "manage.py"), *arguments],
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def worker(self, name: str) -> Process:
        """Start a worker and wait until it consumes."""
        options = ("--pool", "threads", "--concurrency", "2", "--loglevel", "INFO")
        arguments = ["-m", "celery", "-A", "shop", "worker", "-n", name, *options]
        process = self._start(name, arguments)
        process.wait_for_line("ready.", timeout=START_LIMIT)
        return process

    def process(self, name: str) -> Process:
        """Return a process by its name."""
        (found,) = [each for each in self._processes if each.name == name]
        return found

    def serve(self, kind: str) -> Process:
        """Start a web server and wait until it answers."""
        (self.port,) = free_ports(1)
        address = f"127.0.0.1:{self.port}"
        if kind == "runserver":
            arguments = [str(PROJECT / "manage.py"), "runserver", "--noreload", address]
        elif kind == "uvicorn":
            where = ["--host", "127.0.0.1", "--port", str(self.port)]
            arguments = [*SERVERS[kind], *where, "shop.asgi:application"]
        else:
            arguments = [*SERVERS[kind], "--bind", address, "shop.wsgi:application"]
        process = self._start(kind, arguments)
        wait_until(self._answers, START_LIMIT, f"{kind} answers:\n{process.tail()}")
        return process

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Return status and body of a page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Host": "localhost", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def health(self, tier: str) -> tuple[int, dict[str, str]]:
        """Return what the health endpoint of a tier says in JSON."""
        status, text = self.get(f"/health/dev/{tier}/?format=json")
        return status, json.loads(text)

    def order(self) -> int:
        """Queue an order as the page does; return its number."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/", headers={"Host": "localhost"})
            page = connection.getresponse()
            form = page.read().decode().partition('name="csrfmiddlewaretoken" value="')[2]
            headers = {
                "Host": "localhost",
                "Cookie": (page.getheader("Set-Cookie") or "").partition(";")[0],
                "X-CSRFToken": form.partition('"')[0],
            }
            connection.request("POST", "/orders/new/", headers=headers)
            answer = connection.getresponse()
            body = answer.read().decode()
        finally:
            connection.close()
        assert answer.status == 202, body
        number: int = json.loads(body)["number"]
        return number

    def results(self) -> dict[int, str]:
        """Return the state of each order, as the database has it."""
        database = sqlite3.connect(self.folder / "db.sqlite3", timeout=20)
        try:
            rows: list[tuple[int, str]] = database.execute(
                "SELECT number, state FROM orders_order"
            ).fetchall()
            return dict(rows)
        finally:
            database.close()

    def log(self) -> str:
        """Return what all processes wrote."""
        return "\n".join(process.output for process in self._processes)

    def close(self) -> None:
        """End everything."""
        for process in reversed(self._processes):
            process.close()

    def _start(self, name: str, arguments: list[str], **variables: Any) -> Process:
        process = Process(name, arguments, self.environment(**variables), self.folder)
        self._processes.append(process)
        return process

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return self.get("/")[0] == 200
        except OSError:
            return False
