"""The host's cache is closed to everybody but its owner."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mqauth import ConfigurationError, CredentialSource
from mqauth.rotation.cache import private_directory
from mqauth_sandbox.oidc import OidcIssuer
from packages.mqauth.tests.rotation.cache_files import credential_file, give_away


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Let new files be as open as whoever makes them says."""
    before = os.umask(0)
    yield
    os.umask(before)


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
