"""The host's cache: shared by one user's processes, closed to everybody else, never in the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqauth import (
    BrokerCredentials,
    ConfigurationError,
    CredentialSource,
    IssuerUnavailableError,
    Secret,
)
from mqauth.credentials import utc_from_timestamp
from mqauth.rotation import cache
from mqauth.rotation.cache import HostCache, default_directory, private_directory
from mqauth_sandbox.oidc import OidcIssuer

if TYPE_CHECKING:
    from packages.mqauth.tests.rotation.conftest import Process, ScriptedProvider

PATIENCE = 30.0
NOBODY = 65534
KEY = "0123456789abcdef"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return where `start_process` and `shared` keep their cache."""
    return tmp_path / "cache"


@pytest.fixture
def host_cache(directory: Path) -> HostCache:
    """Return an empty cache."""
    return HostCache(private_directory(directory), KEY)


@pytest.fixture
def shared(make_source: Callable[..., CredentialSource], directory: Path) -> CredentialSource:
    """Return a source of this process that uses the cache."""
    return make_source(cache=str(directory))


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Let new files be as open as whoever makes them says."""
    before = os.umask(0)
    yield
    os.umask(before)


def credential_file(directory: Path) -> Path:
    """Return the one credential in the cache."""
    (path,) = directory.glob("*.json")
    return path


def change(path: Path, **changes: Any) -> None:
    """Change what stands in a credential's file, without touching its mode."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `path` belong to another user; whoever may not do that becomes another user."""
    try:
        os.chown(path, NOBODY, NOBODY)
    except PermissionError:
        user = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: user + 1)


# Closed to everybody else


@pytest.mark.usefixtures("open_umask")
def test_only_the_owner_may_look(shared: CredentialSource, directory: Path) -> None:
    """Whatever the umask, the directory is 0700, every file 0600, and names say nothing."""
    shared.invalidate(shared.get())
    shared.get()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files = list(directory.iterdir())
    assert {path.suffix for path in files} == {".json", ".lock"}
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_uid == os.geteuid()
        assert set(path.stem) <= set("0123456789abcdef")


def test_the_only_secret_is_the_credential_in_its_own_file(
    issuer: OidcIssuer, shared: CredentialSource, directory: Path, tmp_path: Path
) -> None:
    """No neighbour holds the token, and nothing at all holds the client's secret."""
    old = shared.get()
    shared.invalidate(old)
    present = shared.get().password.reveal()
    assert credential_file(directory).read_text().count(present) == 1
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_text()
            assert issuer.client_secret not in content
            assert old.password.reveal() not in content
            assert present not in content or path == credential_file(directory)


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    """Neither readable nor searchable by group or others, and no file in its place."""
    for number, mode in enumerate((0o755, 0o710, 0o701, 0o777, 0o1777)):
        path = tmp_path / f"open{number}"
        path.mkdir()
        path.chmod(mode)
        with pytest.raises(ConfigurationError, match="not private to this user"):
            private_directory(path)
    (tmp_path / "file").touch(0o600)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        private_directory(tmp_path / "file")


def test_a_link_to_a_directory_is_refused(tmp_path: Path) -> None:
    """Somebody else's choice of place is not followed, wherever the link leads."""
    (tmp_path / "target").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("link", "dangling"):
        with pytest.raises(ConfigurationError):
            private_directory(tmp_path / name)
    assert not (tmp_path / "nowhere").exists()


def test_another_users_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that is closed, but whose owner could open it, is not ours to use."""
    path = tmp_path / "theirs"
    path.mkdir(mode=0o700)
    give_away(path, monkeypatch)
    with pytest.raises(ConfigurationError, match="not private to this user"):
        private_directory(path)


def test_a_named_directory_that_is_not_private_is_an_error_at_once(
    make_source: Callable[..., CredentialSource], tmp_path: Path
) -> None:
    """Who names a directory is told what is wrong with it and how to do without."""
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(ConfigurationError, match=r"open is not private.*MQAUTH_CACHE=off"):
        make_source(cache=str(tmp_path / "open"))


# Whatever looks wrong counts as nothing cached


def make_link(path: Path, _: pytest.MonkeyPatch) -> None:
    """Put a link to the very same credential in its place."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def make_hard_link(path: Path, _: pytest.MonkeyPatch) -> None:
    """Give the file a second name, under which others may keep it."""
    path.with_name("second-name").hardlink_to(path)


def make_directory(path: Path, _: pytest.MonkeyPatch) -> None:
    """Put a directory in the file's place."""
    path.unlink()
    path.mkdir()


def make_fifo(path: Path, _: pytest.MonkeyPatch) -> None:
    """Put a pipe in the file's place, which nobody will ever write to."""
    path.unlink()
    os.mkfifo(path, 0o600)


def rewrite(write: Callable[[Path], object]) -> Callable[[Path, pytest.MonkeyPatch], None]:
    """Return a change of content alone."""

    def apply(path: Path, _: pytest.MonkeyPatch) -> None:
        write(path)

    return apply


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(make_link, id="symbolic link"),
        pytest.param(make_hard_link, id="hard link"),
        pytest.param(make_directory, id="directory"),
        pytest.param(make_fifo, id="pipe"),
        pytest.param(give_away, id="another owner"),
        pytest.param(rewrite(lambda p: p.chmod(0o644)), id="readable by all"),
        pytest.param(rewrite(lambda p: p.chmod(0o640)), id="readable by the group"),
        pytest.param(rewrite(lambda p: p.chmod(0o602)), id="writable by others"),
        pytest.param(rewrite(lambda p: p.write_bytes(b"")), id="empty"),
        pytest.param(rewrite(lambda p: p.write_bytes(p.read_bytes()[:-40])), id="truncated"),
        pytest.param(rewrite(lambda p: p.write_bytes(os.urandom(4096))), id="no text"),
        pytest.param(rewrite(lambda p: p.write_text("[1, 2]")), id="no object"),
        pytest.param(rewrite(lambda p: p.write_text("[" * 100_000)), id="bottomless"),
        pytest.param(rewrite(lambda p: change(p, padding="x" * 300_000)), id="huge"),
        pytest.param(rewrite(lambda p: change(p, format=2)), id="another format"),
        pytest.param(rewrite(lambda p: change(p, password=None)), id="no password"),
        pytest.param(rewrite(lambda p: change(p, username=7)), id="user name of no text"),
        pytest.param(rewrite(lambda p: change(p, principal=["x"])), id="principal of no text"),
        pytest.param(rewrite(lambda p: change(p, expires_at="soon")), id="expiry of no number"),
        pytest.param(rewrite(lambda p: change(p, expires_at=1e300)), id="expiry out of range"),
        pytest.param(rewrite(lambda p: change(p, issued_at=float("nan"))), id="issued never"),
        pytest.param(rewrite(lambda p: change(p, clock_skew=float("nan"))), id="skew unknown"),
        pytest.param(rewrite(lambda p: change(p, clock_skew=float("-inf"))), id="skew unbounded"),
    ],
)
def test_what_looks_wrong_is_fetched_anew(
    issuer: OidcIssuer,
    make_source: Callable[..., CredentialSource],
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    tamper: Callable[[Path, pytest.MonkeyPatch], None],
) -> None:
    """A file that is not exactly what this version writes costs one fetch and no error."""
    trusted = make_source(cache=str(directory)).get()
    assert make_source(cache=str(directory)).get() == trusted
    path = credential_file(directory)
    tamper(path, monkeypatch)
    assert HostCache(directory, path.stem).load() is None
    assert make_source(cache=str(directory)).get().password != trusted.password
    assert issuer.fetches == 2


def test_a_link_is_replaced_and_its_target_left_alone(
    make_source: Callable[..., CredentialSource], directory: Path, tmp_path: Path
) -> None:
    """Storing never writes through a link that stands where the file or its draft belongs."""
    make_source(cache=str(directory)).get()
    path = credential_file(directory)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for name in (path, path.with_name(path.name + ".new")):
        name.unlink(missing_ok=True)
        name.symlink_to(precious)
    make_source(cache=str(directory)).get()
    assert precious.read_text() == "precious"
    assert path.is_file()
    assert not path.is_symlink()
    assert {p.suffix for p in directory.iterdir()} == {".json", ".lock"}


moments = st.builds(utc_from_timestamp, st.floats(946_684_800, 4_102_444_800))


@given(
    credentials=st.builds(
        BrokerCredentials,
        username=st.text(),
        password=st.builds(Secret, st.text()),
        issued_at=moments,
        expires_at=st.none() | moments,
        principal=st.none() | st.text(),
        provider=st.text(),
        clock_skew=st.floats(-1e6, 1e6),
    )
)
def test_what_is_stored_is_what_comes_back(credentials: BrokerCredentials) -> None:
    """Every credential survives the way through the file unchanged."""
    assert cache._decode(cache._encode(credentials)) == credentials


@given(place=st.floats(0, 1), damage=st.binary(min_size=1, max_size=8), insert=st.booleans())
def test_damage_is_never_more_than_nothing_cached(
    place: float, damage: bytes, *, insert: bool
) -> None:
    """Whatever single spot of the file is damaged, reading it raises nothing unforeseen."""
    content = cache._encode(
        BrokerCredentials(username="u", password=Secret("p" * 50), issued_at=datetime.now(UTC))
    )
    spot = int(place * len(content))
    damaged = content[:spot] + damage + content[spot + (0 if insert else len(damage)) :]
    try:
        read = cache._decode(damaged)
    except (OSError, *cache._UNREADABLE):
        return
    assert isinstance(read, BrokerCredentials)
    assert abs(read.clock_skew) < float("inf")


# One fetch for the host


def test_twenty_processes_fetch_once_per_rotation(
    issuer: OidcIssuer, start_process: Callable[..., Process]
) -> None:
    """Twenty processes that start together and live over rotations cost one fetch for each."""
    issuer.token_lifetime = 40.0
    processes = [start_process() for _ in range(20)]
    for process in processes:
        process.ask("status")
    for process in processes:
        process.tell("get")
    first = [process.answer()["token"] for process in processes]
    assert len(set(first)) == issuer.requests == 1
    for process in processes:
        process.tell("wait", rotations=2)
    states = [process.answer() for process in processes]
    assert min(state["rotations"] for state in states) >= 2
    assert [state["failures"] for state in states] == [0] * 20
    times = [request.at for request in issuer.token_requests]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    # Renewal is due after a fifth of the life, counted from before the request was sent. A second
    # fetch for the same rotation would follow at once.
    assert min(gaps) > 0.1 * issuer.token_lifetime, gaps
    assert issuer.requests == issuer.fetches


def test_without_the_cache_every_process_fetches(
    issuer: OidcIssuer, start_process: Callable[..., Process], directory: Path
) -> None:
    """Switched off, in the configuration or the environment, nothing is shared or written."""
    processes = [
        start_process(cache=False),
        start_process(cache="off"),
        start_process({"MQAUTH_CACHE": "off"}, cache=None),
    ]
    tokens = {process.ask("get")["token"] for process in processes}
    assert len(tokens) == issuer.fetches == 3
    assert not directory.exists()


def test_identities_do_not_share(
    issuer: OidcIssuer, make_source: Callable[..., CredentialSource], directory: Path
) -> None:
    """Another scope is another credential; another spelling of the secret's place is not."""
    scope = issuer.scopes[0]
    all_scopes = make_source(cache=str(directory)).get()
    one_scope = make_source(cache=str(directory), scope=scope).get()
    assert one_scope.password != all_scopes.password
    secret_file = directory / "client-secret"
    secret_file.write_text(issuer.client_secret)
    by_file = make_source(
        cache=str(directory), client_secret=None, client_secret_file=str(secret_file)
    )
    assert by_file.get() == all_scopes
    assert issuer.fetches == 2


def test_a_process_that_starts_during_an_outage_uses_the_hosts_credential(
    issuer: OidcIssuer, start_process: Callable[..., Process]
) -> None:
    """What another process fetched before the issuer began to hang is at hand at once."""
    present = start_process().ask("get")["token"]
    issuer.faults.mode = "hang"
    assert start_process().ask("get")["token"] == present
    assert issuer.requests == 1


def test_a_due_credential_of_the_host_is_used_while_its_renewal_hangs(
    scripted: type[ScriptedProvider],
    source_of: Callable[..., CredentialSource],
    host_cache: HostCache,
) -> None:
    """Who has nothing takes what the host has, and renews it in the background."""
    due = scripted.credentials(lifetime=100.0, age=60.0)
    host_cache.store(due)
    asked, answer = threading.Event(), threading.Event()

    def hang(timeout: float) -> BrokerCredentials:
        asked.set()
        answer.wait(PATIENCE)
        return scripted.credentials()

    source = source_of(scripted(hang), cache=host_cache)
    assert source.get() == due
    assert asked.wait(PATIENCE)
    assert source.get() == due
    answer.set()


def test_the_hosts_credential_serves_to_its_last_moment(
    scripted: type[ScriptedProvider],
    source_of: Callable[..., CredentialSource],
    host_cache: HostCache,
) -> None:
    """Too close to its end to sign in with by choice, it still is better than nothing."""
    nearly_over = scripted.credentials(lifetime=100.0, age=98.5)
    host_cache.store(nearly_over)
    provider = scripted(IssuerUnavailableError("the issuer is down"))
    source = source_of(provider, cache=host_cache)
    assert source.get() == nearly_over
    assert provider.fetches == source.status().failures == 1


def test_a_rejection_reaches_other_processes_and_spares_newer_credentials(
    issuer: OidcIssuer, start_process: Callable[..., Process]
) -> None:
    """One process replaces what the broker refused; the others take its replacement."""
    first, second, third = start_process(), start_process(), start_process()
    old = first.ask("get")["token"]
    assert second.ask("get")["token"] == old
    first.ask("invalidate")
    new = first.ask("get")["token"]
    assert new != old
    second.ask("invalidate")
    assert second.ask("get")["token"] == new
    assert third.ask("get")["token"] == new
    assert issuer.fetches == 2


def test_a_rejected_credential_is_not_taken_back_from_the_cache(
    issuer: OidcIssuer, shared: CredentialSource, directory: Path
) -> None:
    """Should the rejected one stand in the cache again, this process still knows better."""
    rejected = shared.get()
    shared.invalidate(rejected)
    assert not list(directory.glob("*.json"))
    assert shared._cache is not None
    shared._cache.store(rejected)
    assert shared.get().password != rejected.password
    assert issuer.fetches == 2


# Processes that die, hang or find the floor gone


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
    holder, other = start_process(), start_process(timeout=1.0)
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


# Which directory


def test_the_session_directory_in_memory_comes_first(own_runtime_directory: Path) -> None:
    """`XDG_RUNTIME_DIR` is in memory, private and gone after logout."""
    assert default_directory() == own_runtime_directory / "mqauth"


@pytest.mark.parametrize("unusable", ["unset", "empty", "relative", "missing", "open", "link"])
def test_memory_comes_before_the_disk(
    unusable: str, own_runtime_directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a usable session directory, memory that belongs to the user is next."""
    ours = own_runtime_directory / "mqauth"
    match unusable:
        case "unset":
            monkeypatch.delenv("XDG_RUNTIME_DIR")
        case "empty":
            monkeypatch.setenv("XDG_RUNTIME_DIR", "")
        case "relative":
            monkeypatch.setenv("XDG_RUNTIME_DIR", "runtime")
        case "missing":
            (tmp_path / "file").touch()
            monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file" / "missing"))
        case "open":
            ours.mkdir()
            ours.chmod(0o755)
        case "link":
            ours.symlink_to(tmp_path)
    user = os.geteuid()
    session = Path(f"/run/user/{user}")
    expected = session / "mqauth" if session.is_dir() else Path(f"/dev/shm/mqauth-{user}")  # noqa: S108
    existed = expected.exists()
    try:
        assert default_directory() == expected
    finally:
        if not existed:
            expected.rmdir()


def test_the_home_directory_is_the_last_resort(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where nothing in memory is ours, the user's cache directory serves."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    refused = []

    def only_on_disk(path: Path) -> Path:
        if not path.is_relative_to(tmp_path):
            refused.append(path)
            raise ConfigurationError("refused")
        return private_directory(path)

    monkeypatch.setattr(cache, "private_directory", only_on_disk)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "on-disk"))
    assert default_directory() == tmp_path / "on-disk" / "mqauth"
    assert refused[-1] == Path(f"/dev/shm/mqauth-{os.geteuid()}")  # noqa: S108


def test_without_any_private_directory_each_process_is_on_its_own(
    make_source: Callable[..., CredentialSource],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No place for a cache is a warning, not an error."""
    monkeypatch.setattr("mqauth.rotation.building.default_directory", lambda: None)
    source = make_source(cache=True)
    assert source._cache is None
    assert not source.get().expired()
    assert "no private directory for the credential cache" in caplog.text


def test_what_is_read_from_this_host_is_not_cached(own_runtime_directory: Path) -> None:
    """A static password or a token file needs no second copy."""
    source = CredentialSource.from_config(
        {"provider": "static", "username": "celery", "password": "x" * 12}
    )
    source.get()
    assert source._cache is None
    assert list(own_runtime_directory.iterdir()) == []
