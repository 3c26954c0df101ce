"""What stands in the host's cache: whatever looks wrong counts as nothing cached."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqauth import BrokerCredentials, CredentialSource, Secret
from mqauth.credentials import utc_from_timestamp
from mqauth.rotation import cache
from mqauth.rotation.cache import HostCache
from mqauth_sandbox.oidc import OidcIssuer
from packages.mqauth.tests.rotation.cache_files import change, credential_file, give_away


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
        pytest.param(rewrite(lambda p: change(p, password="x\ud800")), id="half a password"),
        pytest.param(rewrite(lambda p: change(p, username="x\udce4")), id="user name in Latin"),
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
