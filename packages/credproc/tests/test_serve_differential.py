"""`serve` beside the official helper's: the same requests, the same answers."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from mqauth_sandbox.pki import Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"
TOKENS = "/latest/api/token"
KEYS = "/latest/meta-data/iam/security-credentials"
LIMIT = 30.0
OURS = [sys.executable, "-m", "credproc"]


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: str
    ttl: str | None


class Served(NamedTuple):
    """A running endpoint."""

    port: int

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.read().decode(), response.getheader(TTL))
        finally:
            connection.close()

    def token(self) -> dict[str, str]:
        """Return the header with a fresh token."""
        return {TOKEN: self.ask("PUT", TOKENS, {TTL: "60"}).body}


class Pair(NamedTuple):
    """Ours, and the official one."""

    ours: Served
    theirs: Served


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home for both."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def pair(
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    mqauth_pki: Pki,
    mqauth_official_helper: Path,
    home: Path,
) -> Iterator[Pair]:
    """Both endpoints, serving sessions of the same identity."""
    running = [
        start(program, mqauth_rolesanywhere, mqauth_pki, home)
        for program in (OURS, [str(mqauth_official_helper)])
    ]
    try:
        yield Pair(*(Served(port_of(process)) for process in running))
    finally:
        for process in running:
            stop(process)


def start(
    program: list[str], endpoint: RolesAnywhereEndpoint, pki: Pki, home: Path
) -> subprocess.Popen[str]:
    """Start an endpoint on a free port."""
    files = pki.issue("ec-p256").write(home)
    return subprocess.Popen(
        [*program, "serve", "--port", "0", *endpoint.arguments(), *files.arguments()],
        env={
            "HOME": str(home),
            "PATH": os.defpath,
            "AWS_CA_BUNDLE": str(endpoint.ca_file),
            "CREDPROC_CACHE_DIR": str(home / "cache"),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop(process: subprocess.Popen[str]) -> None:
    """End an endpoint."""
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LIMIT)


def port_of(process: subprocess.Popen[str]) -> int:
    """Return the port that a server says it is on."""
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(r"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127\.0\.0\.1:(\d+)/", line)
        if found:
            return int(found[1])
    raise AssertionError("it ended before it served")


def test_requests_are_answered_alike(pair: Pair) -> None:
    """Statuses and lifetimes agree over every kind of request, good and bad."""
    requests: list[tuple[str, str, dict[str, str]]] = [
        *(("PUT", TOKENS, {TTL: ttl}) for ttl in ("1", "21600", "0", "21601", "-1", "x", "1.5")),
        ("PUT", TOKENS, {}),
        ("PUT", f"{TOKENS}/", {}),
        ("PUT", TOKENS, {"X-Forwarded-For": "192.0.2.1"}),
        *((method, TOKENS, {}) for method in ("GET", "POST", "DELETE", "HEAD")),
        *(
            (method, f"{KEYS}{rest}", {})
            for method in ("GET", "PUT", "POST")
            for rest in ("", "/", "/RabbitMqAdminRole", "/RabbitMqAdminRole/")
        ),
        ("GET", f"{KEYS}/", {TOKEN: "wrong"}),
        ("GET", f"{KEYS}/RabbitMqAdminRole", {TOKEN: "wrong"}),
        *(("GET", path, {}) for path in ("/", "/latest", "/latest/meta-data/", "/x")),
    ]
    for method, path, headers in requests:
        ours = pair.ours.ask(method, path, headers)
        theirs = pair.theirs.ask(method, path, headers)
        asked = f"{method} {path} {headers}"
        assert ours.status == theirs.status, asked
        assert ours.ttl == theirs.ttl, asked


@pytest.mark.parametrize("rest", ["", "/", "/RabbitMqAdminRole", "/RabbitMqAdminRole/"])
def test_documents_are_alike(pair: Pair, rest: str) -> None:
    """With a token the role's name is the same, and the document has the same fields."""
    ours = pair.ours.ask("GET", KEYS + rest, pair.ours.token())
    theirs = pair.theirs.ask("GET", KEYS + rest, pair.theirs.token())
    assert ours.status == theirs.status == 200
    if "Role" not in rest:
        assert ours.body == theirs.body
        return
    mine, other = json.loads(ours.body), json.loads(theirs.body)
    assert mine.keys() == other.keys()
    assert (mine["Code"], mine["Type"]) == (other["Code"], other["Type"])


def test_no_session_to_begin_with(
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    mqauth_pki: Pki,
    mqauth_official_helper: Path,
    home: Path,
) -> None:
    """The helper serves empty keys as "Success", credproc does not start and says why."""
    mqauth_rolesanywhere.refuse_with("AccessDeniedException", "Untrusted certificate")
    theirs = start([str(mqauth_official_helper)], mqauth_rolesanywhere, mqauth_pki, home)
    try:
        served = Served(port_of(theirs))
        answer = served.ask("GET", f"{KEYS}/RabbitMqAdminRole", served.token())
        assert answer.status == 200
        assert json.loads(answer.body)["Code"] == "Success"
        assert json.loads(answer.body)["SecretAccessKey"] == ""
    finally:
        stop(theirs)
    ours = start(OURS, mqauth_rolesanywhere, mqauth_pki, home)
    _, said = ours.communicate(timeout=LIMIT)
    assert ours.returncode == 4
    assert "Untrusted certificate" in said
    assert len(said.splitlines()) == 1
