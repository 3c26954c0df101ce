"""Which directory the host's cache is in, and when there is none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mqauth import ConfigurationError, CredentialSource
from mqauth.rotation import cache
from mqauth.rotation.cache import default_directory, private_directory


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
            with contextlib.suppress(OSError):  # another process of this user has it by now
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


def test_a_path_that_cannot_be_is_an_error_of_ours(tmp_path: Path) -> None:
    """A NUL character ends a path for the system, and Python takes none with one."""
    with pytest.raises(ConfigurationError, match="no path has such characters"):
        private_directory(tmp_path / "a\0b")
