"""`credproc serve` and `credproc update` as services run them: started, used, told to stop."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.credentials import ContainerProvider, InstanceMetadataProvider
from botocore.session import Session
from botocore.utils import InstanceMetadataFetcher

from mqauth_sandbox.pki import Container, IdentityFiles, Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint

LIMIT = 30.0
Start = Callable[..., "subprocess.Popen[str]"]

# A session's leader gets the first terminal that it opens.
ON_TERMINAL = """
import os, sys
os.open(sys.argv[1], os.O_RDWR)
os.execv(sys.executable, [sys.executable, "-m", "credproc", *sys.argv[2:]])
"""


@pytest.fixture
def files(mqauth_pki: Pki, tmp_path: Path) -> IdentityFiles:
    """An identity that works."""
    return mqauth_pki.issue("ec-p256").write(tmp_path)


@pytest.fixture
def start(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, files: IdentityFiles, tmp_path: Path
) -> Iterator[Start]:
    """Starts a command for a session with the sandbox; ends what a test leaves running."""
    running: list[subprocess.Popen[str]] = []

    def begin(command: str, *arguments: str) -> subprocess.Popen[str]:
        words = [*mqauth_rolesanywhere.arguments(), *files.arguments(), *arguments]
        process = subprocess.Popen(
            [sys.executable, "-m", "credproc", command, *words],
            env={
                "HOME": str(tmp_path),
                "PATH": os.environ["PATH"],
                "AWS_CA_BUNDLE": str(mqauth_rolesanywhere.ca_file),
                "CREDPROC_CACHE_DIR": str(tmp_path / "cache"),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def lines_until(process: subprocess.Popen[str], words: str) -> str:
    """Return what a process says up to a line with these words."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if words in line:
            return said
    raise AssertionError(f"it ended without {words!r}: {said}")


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code and the rest of what a process says."""
    output, errors = process.communicate(timeout=LIMIT)
    assert output == ""
    return process.returncode, errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_works_and_leaves_when_told(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    """SDKs get the session both ways that it announces; a signal ends it with exit code 0."""
    token_file = tmp_path / "token"
    process = start("serve", "--port", "0", "--container-token-file", str(token_file))
    said = lines_until(process, "AUTHORIZATION_TOKEN_FILE")
    exports = dict(re.findall(r"export (\w+)=(\S+)", said))
    fetcher = InstanceMetadataFetcher(
        timeout=int(LIMIT), base_url=exports.pop("AWS_EC2_METADATA_SERVICE_ENDPOINT")
    )
    by_metadata = InstanceMetadataProvider(iam_role_fetcher=fetcher).load()
    by_container = ContainerProvider(environ=exports).load()
    assert by_metadata is not None
    assert by_container is not None
    assert by_metadata.access_key == by_container.access_key
    process.send_signal(number)
    started = time.monotonic()
    code, errors = finish(process)
    assert (code, errors.strip()) == (0, "")
    assert time.monotonic() - started < 15


def test_serve_does_not_start_without_a_session(
    start: Start, mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """A service that refuses is the reason, in one line, with its exit code."""
    mqauth_rolesanywhere.refuse_with("AccessDeniedException", "Untrusted certificate")
    code, errors = finish(start("serve", "--port", "0"))
    assert code == 4
    assert "Untrusted certificate" in errors
    assert len(errors.splitlines()) == 1


def test_serve_says_that_a_port_is_taken(start: Start) -> None:
    """Before it opens a session, and in one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, errors = finish(start("serve", "--port", str(port)))
    assert code == 2
    assert errors == (
        f"credproc: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another with --port, or stop what uses it\n"
    )


@pytest.mark.parametrize("flags", [["--port", "65536"], ["--hop-limit", "0"], ["--port", "x"]])
def test_serve_refuses_bad_numbers(start: Start, flags: list[str]) -> None:
    """A usage error, one line."""
    code, errors = finish(start("serve", *flags))
    assert code == 2
    assert len(errors.splitlines()) == 1


def test_serve_takes_a_renewed_certificate(
    start: Start,
    files: IdentityFiles,
    mqauth_pki: Pki,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    tmp_path: Path,
) -> None:
    """The next session is signed with the files as they are then."""
    mqauth_rolesanywhere.session_lifetime = 4
    process = start("serve", "--port", "0")
    lines_until(process, "METADATA_SERVICE_ENDPOINT")
    before = mqauth_rolesanywhere.calls[-1]
    renewed = mqauth_pki.issue("ec-p256").write(tmp_path)
    assert renewed.private_key is not None
    assert files.private_key is not None
    shutil.copy(renewed.private_key, files.private_key)
    shutil.copy(renewed.certificate, files.certificate)
    deadline = time.monotonic() + LIMIT
    own = "X-Amz-X509"
    # The first that comes may have been signed before.
    while mqauth_rolesanywhere.calls[-1].request.headers[own] == before.request.headers[own]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert mqauth_rolesanywhere.calls[-1].outcome == "ok"


@pytest.mark.parametrize("container", ["encrypted-pkcs8", "pkcs12"])
def test_a_password_is_asked_for_once(
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    mqauth_pki: Pki,
    tmp_path: Path,
    container: Container,
) -> None:
    """Whoever starts `update` on a terminal types the password once, not at each renewal."""
    mqauth_rolesanywhere.session_lifetime = 4
    files = mqauth_pki.issue("ec-p256").write(tmp_path, container)
    terminal, theirs = pty.openpty()
    words = [*mqauth_rolesanywhere.arguments(), *files.arguments()]
    process = subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, os.ttyname(theirs), "update", *words],
        env={
            "HOME": str(tmp_path),
            "AWS_CA_BUNDLE": str(mqauth_rolesanywhere.ca_file),
            "CREDPROC_CACHE_DIR": str(tmp_path / "cache"),
        },
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    try:
        shown = read_terminal(terminal, "Password of the private key:", 1)
        os.write(terminal, f"{files.password}\n".encode())
        shown += read_terminal(terminal, "next renewal at", 3)
        process.terminate()
        os.close(theirs)
        code = process.wait(LIMIT)
        assert code == 0, shown + os.read(terminal, 4096).decode()
    finally:
        process.kill()
        process.wait(LIMIT)
        os.close(terminal)
    assert shown.count("Password") == 1
    assert str(files.password) not in shown


ASKING_HELPER = """#!/bin/sh
[ "$1" = version ] && { echo 9.9.9; exit; }
echo "Please enter your TPM key password:" >/dev/tty; read -r line </dev/tty
"""


@pytest.mark.parametrize("backend", ["native", "helper"])
def test_a_password_is_waited_for_within_the_time_limit(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki, tmp_path: Path, backend: str
) -> None:
    """Where nobody types on, that is the error in time, and the terminal echoes as before."""
    files = mqauth_pki.issue("ec-p256").write(tmp_path, "encrypted-pkcs8")
    helper = tmp_path / "aws_signing_helper"
    helper.write_text(ASKING_HELPER)
    helper.chmod(0o755)
    terminal, theirs = pty.openpty()
    words = [*mqauth_rolesanywhere.arguments(), *files.arguments(), "--time-limit", "6"]
    words += ["--backend", backend, "--helper", str(helper)]
    process = subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, os.ttyname(theirs), "credential-process", *words],
        env={"HOME": str(tmp_path), "CREDPROC_CACHE_DIR": str(tmp_path / "cache")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        read_terminal(terminal, "Password of the", 1)
        assert not termios.tcgetattr(theirs)[3] & termios.ECHO
        os.write(terminal, b"half a passw")
        _, errors = process.communicate(timeout=LIMIT)
        assert process.returncode == 3
        assert "none was typed within the time limit of 6 s" in errors
        assert termios.tcgetattr(theirs)[3] & termios.ECHO
    finally:
        process.kill()
        process.wait(LIMIT)
        os.close(theirs)
        os.close(terminal)


def read_terminal(terminal: int, words: str, times: int) -> str:
    """Return what a terminal shows until it has shown `words` so many times."""
    shown = ""
    deadline = time.monotonic() + LIMIT
    while shown.count(words) < times:
        assert time.monotonic() < deadline, shown
        ready, _, _ = select.select([terminal], [], [], 1.0)
        if ready:
            shown += os.read(terminal, 4096).decode()
    return shown


def test_update_once(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The profile is written where SDKs look, and the command leaves."""
    assert finish(start("update", "--once", "--profile", "build")) == (0, "")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / ".aws" / "credentials"))
    found = Session(profile="build").get_credentials()
    assert found is not None
    assert found.access_key.startswith("ASIA")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_update_renews_and_leaves_when_told(
    start: Start,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    """A short session is replaced in the file before its end; a signal ends it with exit code 0."""
    mqauth_rolesanywhere.session_lifetime = 4
    process = start("update")
    lines_until(process, "next renewal at")
    first = (tmp_path / ".aws" / "credentials").read_text()
    lines_until(process, "next renewal at")
    second = (tmp_path / ".aws" / "credentials").read_text()
    assert first != second
    assert first.count("\n") == second.count("\n") == 4
    process.send_signal(number)
    code, errors = finish(process)
    assert code == 0
    assert "Traceback" not in errors
    assert {path.name for path in (tmp_path / ".aws").iterdir()} == {"credentials"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("flags", [["--once"], []])
def test_update_that_is_told_to_leave_before_it_has_written(
    start: Start,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    tmp_path: Path,
    number: signal.Signals,
    flags: list[str],
) -> None:
    """With nothing written the exit code is the signal's, so that no script goes on."""
    with mqauth_rolesanywhere.faults.during("hang"):
        process = start("update", *flags, "--debug")
        lines_until(process, "endpoint: ")
        process.send_signal(number)
        code, errors = finish(process)
    assert code == 128 + number
    assert "Traceback" not in errors
    assert not (tmp_path / ".aws").exists()


def test_update_leaves_the_file_alone_without_a_session(
    start: Start, mqauth_rolesanywhere: RolesAnywhereEndpoint, tmp_path: Path
) -> None:
    """Nothing is written if there is nothing to write."""
    mqauth_rolesanywhere.faults.mode = "empty_set"
    code, errors = finish(start("update", "--once"))
    assert code == 6
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / ".aws").exists()
