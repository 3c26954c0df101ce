"""The credentials file is replaced whole or not at all, whoever else writes it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from botocore.session import Session

from credproc.awsfiles.paths import config_path, credentials_path
from credproc.awsfiles.replace import rewrite
from credproc.credentials import SessionCredentials
from credproc.errors import CacheError, UnavailableError, UsageError
from credproc.renewal import pause_after_failure
from credproc.secret import Secret
from credproc.update import Updater, pause_before_renewal, write_profile


def session(number: int = 1, lifetime: float = 3600) -> SessionCredentials:
    """Return a made-up session."""
    return SessionCredentials(
        f"ASIA{number}",
        Secret(f"secret{number}"),
        Secret(f"token{number}"),
        int(time.time() + lifetime),
    )


def mode(path: Path) -> int:
    """Return a file's permissions."""
    return stat.S_IMODE(path.stat().st_mode)


def names(directory: Path) -> set[str]:
    """Return the files of a directory."""
    return {path.name for path in directory.iterdir()}


def test_boto_finds_the_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is what botocore's shared credentials provider reads."""
    path = tmp_path / ".aws" / "credentials"
    write_profile(path, "build", session())
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    found = Session(profile="build").get_credentials()
    assert found is not None
    assert (found.access_key, found.secret_key, found.token) == ("ASIA1", "secret1", "token1")
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_a_file_that_others_may_read_becomes_private(tmp_path: Path) -> None:
    """Keys never land in a file with the mode that it happened to have, even if nothing changes."""
    path = tmp_path / "credentials"
    path.write_text("[other]\n")
    path.chmod(0o664)
    write_profile(path, "build", session())
    assert mode(path) == 0o600
    path.chmod(0o640)
    write_profile(path, "build", session())
    assert mode(path) == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """The file that a link leads to is replaced, not the link; a chain of two is followed."""
    real = tmp_path / "secrets" / "real"
    real.parent.mkdir()
    real.write_text("[other]\nx = 1\n")
    (tmp_path / "middle").symlink_to("secrets/real")
    link = tmp_path / "credentials"
    link.symlink_to("middle")
    write_profile(link, "build", session())
    assert link.is_symlink()
    assert (tmp_path / "middle").is_symlink()
    assert b"ASIA1" in real.read_bytes()
    assert names(real.parent) == {"real"}


def test_a_link_in_a_circle_is_one_error(tmp_path: Path) -> None:
    """A link that leads to itself is an error with the file's name, not a hang."""
    link = tmp_path / "credentials"
    link.symlink_to(link)
    with pytest.raises(CacheError, match="credentials cannot be written: Too many levels"):
        write_profile(link, "build", session())


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    """A directory or a pipe in the file's place is named, and nothing waits for it."""
    path = tmp_path / "credentials"
    if kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(CacheError, match=r"no regular file|Is a directory"):
        write_profile(path, "build", session())


def test_a_file_that_no_sdk_can_read_is_named(tmp_path: Path) -> None:
    """The error about the content says which file it is, and the file stays as it is."""
    path = tmp_path / "credentials"
    path.write_bytes(b"\xff\xfe[\0")
    with pytest.raises(UsageError, match=rf"{path}: the file holds null bytes"):
        write_profile(path, "build", session())
    assert path.read_bytes() == b"\xff\xfe[\0"


@contextmanager
def no_room() -> Iterator[None]:
    """Let no file of this process grow beyond 64 bytes, as on a disk that is full.

    Around one call only: the log of the test run may be such a file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_file_untouched(tmp_path: Path) -> None:
    """Without room for the new file the old one stays, and nothing is left lying about."""
    path = tmp_path / "credentials"
    path.write_text("[other]\nx = 1\n")
    problem = r"cannot be written.*left as it was; free disk space"
    with pytest.raises(CacheError, match=problem), no_room():
        write_profile(path, "build", session(10**40))
    assert path.read_text() == "[other]\nx = 1\n"
    assert names(tmp_path) == {"credentials"}


def test_a_directory_that_takes_no_files_is_one_error() -> None:
    """Where not even root may write, the error names the file and the remedy."""
    with pytest.raises(CacheError, match=r"/sys/kernel/credentials cannot be written: .*denied"):
        write_profile(Path("/sys/kernel/credentials"), "build", session())


def test_a_tool_without_lock_loses_nothing(tmp_path: Path) -> None:
    """A change made by `aws configure` while we work is seen, and both changes are kept."""
    path = tmp_path / "credentials"
    path.write_bytes(b"one\n")
    seen = []

    def change(content: bytes) -> bytes:
        seen.append(content)
        if len(seen) == 1:
            path.write_bytes(content + b"theirs\n")
        return content + b"ours\n"

    assert rewrite(path, change)
    assert seen == [b"one\n", b"one\ntheirs\n"]
    assert path.read_bytes() == b"one\ntheirs\nours\n"


def test_a_held_lock_is_waited_for_but_not_for_ever(tmp_path: Path) -> None:
    """A lock that is not given back within the limit is an error that names it."""
    path = tmp_path / "credentials"
    held, release = threading.Event(), threading.Event()

    def hold(content: bytes) -> bytes:
        held.set()
        assert release.wait(20)
        return content + b"first\n"

    holder = threading.Thread(target=rewrite, args=(path, hold))
    holder.start()
    assert held.wait(20)
    with pytest.raises(CacheError, match=r"holds .*credentials\.lock for more than 0\.05 s"):
        rewrite(path, lambda content: content + b"second\n", lock_timeout=0.05)
    release.set()
    holder.join(20)
    assert path.read_bytes() == b"first\n"


def test_one_at_a_time_though_the_lock_goes_with_its_holder(tmp_path: Path) -> None:
    """However many wait for a lock whose file is removed with each turn, none overtakes another."""
    path = tmp_path / "credentials"
    alone = threading.Lock()

    def change(content: bytes) -> bytes:
        assert alone.acquire(blocking=False)
        time.sleep(0.002)
        alone.release()
        return content + b"x"

    def write_often() -> None:
        for _ in range(10):
            rewrite(path, change, lock_timeout=60)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write_often) for _ in range(4)]:
            done.result(60)
    assert path.read_bytes() == b"x" * 40
    assert names(tmp_path) == {"credentials"}


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_a_lock_that_cannot_be_taken_is_named(tmp_path: Path, kind: str) -> None:
    """What stands in the lock's way is blamed, not the file, which stays as it is."""
    path, lock = tmp_path / "credentials", tmp_path / "credentials.lock"
    path.write_bytes(b"one\n")
    if kind == "link":
        lock.symlink_to(tmp_path / "elsewhere")
    else:
        lock.mkdir()
    problem = rf"its lock {lock} cannot be taken: .*; remove the lock if no other program uses it"
    with pytest.raises(CacheError, match=problem):
        rewrite(path, lambda content: content + b"two\n")
    assert path.read_bytes() == b"one\n"
    assert names(tmp_path) == {"credentials", "credentials.lock"}


def test_a_lock_that_is_another_users_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that root has left, say, is blamed; tests may run as root, whom nothing is denied."""
    lock = tmp_path / "credentials.lock"
    lock.touch()
    opened = os.open

    def denied(path: str | Path, *how: int) -> int:
        if str(path) == str(lock):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return opened(path, *how)

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(CacheError, match=rf"its lock {lock} cannot be taken: Permission denied"):
        rewrite(tmp_path / "credentials", lambda content: content + b"x")


def test_nobody_removes_anothers_lock(tmp_path: Path) -> None:
    """Where somebody has removed a lock that was held, the next holder's stays when it ends."""
    path, lock = tmp_path / "credentials", tmp_path / "credentials.lock"

    def removed(content: bytes) -> bytes:
        lock.unlink()
        lock.write_bytes(b"the next holder's")
        return content + b"x"

    assert rewrite(path, removed)
    assert lock.read_bytes() == b"the next holder's"


WRITER = """
import sys, time
from pathlib import Path
from credproc.credentials import SessionCredentials
from credproc.renewal import pause_after_failure
from credproc.secret import Secret
from credproc.update import write_profile
for number in range(40):
    write_profile(Path(sys.argv[1]), sys.argv[2],
                  SessionCredentials(f"ASIA{number}", Secret("s"), Secret("t"), 2_000_000_000))
"""


def test_two_updaters_at_once_keep_each_others_profiles(tmp_path: Path) -> None:
    """Two processes that write other profiles of one file lose none; readers see whole files."""
    path = tmp_path / "credentials"
    path.write_text("# ours\n[kept]\nx = 1\n")
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("a", "b")
    ]
    while any(writer.poll() is None for writer in writers):
        content = path.read_text()
        assert content.startswith("# ours\n[kept]\nx = 1\n")
        assert content.count("aws_access_key_id") == content.count("aws_session_token")
    assert [writer.returncode for writer in writers] == [0, 0]
    assert path.read_text().count("ASIA39") == 2


@pytest.mark.parametrize(
    ("given", "found"), [("~/x", "/users/u/x"), ("$HOME/y", "/users/u/y"), ("", "/users/u/.aws/")]
)
def test_paths_are_botocores(given: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables are read and expanded as botocore does."""
    monkeypatch.setenv("HOME", "/users/u")
    environ = {"AWS_SHARED_CREDENTIALS_FILE": given, "AWS_CONFIG_FILE": given}
    assert str(credentials_path(environ)).startswith(found)
    assert str(config_path(environ)).startswith(found)


@pytest.mark.parametrize(
    ("left", "pause"), [(3600, 3300), (900, 600), (600, 300), (100, 50), (0, 1)]
)
def test_renewal_comes_five_minutes_ahead(left: float, pause: float) -> None:
    """As the official helper; half-way where the session is too short for that."""
    assert pause_before_renewal(1000 + left, 1000) == pause


def test_a_killed_writer_leaves_nothing_for_long(tmp_path: Path) -> None:
    """What a process left that was killed while it wrote is gone with the next write."""
    path = tmp_path / "credentials"
    code = WRITER.replace("import sys, time", "import os, signal, sys").replace(
        "for number", "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\nfor number"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path), "a"], check=False, timeout=30)
    assert killed.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2
    write_profile(path, "a", session())
    assert names(tmp_path) == {"credentials"}


@pytest.mark.parametrize(
    ("pause", "asked", "left", "expected"),
    [
        (5, None, 300, 5),
        (5, 30, 300, 30),
        (5, 3600, 300, 150),
        (5, 3600, 4, 2),
        (120, None, 4, 2),
        (5, 3600, 0.5, 1),
        (5, 3600, 0, 120),
        (5, None, -9, 5),
    ],
)
def test_the_wish_of_the_service_fits_the_life_of_the_keys(
    pause: float, asked: float | None, left: float, expected: float
) -> None:
    """A Retry-After of an hour with four seconds left would leave programs without keys."""
    assert pause_after_failure(pause, asked, left, 120) == expected


def test_updater_does_not_sleep_past_the_end() -> None:
    """With a second left it does not wait for the hour that the service asks for."""
    stopped = threading.Event()
    answers: list[SessionCredentials | Exception] = [
        session(1, 2),
        UnavailableError("the service is busy", retry_after=3600),
        session(2, 1),
    ]

    def fetch(renew: bool) -> SessionCredentials:  # noqa: FBT001
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def write(credentials: SessionCredentials) -> None:
        if credentials.access_key_id == "ASIA2":
            stopped.set()

    updater = Updater(fetch=fetch, write=write, tell=lambda _: None, stopped=stopped)
    thread = threading.Thread(target=lambda: updater.run(once=False), daemon=True)
    thread.start()
    thread.join(20)
    assert stopped.is_set()


def test_updater_goes_on_when_the_service_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed renewal is told with the time left and tried again, and the next one is written."""
    monkeypatch.setattr("credproc.update.FIRST_PAUSE", 0.01)
    stopped = threading.Event()
    answers: list[SessionCredentials | Exception] = [
        session(1, 1),
        UnavailableError("the service is away"),
        session(2, 1),
    ]
    asked: list[bool] = []
    told: list[str] = []
    written: list[str] = []

    def fetch(renew: bool) -> SessionCredentials:  # noqa: FBT001
        asked.append(renew)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def write(credentials: SessionCredentials) -> None:
        written.append(credentials.access_key_id)
        if len(written) == 2:
            stopped.set()

    Updater(fetch=fetch, write=write, tell=told.append, stopped=stopped).run(once=False)
    assert written == ["ASIA1", "ASIA2"]
    assert asked == [False, True, True]
    assert any("the service is away (the file's credentials last" in line for line in told)
    assert not any("secret" in line or "token" in line for line in told)


def test_updater_raises_when_there_is_no_first_session(tmp_path: Path) -> None:
    """Nothing is written and the cause is raised if not even the first session is to be had."""

    def fetch(renew: bool) -> SessionCredentials:  # noqa: FBT001
        raise UnavailableError("the service is away")

    path = tmp_path / "credentials"
    updater = Updater(
        fetch=fetch,
        write=lambda credentials: write_profile(path, "a", credentials),
        tell=lambda line: None,
        stopped=threading.Event(),
    )
    with pytest.raises(UnavailableError):
        updater.run(once=True)
    assert not path.exists()
