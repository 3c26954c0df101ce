"""The host's cache is never in the way: processes die or hang, and its directory goes."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mqauth import BrokerCredentials, CredentialSource
from mqauth.rotation.cache import HostCache
from mqauth_sandbox.oidc import OidcIssuer
from packages.mqauth.tests.rotation.cache_files import credential_file
from packages.mqauth.tests.rotation.waiting import PATIENCE

if TYPE_CHECKING:
    from packages.mqauth.tests.rotation.conftest import Process, ScriptedProvider


def test_a_killed_holder_of_the_lock_blocks_nobody(
    issuer: OidcIssuer, start_process: Callable[..., Process]
) -> None:
    """A process that is killed in the midst of its fetch leaves no lock behind."""
    holder, other = start_process(), start_process()
    assert holder.ask("hold_lock") is True
    other.tell("get")
    holder.kill()
    assert "token" in other.answer()
    assert other.ask("hold_lock") is True
    assert issuer.fetches == 1


def test_a_hanging_holder_of_the_lock_costs_one_time_limit(
    issuer: OidcIssuer, start_process: Callable[..., Process]
) -> None:
    """A process that is stopped while it holds the lock makes others fetch on their own."""
    holder, other = start_process(), start_process(timeout=6.0)
    assert holder.ask("hold_lock") is True
    holder.signal(signal.SIGSTOP)
    try:
        assert "token" in other.ask("get")
    finally:
        holder.signal(signal.SIGCONT)
    assert issuer.fetches == 1


@pytest.mark.parametrize("moment", ["_encode", "Path.replace"])
def test_a_process_killed_while_writing_leaves_nothing_harmful(
    issuer: OidcIssuer,
    config: dict[str, Any],
    shared: CredentialSource,
    directory: Path,
    moment: str,
) -> None:
    """The old file or none is what others see, the draft stays private and is swept away."""
    program = f"""
import json, os, signal, sys
from mqauth import CredentialSource
from mqauth.rotation import cache
cache.{moment} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
CredentialSource.from_config(json.load(sys.stdin)).get()
"""
    killed = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps({**config, "cache": str(directory)}),
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    (draft,) = directory.glob("*.new")
    assert stat.S_IMODE(draft.stat().st_mode) == 0o600
    assert not list(directory.glob("*.json"))
    token = shared.get().password.reveal()
    assert not list(directory.glob("*.new"))
    assert json.loads(credential_file(directory).read_text())["password"] == token
    assert issuer.fetches == 2


def test_a_lock_that_is_not_to_be_had_costs_a_fetch_only(
    issuer: OidcIssuer, shared: CredentialSource, directory: Path, tmp_path: Path
) -> None:
    """A link where the lock belongs is neither followed nor fatal."""
    shared.invalidate(shared.get())
    (lock,) = directory.glob("*.lock")
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    assert not shared.get().expired()
    assert not (tmp_path / "elsewhere").exists()
    assert issuer.fetches == 2


def test_a_directory_that_vanishes_comes_back_private(
    shared: CredentialSource, make_source: Callable[..., CredentialSource], directory: Path
) -> None:
    """Hosts clean up runtime directories; the next rotation makes ours again, for us only."""
    old = shared.get()
    shutil.rmtree(directory)
    shared.invalidate(old)
    new = shared.get()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert make_source(cache=str(directory)).get() == new


def test_a_directory_that_can_no_longer_be_used_is_done_without(
    issuer: OidcIssuer, shared: CredentialSource, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a file where the directory was, rotation goes on for this process alone."""
    old = shared.get()
    shutil.rmtree(directory)
    directory.touch()
    shared.invalidate(old)
    assert shared.get().password != old.password
    assert issuer.fetches == 2
    assert "the credential cache cannot be written" in caplog.text


def test_a_directory_that_others_may_enter_is_done_without(
    issuer: OidcIssuer, shared: CredentialSource, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Made anew by somebody else in the meantime, it gets neither a lock nor a credential."""
    old = shared.get()
    shutil.rmtree(directory)
    directory.mkdir(mode=0o755)
    shared.invalidate(old)
    assert shared.get().password != old.password
    assert issuer.fetches == 2
    assert list(directory.iterdir()) == []
    assert "is not private to this user" in caplog.text


def test_writers_without_the_lock_never_show_half_a_credential(
    scripted: type[ScriptedProvider], host_cache: HostCache
) -> None:
    """Should the lock fail, readers see one whole credential or another, or none."""
    written = [scripted.credentials(token=str(number) * 20_000) for number in range(4)]
    stop = threading.Event()

    def write(credentials: BrokerCredentials) -> None:
        while not stop.is_set():
            host_cache.store(credentials)

    writers = [threading.Thread(target=write, args=(credentials,)) for credentials in written]
    for writer in writers:
        writer.start()
    seen = [host_cache.load() for _ in range(300)]
    stop.set()
    for writer in writers:
        writer.join(PATIENCE)
    assert {credentials.password for credentials in seen if credentials is not None} <= {
        credentials.password for credentials in written
    }
    host_cache.store(written[0])
    assert host_cache.load() == written[0]
