"""Exactly the printed grant is enough for each role, and each element of it is needed."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import celery
import pytest
from packaging.version import Version

from celery_mqauth.least.grants import RoleGrant, role_grants
from mqauth.permissions.checks import Grant
from mqauth.permissions.explain import explain
from mqauth.permissions.least_formats import as_expressions, as_scopes
from mqauth.permissions.operations import Operation
from mqauth.permissions.regexes import RegexGrant
from mqauth.permissions.scope_grant import ScopeGrant
from mqauth_sandbox import Sandbox
from tests.permissions import recorded
from tests.permissions.apps import quorum
from tests.permissions.trying import Management, Trying, admitted

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 60.0
STOP = 20.0
PASSWORD = "of-a-throwaway-user"
APPS = ("classic", "quorum", "custom", "routed", "edges")
OWN_PROCESS = ("worker", "beat")


class Stage:
    """One app on one broker, each role with a grant of its own.

    Args:
        sandbox: The broker.
        app: The app's name.
        form: `scopes` of tokens, or `expressions` of the broker's own users.
        folder: For records and logs.
    """

    def __init__(self, sandbox: Sandbox, app: str, form: str, folder: Path) -> None:
        """Make the virtual host; nothing runs yet."""
        self.sandbox, self.broker, self.app, self.form = sandbox, sandbox.broker, app, form
        self.folder = folder
        self.vhost = f"{app}-{form}"
        self.management = Management(sandbox.broker)
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self.management.put(("vhosts", self.vhost), {})
        self.management.put(("permissions", self.vhost, self.broker.admin_user), everything)
        module = importlib.import_module(f"tests.permissions.apps.{app}")
        made = module.make()
        made.conf.broker_url = f"amqp://localhost/{self.vhost}"
        self.consumed: tuple[str, ...] = getattr(module, "CONSUMED", ())
        grants = role_grants(made, queues=self.consumed)
        self.grants = {grant.role: grant for grant in grants}
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def url(self, role: str) -> str:
        """Return the broker URL of a role, which signs in with exactly its grant."""
        name, password = self.sign_in(role, self.grants[role])
        return f"amqp://{name}:{password}@localhost:{self.broker.amqp_port}/{self.vhost}"

    def sign_in(self, name: str, grant: RoleGrant) -> tuple[str, str]:
        """Return user name and password of somebody with this grant."""
        if self.form == "scopes":
            scopes = as_scopes(grant.scopes, self.vhost, "rabbitmq.")
            return name, self.sandbox.issuer.mint(scopes=scopes, sub=name, client_id=name)
        self.management.put(("users", name), {"password": PASSWORD, "tags": ""})
        patterns = as_expressions(grant.expressions)
        self.management.put(
            ("permissions", self.vhost, name),
            {str(action): patterns[action] for action in patterns},
        )
        return name, PASSWORD

    def start(self, name: str, role: str, *arguments: str) -> Path:
        """Start `celery` in a role and return its log."""
        log = self.folder / f"{name}.log"
        environment = self._environment(f"{role}-{name}.trace", self.url(role))
        with log.open("w") as output:
            self._processes[name] = subprocess.Popen(
                [*self._celery(), *arguments],
                env=environment,
                cwd=ROOT,
                stdout=output,
                stderr=output,
                text=True,
            )
        return log

    def drive(self, *roles: str) -> None:
        """Play the roles that need no process of their own."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.permissions.apps.driver", self.app, str(self.folder)],
            input=json.dumps({role: self.url(role) for role in roles}),
            env=self._environment(None, None),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LIMIT * 2,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    def stop(self) -> None:
        """End all processes in order."""
        for process in self._processes.values():
            process.terminate()
        for name, process in self._processes.items():
            try:
                process.wait(STOP)
            except subprocess.TimeoutExpired:
                # Celery's beat closes its connection inside of whatever SIGTERM interrupts: where
                # that reads or writes, it waits for itself for ever, one time in forty.
                assert name == "beat", f"{name} does not end"
                process.kill()
                process.wait(LIMIT)
        self._processes.clear()

    def close(self) -> None:
        """End everything."""
        for process in self._processes.values():
            process.kill()
            process.wait(LIMIT)
        self.management.close()

    def operations(self, role: str) -> list[Operation]:
        """Return what a role was recorded to ask."""
        traces = [*self.folder.glob(f"{role}.trace"), *self.folder.glob(f"{role}-*.trace")]
        return recorded.operations(traces, self.vhost)

    def _celery(self) -> list[str]:
        return [sys.executable, "-m", "celery", "-A", f"tests.permissions.apps.{self.app}"]

    def _environment(self, trace: str | None, url: str | None) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MQAUTH_", "AWS_", "CELERY_"))
        }
        more = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        if trace is not None:
            more["PERMISSIONS_TRACE"] = str(self.folder / trace)
        if url is not None:
            more["CELERY_BROKER_URL"] = url
        return {**inherited, **more}


def _wait(log: Path, text: str, count: int = 1) -> None:
    deadline = time.monotonic() + LIMIT
    while log.read_text().count(text) < count:
        assert time.monotonic() < deadline, f"no {text!r}: {log.read_text()[-2000:]}"
        time.sleep(0.05)


@contextlib.contextmanager
def played(stage: Stage) -> Iterator[None]:
    """Play all roles of an app."""
    try:
        worker: tuple[str, ...] = (
            "worker",
            "-E",
            "--pool",
            "solo",
            "--concurrency",
            "1",
            "--loglevel",
            "INFO",
        )
        if stage.consumed:
            worker = (*worker, "-Q", ",".join(stage.consumed))
        logs = [
            stage.start(f"w{number}", "worker", *worker, "-n", f"w{number}@test")
            for number in (1, 2)
        ]
        for log in logs:
            _wait(log, "ready.")
        schedule = str(stage.folder / "schedule")
        beat = stage.start("beat", "beat", "beat", "-s", schedule, "-l", "INFO")
        stage.drive(*(role for role in stage.grants if role not in OWN_PROCESS))
        _wait(beat, "Sending due task", 4)
        deadline = time.monotonic() + LIMIT
        while not any("again: done" in log.read_text() for log in logs):
            assert time.monotonic() < deadline, [log.read_text()[-1500:] for log in logs]
            time.sleep(0.05)
        stage.stop()
        for log in (*logs, beat):
            assert "Traceback" not in log.read_text(), log.read_text()[-3000:]
        yield
    finally:
        stage.close()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("form", ["scopes", "expressions"])
def test_each_role(form: str, app: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """All roles work with exactly their grants, and without any one element one is refused."""
    if app == "quorum" and Version(celery.__version__) < Version(quorum.SINCE):
        pytest.skip(f"Celery {celery.__version__} knows no native delayed delivery")
    sandbox: Sandbox = request.getfixturevalue("sandbox_4" if form == "scopes" else "sandbox_3")
    stage = Stage(sandbox, app, form, tmp_path)
    start = stage.broker.log_size()
    with played(stage):
        log = stage.broker.log_text(start).splitlines()
        here = f"in vhost '{stage.vhost}' refused"
        assert [line for line in log if here in line] == []
        for role, grant in stage.grants.items():
            operations = stage.operations(role)
            assert operations, role
            for less in _each_without_one(grant, form):
                _refuses_something(stage, role, less, operations)


def _each_without_one(grant: RoleGrant, form: str) -> Iterator[RoleGrant]:
    elements = grant.scopes if form == "scopes" else grant.expressions
    for index in range(len(elements)):
        rest = (*elements[:index], *elements[index + 1 :])
        yield replace(grant, scopes=rest) if form == "scopes" else replace(grant, expressions=rest)


def _refuses_something(
    stage: Stage, role: str, less: RoleGrant, operations: list[Operation]
) -> None:
    """Find an operation that the broker refuses; the engine says where to look first."""
    engine: Grant
    if stage.form == "scopes":
        engine = ScopeGrant(as_scopes(less.scopes, stage.vhost, ""))
    else:
        patterns = as_expressions(less.expressions)
        engine = RegexGrant(
            vhost=stage.vhost,
            configure=patterns["configure"],
            write=patterns["write"],
            read=patterns["read"],
        )
    refused = [each for each in operations if not explain(engine, each).allow]
    assert refused, f"{role}: nothing that it did needs what {less} lacks"
    name, password = stage.sign_in(f"{role}-less", less)
    with admitted(stage.broker, stage.vhost, password, name) as connection:
        if connection is None:
            return
        trying = Trying(connection, _clean_up(stage))
        for operation in refused[:1]:
            # Looked at only where queue or exchange is made.
            if operation.dead_letter is not None:
                stage.management.delete(("queues", stage.vhost, operation.queue))
            if operation.alternate is not None:
                stage.management.delete(("exchanges", stage.vhost, operation.exchange))
            assert not trying.passes(operation), (role, operation)


def _clean_up(stage: Stage) -> Callable[[str, str], None]:
    def clean_up(queue: str, exchange: str) -> None:
        del exchange
        stage.management.delete(("queues", stage.vhost, queue))

    return clean_up
