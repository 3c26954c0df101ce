"""What users of AWS's helper suffer, shown on the helper itself, and that credproc does better."""

from __future__ import annotations

import json
import queue
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from mqauth_sandbox.faults import FaultMode
from mqauth_sandbox.pki import IdentityFiles, Pki, pem
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from tests.credproc.programs import Outcome, Program

COMMAND = "credential-process"


@pytest.fixture
def files(mqauth_pki: Pki, tmp_path: Path) -> IdentityFiles:
    """A good identity."""
    return mqauth_pki.issue("ec-p256").write(tmp_path)


@pytest.fixture
def arguments(files: IdentityFiles, mqauth_rolesanywhere: RolesAnywhereEndpoint) -> list[str]:
    """A good command line."""
    return [COMMAND, *mqauth_rolesanywhere.arguments(), *files.arguments()]


Issue = Callable[..., tuple[IdentityFiles, list[str]]]


@pytest.fixture
def issue(mqauth_pki: Pki, mqauth_rolesanywhere: RolesAnywhereEndpoint, tmp_path: Path) -> Issue:
    """Issue a certificate of a kind; returns its files and the command line that names them."""

    def issue(**kind: Any) -> tuple[IdentityFiles, list[str]]:
        files = mqauth_pki.issue(**kind).write(tmp_path)
        return files, [COMMAND, *mqauth_rolesanywhere.arguments(), *files.arguments()]

    return issue


def one_line(outcome: Outcome) -> str:
    """Return the one line on standard error of a run that failed as it should."""
    assert outcome.code not in (0, 1), outcome
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("credproc: ")
    assert outcome.stderr.count("\n") == 1, outcome.stderr
    return outcome.stderr


def in_parallel(program: Program, arguments: list[str], count: int, **env: str) -> list[Outcome]:
    """Run a program many times at once."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: program(*arguments, env=env), range(count)))


def test_every_call_is_a_session(
    credproc: Program,
    helper: Program,
    arguments: list[str],
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """The helper opens a session for each use, credproc one for all."""
    endpoint = mqauth_rolesanywhere
    counts = []
    for program in (helper, credproc):
        before = endpoint.fetches
        outcomes = [program(*arguments) for _ in range(3)]
        assert [outcome.code for outcome in outcomes] == [0, 0, 0]
        counts.append(endpoint.fetches - before)
    assert counts == [3, 1]


def test_parallel_jobs_are_throttled(
    credproc: Program,
    helper: Program,
    arguments: list[str],
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """More than the quota at once: some helpers fail, all of credproc's runs succeed."""
    mqauth_rolesanywhere.rate_limit = 2  # a busy host starts few programs a second
    theirs = in_parallel(helper, arguments, 10, AWS_MAX_ATTEMPTS="1")
    assert any("ThrottlingException" in outcome.stderr for outcome in theirs)
    mqauth_rolesanywhere.rate_limit = 3  # of which the last second has used two
    ours = in_parallel(credproc, arguments, 10, AWS_MAX_ATTEMPTS="1")
    assert {outcome.code for outcome in ours} == {0}, [outcome.stderr for outcome in ours]
    assert len({outcome.stdout for outcome in ours}) == 1


def test_a_service_that_hangs(
    credproc: Program,
    helper: Program,
    arguments: list[str],
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """The helper waits for ever (we give it 4 s), credproc as long as it was told to."""
    with mqauth_rolesanywhere.faults.during("hang"):
        process = helper.start(*arguments)
        ours = credproc(*arguments, "--time-limit", "2")
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=2)
        process.kill()
        process.communicate()
    assert ours.code == 5
    assert "did not" in one_line(ours)


YESTERDAY = datetime.now(UTC) - timedelta(days=1)
UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"not_before": YESTERDAY - timedelta(1), "not_after": YESTERDAY}, "expired at"),
    "early": ({"not_before": YESTERDAY + timedelta(2)}, "not valid before"),
    "authority": ({"ca": True}, "certificate authority"),
    "usage": ({"key_usage": ("key_encipherment",)}, "digitalSignature"),
    "no-usage": ({"key_usage": ()}, "keyUsage"),
    "large": ({"padding": 16400}, "16384"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_certificates_that_cannot_do(
    name: str,
    credproc: Program,
    helper: Program,
    issue: Issue,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """The helper sends them and shows a 403 or 400; credproc says why and sends nothing."""
    made, reason = UNFIT[name]
    _, arguments = issue(**made)
    before = mqauth_rolesanywhere.requests
    assert "StatusCode: 40" in helper(*arguments).stderr
    assert mqauth_rolesanywhere.requests == before + 1
    ours = credproc(*arguments)
    assert (ours.code, mqauth_rolesanywhere.requests) == (3, before + 1)
    assert reason in one_line(ours)


def test_a_key_of_another_certificate(
    credproc: Program,
    helper: Program,
    issue: Issue,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """The helper lets the service find out; credproc compares the public keys."""
    files, arguments = issue()
    other, _ = issue()
    arguments[arguments.index(str(files.private_key))] = str(other.private_key)
    assert "signature" in helper(*arguments).stderr
    before = mqauth_rolesanywhere.requests
    assert "does not belong to the certificate" in one_line(credproc(*arguments))
    assert mqauth_rolesanywhere.requests == before


def test_a_missing_certificate_file(
    credproc: Program,
    helper: Program,
    files: IdentityFiles,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """The helper cannot parse PEM data; credproc says which file is missing."""
    missing = replace(files, certificate=files.certificate.with_name("gone.pem"))
    arguments = [COMMAND, *mqauth_rolesanywhere.arguments(), *missing.arguments()]
    theirs = helper(*arguments)
    assert "could not parse PEM data" in theirs.stderr
    assert "gone.pem" not in theirs.stderr
    line = one_line(credproc(*arguments))
    assert str(missing.certificate) in line
    assert "No such file" in line


def test_an_unrelated_broken_profile(
    credproc: Program, helper: Program, arguments: list[str], home: Path
) -> None:
    """A profile that leads nowhere stops the helper, and is none of credproc's business."""
    config = home / "config"
    config.write_text(
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = y\n"
    )
    assert (
        "failed to get shared config profile"
        in helper(*arguments, env={"AWS_CONFIG_FILE": str(config)}).stderr
    )
    assert credproc(*arguments, env={"AWS_CONFIG_FILE": str(config)}).code == 0


@contextmanager
def counting_server() -> Iterator[tuple[int, queue.Queue[bool]]]:
    """Speak TLS with a certificate that nobody trusts; yield the port and the handshakes."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(tls)
    handshakes: queue.Queue[bool] = queue.Queue()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with closing(connection):
                try:
                    with tls.wrap_socket(connection, server_side=True) as wrapped:
                        wrapped.recv(1)
                        handshakes.put(True)
                except OSError:
                    handshakes.put(False)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], handshakes
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_an_untrusted_server_certificate(
    credproc: Program, helper: Program, arguments: list[str]
) -> None:
    """The helper knocks three times and waits in between; credproc once, and names the remedy."""
    with counting_server() as (port, handshakes):
        arguments[arguments.index("--endpoint") + 1] = f"https://localhost:{port}"
        assert helper(*arguments).code == 1
        assert [handshakes.get(timeout=5) for _ in range(3)] == [False] * 3
        started = time.monotonic()
        ours = credproc(*arguments)
        assert time.monotonic() - started < 15
        assert handshakes.get(timeout=5) is False
    assert handshakes.empty()
    assert ours.code == 5
    assert "AWS_CA_BUNDLE" in one_line(ours)


def test_debug_shows_secrets(credproc: Program, helper: Program, arguments: list[str]) -> None:
    """The helper's --debug prints the secret keys; credproc's shows steps and no secret."""
    theirs = helper(*arguments, "--debug")
    assert theirs.credentials["SecretAccessKey"] in theirs.stderr
    ours = credproc(*arguments, "--debug")
    for name in ("SecretAccessKey", "SessionToken"):
        assert ours.credentials[name] not in ours.stderr


ANSWERS: dict[FaultMode, tuple[str, int]] = {
    "no_expiration": ("expiration", 6),
    "empty_set": ("", 6),
    "html": ("", 6),
    "not_json": ("", 6),
    "garbage": ("", 6),
    "expired": ("ended at", 6),
    "half_body": ("", 5),
    "nothing": ("", 5),
    "down": ("", 5),
    "error500": ("500", 5),
    "throttle": ("", 5),
}


@pytest.mark.parametrize("mode", ANSWERS)
def test_bad_answers(
    mode: FaultMode,
    credproc: Program,
    arguments: list[str],
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """Whatever the service answers, credproc says so in one line and a documented exit code."""
    reason, code = ANSWERS[mode]
    with mqauth_rolesanywhere.faults.during(mode):
        ours = credproc(*arguments, env={"AWS_MAX_ATTEMPTS": "1"})
    assert reason in one_line(ours)
    assert ours.code in ({5, 6} if mode in ("half_body", "nothing") else {code}), ours


def test_a_missing_expiration_is_a_panic(
    helper: Program, arguments: list[str], mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """The helper dies of an answer without expiration (ours is among the bad answers above)."""
    with mqauth_rolesanywhere.faults.during("no_expiration"):
        assert "panic: runtime error" in helper(*arguments).stderr


REFUSALS = {
    "AccessDeniedException": (403, "Untrusted signing certificate"),
    "ResourceNotFoundException": (404, "Trust anchor not found"),
    "ValidationException": (400, "roleSessionName"),
    "IncompleteSignatureException": (400, "Authorization header requires Signature"),
    "MissingAuthenticationTokenException": (403, "Missing Authentication Token"),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_every_refusal_is_told(
    code: str,
    credproc: Program,
    arguments: list[str],
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """The service's code and words arrive in one line, with exit code 4 and without a retry."""
    status, message = REFUSALS[code]
    mqauth_rolesanywhere.refuse_with(code, message, status)
    before = mqauth_rolesanywhere.requests
    ours = credproc(*arguments)
    assert ours.code == 4, ours
    line = one_line(ours)
    assert message in line
    assert code.removesuffix("Exception") in line
    assert mqauth_rolesanywhere.requests == before + 1


def test_a_clock_off_by_an_hour(
    credproc: Program,
    helper: Program,
    arguments: list[str],
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """The helper shows a bare 403; credproc names the clock and by how much it is off."""
    mqauth_rolesanywhere.faults.clock_skew = 3600
    assert "StatusCode: 403" in helper(*arguments).stderr
    line = one_line(credproc(*arguments))
    assert "clock" in line


def test_pkcs12_of_openssl_3(
    credproc: Program,
    helper: Program,
    mqauth_pki: Pki,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    tmp_path: Path,
) -> None:
    """Neither OpenSSL 3's format nor a password can be had with the helper; both with credproc."""
    identity = mqauth_pki.issue("rsa-2048", depth=2)
    for container, password, complaint in (
        ("pkcs12-openssl", "", "unknown"),
        ("pkcs12", "correct horse", "password incorrect"),
    ):
        files = identity.write(tmp_path, container, password=password)  # type: ignore[arg-type]
        arguments = [COMMAND, *mqauth_rolesanywhere.arguments(), *files.arguments()]
        assert complaint in helper(*arguments).stderr
        secret = tmp_path / "password"
        secret.write_text(password + "\n")
        secret.chmod(0o600)
        more = ["--key-password-file", str(secret)]
        assert credproc(*arguments, *(more if password else [])).code == 0


def test_update_loses_lines(
    credproc: Program, helper: Program, arguments: list[str], home: Path
) -> None:
    """The helper drops the last line of a file, credproc keeps every other byte."""
    path = home / "credentials"
    before = "# mine\n[other]\naws_access_key_id = KEEP\n\n[default]\nregion = eu-west-1"
    kept = []
    for program in (helper, credproc):
        path.write_text(before)
        path.chmod(0o600)
        outcome = program(
            "update", *arguments[1:], "--once", env={"AWS_SHARED_CREDENTIALS_FILE": str(path)}
        )
        assert outcome.code == 0, outcome.stderr
        after = path.read_text()
        assert "ASIA" in after
        kept.append("region = eu-west-1" in after)
        assert program is helper or after.startswith(before.partition("[default]")[0])
    assert kept == [False, True]
    assert path.stat().st_mode & 0o777 == 0o600


def test_certificates_renewed_on_disk(
    credproc: Program,
    files: IdentityFiles,
    arguments: list[str],
    mqauth_pki: Pki,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """After a renewal the next run signs with the new certificate, whatever is cached."""
    first = credproc(*arguments)
    renewed = mqauth_pki.issue()
    files.certificate.write_bytes(pem(renewed.certificate))
    assert files.private_key
    files.private_key.write_bytes(renewed.key_pem())
    second = credproc(*arguments)
    assert first.code == second.code == 0
    serial = mqauth_rolesanywhere.calls[-1].authorization.serial
    assert serial == str(renewed.certificate.serial_number)


def test_served_while_the_service_is_down(
    credproc: Program,
    helper: Program,
    arguments: list[str],
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """A session that is still good is handed out although the service is away."""
    good = credproc(*arguments)
    mqauth_rolesanywhere.stop()
    env = {"AWS_MAX_ATTEMPTS": "1"}
    assert helper(*arguments, env=env).code != 0
    assert credproc(*arguments, env=env).credentials == good.credentials


def test_what_sdks_need(
    credproc: Program, arguments: list[str], mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """More than 15 minutes are left of what comes from the cache, and less than 64,000 bytes."""
    mqauth_rolesanywhere.session_lifetime = 3600
    first = credproc(*arguments)
    again = credproc(*arguments)
    assert again.stdout == first.stdout
    expires = datetime.fromisoformat(json.loads(again.stdout)["Expiration"])
    assert expires - datetime.now(UTC) > timedelta(minutes=15)
    assert len(again.stdout) < 64000
