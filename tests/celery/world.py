"""What one test has for itself: a virtual host, an empty credential cache, its processes."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from celery import Celery

from mqauth.rotation.status import SourceStatus
from mqauth.shared import shared_sources
from mqauth_sandbox import Sandbox
from mqauth_sandbox.broker import Broker
from tests.celery.broker_lines import (
    processes_from_before,
    processes_of_others,
    renewals,
    unclean_ends,
    without_others,
)
from tests.celery.journal import Journal
from tests.celery.processes import APP, REPOSITORY, Process, Producer, Worker, wait_until
from tests.celery.variables import CONFIGURATION, JOURNAL

TOKEN_LIFETIME = 8.0
"""Seconds. Renewal is due after a quarter, so a test of ten seconds sees four rotations."""
COMMAND_LIMIT = 80.0


class World:
    """Starts processes against one sandbox and says what became of their connections.

    Args:
        sandbox: The broker and its issuers.
        folder: A folder of the test's own.
        token_lifetime: Seconds that tokens live from now on.
    """

    def __init__(
        self, sandbox: Sandbox, folder: Path, *, token_lifetime: float = TOKEN_LIFETIME
    ) -> None:
        """Make the virtual host."""
        self.sandbox = sandbox
        self.broker = sandbox.broker
        self.issuer = sandbox.issuer
        self.issuer.token_lifetime = token_lifetime
        self.folder = folder
        self.cache = folder / "cache"
        self.vhost = f"test-{uuid.uuid4().hex[:8]}"
        _create_vhost(self.broker, self.vhost)
        self.journal = Journal()
        self._log_start = self.broker.log_size()
        self._processes: list[Process] = []
        self._sender = Celery(
            "sender",
            broker=f"amqp://{self.broker.admin_user}:{self.broker.admin_password}"
            f"@localhost:{self.broker.amqp_port}/{self.vhost}",
            set_as_current=False,
        )

    def close(self) -> None:
        """End everything that was started."""
        for process in self._processes:
            process.close()
        self._sender.close()
        self.journal.close()
        # Kept for whoever has to find out why a test failed.
        (self.folder / "broker.log").write_text(self.broker.log_text(self._log_start))

    def url(
        self, *, tls: bool = True, host: str = "localhost", port: int = 0, who: str = "oauth2"
    ) -> str:
        """Return a broker URL for this test's virtual host."""
        port = port or (self.broker.amqps_port if tls else self.broker.amqp_port)
        return f"{'mqauths' if tls else 'mqauth'}://{who}@{host}:{port}/{self.vhost}"

    def configuration(self, **overrides: Any) -> dict[str, Any]:
        """Return Celery's configuration; an override of None leaves a setting out."""
        settings = {
            "broker_url": self.url(),
            "broker_use_ssl": {"ca_certs": str(self.sandbox.ca_file)},
            "broker_connection_retry_on_startup": True,
            "result_backend": "rpc://",
            "worker_hijack_root_logger": True,
            "worker_prefetch_multiplier": 1,
            **overrides,
        }
        return {name: value for name, value in settings.items() if value is not None}

    def environment(
        self, configuration: dict[str, Any] | None = None, **variables: str
    ) -> dict[str, str]:
        """Return the environment of a process of this test."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MQAUTH_", "AWS_"))}
        sandbox = self.sandbox.environment()
        del sandbox["CELERY_BROKER_URL"]  # it would win over the configuration
        return {
            **inherited,
            **sandbox,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            "MQAUTH_CACHE": str(self.cache),
            JOURNAL: str(self.journal.path),
            CONFIGURATION: json.dumps(configuration or self.configuration()),
            **variables,
        }

    def worker(
        self,
        *options: str,
        pool: str = "prefork",
        concurrency: int = 2,
        name: str = "worker",
        configuration: dict[str, Any] | None = None,
        variables: dict[str, str] | None = None,
        loglevel: str = "INFO",
        ready: bool = True,
    ) -> Worker:
        """Start a worker and wait until it consumes, unless `ready` is false."""
        worker = Worker(
            journal=self.journal,
            options=[
                *("--pool", pool, "--concurrency", str(concurrency), "--loglevel", loglevel),
                *("--hostname", f"{name}@test", *options),
            ],
            name=name,
            environment=self.environment(configuration, **(variables or {})),
            folder=self.folder,
        )
        self._processes.append(worker)
        if ready:
            worker.wait_until_ready()
        return worker

    def producer(
        self,
        *options: str,
        name: str = "producer",
        configuration: dict[str, Any] | None = None,
        variables: dict[str, str] | None = None,
    ) -> Producer:
        """Start a producer of short tasks."""
        producer = Producer(
            journal=self.journal,
            options=options,
            name=name,
            environment=self.environment(configuration, **(variables or {})),
            folder=self.folder,
        )
        self._processes.append(producer)
        return producer

    def processes(self, *names: str) -> list[Process]:
        """Return the processes with these names."""
        return [process for process in self._processes if process.name in names]

    def start(self, name: str, *arguments: str, **configuration: Any) -> Process:
        """Start `celery` with these arguments and let it run."""
        process = Process(
            name,
            ["-m", "celery", "-A", APP, *arguments],
            self.environment(self.configuration(**configuration)),
            self.folder,
        )
        self._processes.append(process)
        return process

    def celery(self, *arguments: str, **configuration: Any) -> subprocess.CompletedProcess[str]:
        """Run `celery` with these arguments to its end."""
        return subprocess.run(
            [sys.executable, "-m", "celery", "-A", APP, *arguments],
            env=self.environment(self.configuration(**configuration)),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT,
            check=False,
        )

    def send(self, task: str, *arguments: Any, **options: Any) -> str:
        """Publish a task as an internal user, whatever our tokens are up to; return its id."""
        sent = self._sender.send_task(f"{APP}.{task}", arguments, ignore_result=True, **options)
        return str(sent.id)

    def messages(self, queue: str) -> int:
        """Return how many messages wait in a queue, not counting those that somebody works on."""
        with self._sender.connection_for_read() as connection:
            declared = connection.default_channel.queue_declare(queue, passive=True)
        return int(declared.message_count)

    @staticmethod
    def sources_here() -> list[SourceStatus]:
        """Return the state of the credentials that this very process uses."""
        return [source.status() for source in shared_sources()]

    def broker_log(self, since: int | None = None) -> str:
        """Return what the broker wrote, others' connections left out.

        Args:
            since: Begin at this size of the log and not where the test began.
        """
        # Not from the log's start: a restarted broker uses the names of its processes again.
        known = self.broker.log_text(self._log_start)
        text = known if since is None else self.broker.log_text(since)
        others = processes_of_others(known, self.vhost) | processes_from_before(known)
        return without_others(text, others)

    def dropped(self, since: int | None = None, *, besides: str | None = None) -> list[str]:
        """Return what the broker wrote about connections that did not end cleanly.

        Args:
            since: Begin at this size of the broker's log.
            besides: Leave those out that ended for this reason.
        """
        ends = unclean_ends(self.broker_log(since))
        return [end for end in ends if besides is None or besides not in end]

    def wait_for_renewals(
        self, count: int, *, since: int | None = None, timeout: float = 40.0
    ) -> None:
        """Wait until some connection has been renewed `count` times from now (or `since`) on."""
        start = self.broker.log_size() if since is None else since
        wait_until(
            lambda: renewals(self.broker_log(start)) >= count, timeout, f"{count} renewals in place"
        )


def _create_vhost(broker: Broker, name: str) -> None:
    # rabbitmqctl does the same, but boots an Erlang machine for it.
    login = base64.b64encode(f"{broker.admin_user}:{broker.admin_password}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
    grants = json.dumps({"configure": ".*", "write": ".*", "read": ".*"})
    management = http.client.HTTPConnection("localhost", broker.management_port, timeout=10)
    with contextlib.closing(management):
        for path, body in (
            (f"/api/vhosts/{name}", "{}"),
            (f"/api/permissions/{name}/{broker.admin_user}", grants),
        ):
            management.request("PUT", path, body=body, headers=headers)
            response = management.getresponse()
            response.read()
            assert response.status in (201, 204), f"{path}: HTTP {response.status}"
