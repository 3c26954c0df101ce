"""`serve` beside AWS's own helper: what clients get when things go wrong."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from mqauth_sandbox.pki import IdentityFiles, Pki, pem
from mqauth_sandbox.ports import free_ports
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from tests.credproc.programs import Program

LIMIT = 30.0
ROLE = "/latest/meta-data/iam/security-credentials/"


@pytest.fixture
def files(mqauth_pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> IdentityFiles:
    """A good identity."""
    return mqauth_pki.issue().write(tmp_path_factory.mktemp("identity"))


@pytest.fixture
def arguments(files: IdentityFiles, mqauth_rolesanywhere: RolesAnywhereEndpoint) -> list[str]:
    """A good command line."""
    return ["serve", *mqauth_rolesanywhere.arguments(), *files.arguments()]


class Server:
    """A program that serves.

    Args:
        process: The program.
        port: Where it serves.
    """

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self._port = port

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        """Return status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=LIMIT)
        try:
            connection.request(method, path, headers=dict(headers))
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def credentials(self) -> tuple[int, dict[str, str]]:
        """Ask for credentials as SDKs do."""
        ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        status, token = self.request("PUT", "/latest/api/token", ttl)
        assert status == 200
        shown = {"X-aws-ec2-metadata-token": token}
        status, role = self.request("GET", ROLE, shown)
        assert status == 200
        status, body = self.request("GET", ROLE + role, shown)
        document: dict[str, str] = json.loads(body)
        return status, document

    def end(self) -> tuple[int, str]:
        """Ask it to end; return its exit code and what it said."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, said


@contextmanager
def serving(program: Program, arguments: list[str]) -> Iterator[Server]:
    """Run a program's `serve` until the block ends; it listens when the block begins."""
    (port,) = free_ports(1)
    process = program.start(*arguments, "--port", str(port))
    server = Server(process, port)
    try:
        deadline = time.monotonic() + LIMIT
        while process.poll() is None:
            try:
                server.request("GET", "/", {})
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                break
        yield server
    finally:
        process.kill()
        process.communicate()


def test_both_serve(credproc: Program, helper: Program, arguments: list[str]) -> None:
    """What an SDK gets has the same fields from both."""
    documents = []
    for program in (helper, credproc):
        with serving(program, arguments) as server:
            status, document = server.credentials()
            assert status == 200
            documents.append(document)
    assert sorted(documents[0]) == sorted(documents[1])
    assert documents[0]["Code"] == documents[1]["Code"] == "Success"
    assert all(document["AccessKeyId"].startswith("ASIA") for document in documents)


def test_a_first_session_that_fails(
    credproc: Program,
    helper: Program,
    arguments: list[str],
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """The helper serves empty keys as a success; credproc does not start and says why."""
    mqauth_rolesanywhere.refuse_with("AccessDeniedException", "Untrusted signing certificate")
    with serving(helper, arguments) as server:
        status, document = server.credentials()
        assert (status, document["Code"], document["AccessKeyId"]) == (200, "Success", "")
    with serving(credproc, arguments) as server:
        _, said = server.process.communicate(timeout=LIMIT)
        assert server.process.returncode == 4
        assert "Untrusted signing certificate" in said


def test_a_session_that_ends_and_cannot_be_renewed(
    credproc: Program, arguments: list[str], mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """When nothing valid is left clients get an error of 5xx and its cause, never empty keys."""
    mqauth_rolesanywhere.session_lifetime = 6.0
    with serving(credproc, arguments) as server:
        assert server.credentials()[0] == 200
        before = mqauth_rolesanywhere.requests
        mqauth_rolesanywhere.refuse_with("AccessDeniedException", "Profile is disabled")
        assert mqauth_rolesanywhere.wait_for_requests(before + 1, LIMIT)
        deadline = time.monotonic() + LIMIT
        while (answer := server.credentials())[0] == 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        status, document = answer
        assert status == 503
        assert "Profile is disabled" in json.dumps(document)
        assert "AccessKeyId" not in document


def test_a_certificate_that_is_renewed(
    credproc: Program,
    files: IdentityFiles,
    arguments: list[str],
    mqauth_pki: Pki,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """A certificate renewed on disk signs the next session, without a restart."""
    mqauth_rolesanywhere.session_lifetime = 6.0
    with serving(credproc, arguments) as server:
        assert server.credentials()[0] == 200
        renewed = mqauth_pki.issue()
        assert files.private_key
        files.certificate.write_bytes(pem(renewed.certificate))
        files.private_key.write_bytes(renewed.key_pem())
        serial, deadline = str(renewed.certificate.serial_number), time.monotonic() + LIMIT
        # The first that comes may have been signed before.
        while mqauth_rolesanywhere.calls[-1].authorization.serial != serial:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert server.credentials()[0] == 200


def test_sigterm(credproc: Program, arguments: list[str]) -> None:
    """On SIGTERM it ends in good order."""
    with serving(credproc, arguments) as server:
        assert server.credentials()[0] == 200
        code, said = server.end()
    assert code == 0
    assert "Traceback" not in said
