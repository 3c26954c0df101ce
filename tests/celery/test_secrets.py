"""No secret and no token is to be seen anywhere but in the cache file."""

from __future__ import annotations

import contextlib
import stat
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest

import celery_mqauth
from mqauth.shared import forget_shared_sources
from mqauth_sandbox import Sandbox
from mqauth_sandbox.faults import FaultMode
from tests.celery.canary import TOKEN, Canary
from tests.celery.processes import wait_until
from tests.celery.world import World

WRONG_SECRET = "canary-of-a-client-that-is-refused"
EVERYTHING = {"KOMBU_LOG_DEBUG": "1", "KOMBU_LOG_CONNECTION": "1"}
FAULTS: tuple[FaultMode, ...] = ("not_jwt", "expired", "html", "not_json", "error500", "down")

celery_mqauth.register_schemes()


def inline(world: World, **overrides: str) -> dict[str, Any]:
    """Return a configuration whose secret stands in the options of the transport."""
    issuer = world.issuer
    auth = {
        "issuer": issuer.issuer_url,
        "client_id": issuer.client_id,
        "client_secret": issuer.client_secret,
        "ca_file": str(world.sandbox.ca_file),
        **overrides,
    }
    return world.configuration(
        broker_transport_options={"auth": auth},
        worker_log_format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )


@pytest.fixture(scope="module")
def canary(mqauth_sandbox: Sandbox) -> Canary:
    """What must not be seen."""
    issuer = mqauth_sandbox.issuer
    return Canary(
        [issuer.client_secret, WRONG_SECRET], login=(issuer.client_id, issuer.client_secret)
    )


@pytest.fixture(scope="module")
def troubled(mqauth_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A worker that logs everything there is to log, and has seen rotations and every trouble."""
    lifetime = mqauth_sandbox.issuer.token_lifetime
    world = World(mqauth_sandbox, tmp_path_factory.mktemp("troubled"))
    try:
        trouble(world)
        yield world
    finally:
        world.close()
        mqauth_sandbox.issuer.token_lifetime = lifetime


def trouble(world: World) -> None:
    """Start the worker and let it see everything."""
    worker = world.worker(
        "--events", configuration=inline(world), loglevel="DEBUG", variables=EVERYTHING
    )
    tasks = [world.send("forward", 2), world.send("add", 1, 2)]
    world.send("fail")
    world.journal.wait_for("failing")
    world.journal.wait_for_ends(tasks)
    for mode in FAULTS:
        failed = len(worker.lines_with("renewal failed"))
        with world.issuer.faults.during(mode):
            wait_until(lambda: len(worker.lines_with("renewal failed")) > failed)  # noqa: B023
    refuse_what_is_issued(world)


def refuse_what_is_issued(world: World) -> None:
    """Have the broker refuse renewed tokens and logins for a while."""
    (worker,) = world.processes("worker")
    scopes, world.issuer.scopes = world.issuer.scopes, ["another.read:*/*"]
    try:
        worker.wait_for_line("Cannot connect to", "refused", timeout=60)
    finally:
        world.issuer.scopes = scopes
    task = world.send("add", 1, 2)
    world.journal.wait_for_ends([task], 60)


def test_log_at_debug(troubled: World, canary: Canary) -> None:
    """The worker's log at DEBUG, with that of all libraries, holds neither secret nor token."""
    (worker,) = troubled.processes("worker")
    for logged in ("urllib3", "Start from server", "renewal failed", "Traceback", "renewed, valid"):
        assert worker.lines_with(logged), f"nothing of {logged!r}, so this log proves little"
    assert canary.found_in(worker.output) == []


@pytest.mark.parametrize(
    "command",
    [
        ("report",),
        ("inspect", "report"),
        ("inspect", "conf"),
        ("inspect", "stats"),
        ("inspect", "mqauth"),
        ("mqauth", "status", "--json"),
        ("status",),
    ],
    ids=" ".join,
)
def test_commands(troubled: World, canary: Canary, command: tuple[str, ...]) -> None:
    """What Celery's commands print of configuration and connections is free of secrets."""
    configuration = inline(troubled)
    # A worker that a busy machine holds up does not answer within Celery's one second.
    patient = () if command == ("report",) else ("--timeout", "5")
    answer = troubled.celery(*command, *patient, **configuration)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout
    assert canary.found_in(answer.stdout + answer.stderr) == []


def test_command_with_a_wrong_secret(troubled: World, canary: Canary) -> None:
    """A command that fails, traceback and all, does not show the secret that was refused."""
    configuration = inline(troubled, client_secret=WRONG_SECRET, cache="off")
    answer = troubled.celery("inspect", "ping", **configuration)
    assert answer.returncode != 0
    assert "invalid_client" in answer.stderr
    assert canary.found_in(answer.stdout + answer.stderr) == []


def test_process_arguments(troubled: World, canary: Canary) -> None:
    """No process on this host carries a secret among its arguments."""
    assert canary.found_in_command_lines() == []


def test_files(troubled: World, canary: Canary) -> None:
    """One file of mode 0600 in a folder of mode 0700 holds the token; nothing beside it does."""
    # What replaces it stands beside it for a moment, under a name of its own.
    found: list[Path] = []

    def one() -> bool:
        found[:] = canary.files_with_secrets(troubled.folder)
        return len(found) == 1

    wait_until(one, what="one file that holds the token")
    (cached,) = found
    assert cached.parent == troubled.cache
    assert TOKEN.search(cached.read_text())
    assert troubled.issuer.client_secret not in cached.read_text()
    assert stat.S_IMODE(cached.stat().st_mode) == 0o600
    assert stat.S_IMODE(troubled.cache.stat().st_mode) == 0o700
    for path in troubled.cache.iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has taken the other's place
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_objects(world: World, canary: Canary) -> None:
    """Connections, channels, their options and sources show no secret, live or in a traceback."""
    settings = inline(world)
    with kombu.Connection(
        settings["broker_url"],
        ssl=settings["broker_use_ssl"],
        transport_options=settings["broker_transport_options"],
    ) as connection:
        raw = connection.connection
        shown = [
            repr(connection),
            connection.as_uri(include_password=True),
            repr(connection.info()),
            repr(connection.transport),
            repr(vars(connection.transport)),
            repr(raw),
            repr(raw.source),
            repr(raw.source.status()),
            repr(raw.credentials),
            repr(vars(raw)),
            repr(connection.default_channel),
            str(raw.credentials.password),
        ]
        connection.virtual_host = "missing"
        with pytest.raises(connection.connection_errors) as refused:
            connection.clone().connect()
    forget_shared_sources()
    assert refused.tb.tb_next is not None
    told = "".join(
        traceback.TracebackException(  # without the frame of this test, which knows the secret
            refused.type, refused.value, refused.tb.tb_next, capture_locals=True
        ).format()
    )
    assert "missing" in told
    assert [canary.found_in(text) for text in (*shown, told)] == [[]] * (len(shown) + 1)
