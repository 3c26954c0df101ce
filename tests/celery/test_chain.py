"""From a certificate to a broker of Amazon MQ's kind: every link in process, nothing on disk."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mqauth_sandbox import Sandbox
from mqauth_sandbox.accesskeys import AccessKey
from mqauth_sandbox.pki import IdentityFiles
from tests.celery.canary import Canary
from tests.celery.processes import REPOSITORY, wait_until
from tests.celery.world import World

ROTATIONS = 5
SESSION_LIFETIME = 27.0
"""Seconds. A session of AWS lasts 900 at least; two thirds of it are used."""


class Sessions:
    """Notes the keys of all sessions that Roles Anywhere opens.

    Args:
        sandbox: Whose.
        monkeypatch: Takes the notes for the length of a test.
    """

    def __init__(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin."""
        self.keys: list[AccessKey] = []
        accept = sandbox.sts.accept

        def noting(key: AccessKey) -> None:
            self.keys.append(key)
            accept(key)

        monkeypatch.setattr(sandbox.sts, "accept", noting)

    @property
    def secrets(self) -> list[str]:
        """What belongs into no file."""
        found = [(key.secret_access_key, key.session_token) for key in self.keys]
        return [secret for pair in found for secret in pair if secret]


@pytest.fixture
def chain_world(tmp_path: Path) -> Iterator[World]:
    """A broker configured as Amazon MQ's, and processes that have nothing but a certificate."""
    (tmp_path / "test").mkdir()
    with Sandbox(broker="4", broker_auth="amazonmq", aws_login="roles-anywhere") as sandbox:
        sandbox.sts.token_lifetime_override = 8.0
        sandbox.roles_anywhere.session_lifetime = SESSION_LIFETIME
        world = World(sandbox, tmp_path / "test")
        yield world
        world.close()


def private_places(folder: Path) -> dict[str, str]:
    """Return variables that keep all that a process writes for itself inside `folder`."""
    places = {name: folder / name.lower() for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR")}
    for place in places.values():
        place.mkdir(mode=0o700, parents=True)
    return {
        **{name: str(place) for name, place in places.items()},
        "XDG_CACHE_HOME": str(places["HOME"] / ".cache"),
        "MQAUTH_CACHE": "off",
    }


def files_in_memory() -> set[Path]:
    """Return the files of this host's shared memory."""
    return {path for path in Path("/dev/shm").rglob("*") if path.is_file()}  # noqa: S108


def written_since(moment: float, folder: Path) -> list[Path]:
    """Return the files below a folder that are newer, leaving out hidden folders."""
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [path for name in names if (path := Path(where, name)).is_file()]
    # Python's own files come and go while other tests import.
    return [path for path in found if path.suffix != ".pyc" and path.stat().st_mtime >= moment]


def renew_certificate(sandbox: Sandbox, folder: Path) -> int:
    """Replace certificate and key as what renews them does; return the new serial number."""
    folder.mkdir()
    renewed = sandbox.pki.issue("ec-p384", depth=2)
    old, new = sandbox.identity_files, renewed.write(folder)
    for one, other in zip(paths(old), paths(new), strict=True):
        other.replace(one)
    return renewed.certificate.serial_number


def paths(files: IdentityFiles) -> list[Path]:
    """Return the files of an identity."""
    return [path for path in (files.private_key, files.certificate, files.intermediates) if path]


def serial_numbers(sandbox: Sandbox) -> list[int]:
    """Return which certificates sessions were opened with."""
    calls = [call for call in sandbox.roles_anywhere.calls if call.outcome == "ok"]
    return [int(call.authorization.serial) for call in calls]


def test_worker_with_nothing_but_a_certificate(
    chain_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Worker and producer live through rotations of token, session and certificate."""
    world, sandbox = chain_world, chain_world.sandbox
    sessions = Sessions(sandbox, monkeypatch)
    before, places = files_in_memory(), private_places(tmp_path / "own")
    started = time.time()
    settings = world.configuration(
        broker_url=world.url(who="aws-iam"),
        task_acks_late=True,
        worker_log_format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    worker = world.worker(configuration=settings, variables=places, loglevel="DEBUG")
    producer = world.producer(
        "--interval", "0.3", "--results", configuration=settings, variables=places
    )
    long = world.send("hold", 12.0)
    renewed = renew_certificate(sandbox, tmp_path / "renewed")
    world.wait_for_renewals(ROTATIONS, timeout=60)
    world.journal.wait_for_ends([long])
    wait_until(lambda: renewed in serial_numbers(sandbox), 60, "a session by the new certificate")
    world.wait_for_renewals(1)
    producer.stop()

    assert world.dropped() == []
    assert world.journal.records("publish_error") == []
    assert all(record.facts["right"] for record in world.journal.records("result"))
    assert world.journal.not_exactly_once() == {}
    assert f"user '{sandbox.sts.role_arn}'" in world.broker_log()

    canary = Canary([*sessions.secrets, sandbox.sts.secret_access_key])
    assert len(sessions.keys) >= 3, "the worker's, the producer's, and one after the renewal"
    assert worker.lines_with("credproc.in_process", "Opened a Roles Anywhere session")
    assert canary.found_in(worker.output) == []
    assert canary.found_in(producer.output) == []
    assert canary.found_in_command_lines() == []
    assert canary.files_with_secrets(tmp_path / "own") == []
    assert canary.files_with_secrets(world.folder) == []
    assert [path for path in files_in_memory() - before if "mqauth" in str(path)] == []
    for path in written_since(started, REPOSITORY):  # the processes' working directory
        text = path.read_text(errors="replace")
        assert not any(secret in text for secret in sessions.secrets), path
    (tmp_path / "own" / "planted").write_text(f"x{sessions.secrets[0]}")
    assert canary.files_with_secrets(tmp_path / "own"), "a search that finds nothing proves little"
