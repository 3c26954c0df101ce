"""What `--debug` tells: every step with its time, and nothing secret."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from credproc.identity.certificate import parse
from credproc.identity.describe import describe_certificate
from mqauth_sandbox.pki import Identity, Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint

PASSWORDS = ("correct horse", "pr0xy-horse")


@pytest.fixture
def issued(mqauth_pki: Pki) -> Identity:
    """An identity with an intermediate."""
    return mqauth_pki.issue("rsa-2048", depth=2)


class Debugged:
    """Runs the command with `--debug` and keeps everything that must not show."""

    def __init__(self, endpoint: RolesAnywhereEndpoint, words: list[str]) -> None:
        self.endpoint = endpoint
        self._words = [*endpoint.arguments(), *words, "--debug"]

    def __call__(self, *more: str, code: int = 0) -> str:
        """Return what was told on standard error, which holds no secret."""
        before = len(self.endpoint.calls)
        done = subprocess.run(
            [sys.executable, "-m", "credproc", *self._words, *more],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        secrets = [*PASSWORDS]
        if code == 0:
            document = json.loads(done.stdout)
            secrets += [document["SecretAccessKey"], document["SessionToken"]]
        secrets += [
            call.request.headers["Authorization"].rpartition("Signature=")[2]
            for call in self.endpoint.calls[before:]
        ]
        assert not [secret for secret in secrets if secret in done.stderr]
        return done.stderr


@pytest.fixture
def debugged(
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    issued: Identity,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Debugged:
    """The command, with an encrypted key and a proxy that has a password."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "CREDPROC_")):
            monkeypatch.delenv(name)
    files = issued.write(tmp_path, "encrypted-pkcs8")
    monkeypatch.setenv("CREDPROC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(mqauth_rolesanywhere.ca_file))
    monkeypatch.setenv("CREDPROC_PKCS8_PASSWORD", str(files.password))
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{PASSWORDS[1]}@proxy.example.com:3128")
    return Debugged(mqauth_rolesanywhere, files.arguments())


def in_order(told: str, *patterns: str) -> None:
    """Check that each pattern is found behind the one before it, with a time before it."""
    position = 0
    for pattern in patterns:
        found = re.compile(rf"credproc: \[ *\d+ ms\] {pattern}").search(told, position)
        assert found, f"{pattern!r} is not found in order in:\n{told}"
        position = found.end()


def test_each_step_is_told(debugged: Debugged, issued: Identity, tmp_path: Path) -> None:
    """From the cache over certificate, key and chain to the answer; the next run is a hit."""
    serial = issued.certificate.serial_number
    url = re.escape(debugged.endpoint.url)
    told = debugged()
    in_order(
        told,
        rf"cache: {tmp_path}/cache\n",
        r"cache: no hit, nothing there\n",
        rf"endpoint: {url}, region eu-west-1, no proxy, as --with-proxy is not given\n",
        rf"certificate: serial {serial} \(0x{serial:X}\), subject 'CN=host.example.com,.* to 20",
        r"key: RSA with 2048 bits; cryptography signs, AWS4-X509-RSA-SHA256; loaded .* \d+ ms\n",
        r"chain: 1 intermediate certificate sent: 'CN=",
        r"answer: HTTP 201 after \d+ ms, request id [0-9a-f-]{36}\n",
        r"cache: the session is stored\n",
        r"session: lasts until 20",
    )
    in_order(
        told, r"connected to ", rf"TLSv1\.[23] with .* verified by {debugged.endpoint.ca_file}"
    )
    in_order(debugged(), r"cache: hit, the session there lasts until 20")
    in_order(debugged("--no-cache", "--with-proxy"), r"cache: none, as", r"endpoint: .*names none")


def test_what_is_told_stays_one_line(
    debugged: Debugged, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A path with a line's end or an escape sequence fakes no line and moves no cursor."""
    monkeypatch.setenv("CREDPROC_CACHE_DIR", f"{tmp_path}/a\ncredproc: fine\x1b[2Jé")
    told = debugged()
    in_order(told, rf"cache: {tmp_path}/a\\ncredproc: fine\\x1b\[2Jé\n")
    assert "\x1b" not in told
    assert all(line.startswith("credproc: [") for line in told.splitlines())


def test_each_line_of_a_traceback_is_told(debugged: Debugged) -> None:
    """Where an error came from is still shown line by line."""
    told = debugged("--session-duration", "1", code=2)
    assert "credproc: Traceback (most recent call last):\ncredproc:   File" in told


def test_a_name_that_is_none_is_told_as_it_is(issued: Identity) -> None:
    """What was asked to tell more does not stop a session that would have come."""
    odd = parse(issued.certificate.public_bytes(Encoding.DER))._replace(subject=b"\x30\x02\x31\x05")
    assert "subject #30023105, issuer 'CN=" in describe_certificate(odd)


def test_attempts_are_told(debugged: Debugged) -> None:
    """What failed, what was waited, and what came in the end."""
    debugged.endpoint.faults.mode = "error500"
    in_order(
        debugged(code=5),
        r"answer: HTTP 500 after \d+ ms, request id ",
        r"attempt 1 of 3 failed: .* cannot serve now",
        r"waiting \d\.\d\d s before the next attempt",
        r"attempt 2 of 3 failed",
        r"attempt 3 of 3 failed",
    )


def test_the_helper_is_told(debugged: Debugged, mqauth_official_helper: Path) -> None:
    """Its path and version, and how it ended; it is not given `--debug` itself."""
    in_order(
        debugged("--backend", "helper", "--helper", str(mqauth_official_helper)),
        r"certificate: serial \d+ ",
        rf"helper: {mqauth_official_helper}, version \d+\.\d+\.\d+\n",
        r"helper: ended with 0 after \d+\.\d\d s\n",
    )
