"""Sessions by way of AWS's own helper, the real one, and what becomes of its failures."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from credproc.credentials import SessionCredentials
from credproc.errors import (
    AnswerError,
    CredprocError,
    HelperError,
    IdentityError,
    RefusedError,
    ThrottledError,
    UnavailableError,
    UntrustedServerError,
)
from credproc.helper import session
from credproc.helper.session import create_session_by_helper
from credproc.options import SessionOptions
from mqauth_sandbox.pki import Container, IdentityFiles, Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint


def options_for(
    endpoint: RolesAnywhereEndpoint, files: IdentityFiles, helper: Path
) -> SessionOptions:
    """Return the options of a session with the sandbox by the helper."""
    return SessionOptions(
        role_arn=endpoint.role_arn,
        profile_arn=endpoint.profile_arn,
        trust_anchor_arn=endpoint.trust_anchor_arn,
        endpoint=endpoint.url,
        certificate=str(files.certificate),
        private_key=str(files.private_key) if files.private_key else None,
        intermediates=str(files.intermediates) if files.intermediates else None,
        ca_bundle=str(endpoint.ca_file),
        helper=str(helper),
        backend="helper",
        max_attempts=1,
    )


@pytest.fixture
def options(
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    mqauth_pki: Pki,
    mqauth_official_helper: Path,
    tmp_path: Path,
) -> SessionOptions:
    """A session that works, with the real helper."""
    files = mqauth_pki.issue("ec-p256", depth=2).write(tmp_path)
    return options_for(mqauth_rolesanywhere, files, mqauth_official_helper)


def test_the_real_helper_gives_a_session(
    options: SessionOptions, mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """A session comes back, with its expiry, from one call that carries the chain."""
    before = len(mqauth_rolesanywhere.calls)
    credentials = create_session_by_helper(options)
    assert 3500 < credentials.remaining(time.time()) <= 3600
    assert credentials.access_key_id.startswith("ASIA")
    (call,) = mqauth_rolesanywhere.calls[before:]
    assert call.outcome == "ok"
    assert call.request.headers["User-Agent"].startswith("CredHelper/")


def test_a_broken_aws_config_does_not_stop_it(
    options: SessionOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unrelated profile that is broken, which stops the bare helper, is kept from it."""
    config = tmp_path / "config"
    config.write_text("[profile broken\nrole_arn = \n[default]\nsource_profile = nowhere\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    assert create_session_by_helper(options).access_key_id


@pytest.mark.parametrize("password", ["correct horse", "wrong"])
def test_passwords_of_keys_are_typed_not_passed(
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    mqauth_pki: Pki,
    mqauth_official_helper: Path,
    tmp_path: Path,
    password: str,
) -> None:
    """An encrypted key opens with what is typed on the helper's terminal; a wrong one is told."""
    container: Container = "encrypted-pkcs8"
    files = mqauth_pki.issue("ec-p256").write(tmp_path, container)
    path = tmp_path / "password"
    path.write_text(password + "\n")
    path.chmod(0o600)
    chosen = options_for(mqauth_rolesanywhere, files, mqauth_official_helper)
    chosen = chosen._replace(key_password_file=str(path))
    if password == files.password:
        assert create_session_by_helper(chosen).access_key_id
        return
    with pytest.raises(IdentityError, match=r"password of the key is wrong"):
        create_session_by_helper(chosen)


def test_a_password_without_a_terminal_is_asked_of_nobody(
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    mqauth_pki: Pki,
    mqauth_official_helper: Path,
    tmp_path: Path,
) -> None:
    """Without password and terminal the error says how to give one, and nothing waits."""
    files = mqauth_pki.issue("ec-p256").write(tmp_path, "encrypted-pkcs8")
    chosen = options_for(mqauth_rolesanywhere, files, mqauth_official_helper)
    program = (
        "import sys; from credproc.options import SessionOptions\n"
        "from credproc.helper.session import create_session_by_helper\n"
        f"create_session_by_helper({chosen!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert "needs a password and there is no terminal" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (
            ("AccessDeniedException", "Untrusted certificate. Insufficient certificate", 403),
            RefusedError,
            r"403 AccessDeniedException: Untrusted certificate.*let the trust anchor hold",
        ),
        (("ResourceNotFoundException", "Profile not found", 404), RefusedError, "check --profile"),
        (("ValidationException", "bad duration", 400), RefusedError, "shorten --session-duration"),
        (("ThrottlingException", "Rate exceeded", 429), ThrottledError, "asks for fewer requests"),
        (("InternalServerException", "oops", 500), UnavailableError, "500 InternalServerException"),
    ],
)
def test_refusals_of_the_service_are_ours(
    options: SessionOptions,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    said: tuple[str, str, int],
    error: type[CredprocError],
    words: str,
) -> None:
    """What the service says through the helper is the same error as through our own signer."""
    mqauth_rolesanywhere.refuse_with(*said)
    with pytest.raises(error, match=words) as caught:
        create_session_by_helper(options)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("empty_set", AnswerError),
        ("no_expiration", AnswerError),
        ("not_json", AnswerError),
        ("html", AnswerError),
        ("half_body", AnswerError),
        ("error500", UnavailableError),
        ("throttle", ThrottledError),
        ("expired", AnswerError),
        ("nothing", UnavailableError),
        ("down", UnavailableError),
    ],
)
def test_bad_answers_of_the_service(
    options: SessionOptions,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    mode: str,
    error: type[CredprocError],
) -> None:
    """Whatever the service does, the error has the right class, one line and a remedy."""
    mqauth_rolesanywhere.faults.mode = mode  # type: ignore[assignment]
    with pytest.raises(error) as caught:
        create_session_by_helper(options)
    assert type(caught.value) is error
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_service_that_hangs_is_left(
    options: SessionOptions, mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """The helper has no limit of its own for an answer; ours ends it."""
    mqauth_rolesanywhere.faults.mode = "hang"
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="no answer within the time limit of 3 s"):
        create_session_by_helper(options._replace(time_limit=3))
    assert time.monotonic() - started < 20  # it would never end


def test_an_untrusted_server(
    options: SessionOptions, mqauth_pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is not trusted is told with the remedy, and not tried three times."""
    files = mqauth_pki.issue("ec-p256").write(tmp_path)
    options = options._replace(max_attempts=3)
    attempts: list[str] = []
    attempt = session._run

    def counted(*how: Any) -> SessionCredentials:
        attempts.append(how[0])
        return attempt(*how)

    monkeypatch.setattr(session, "_run", counted)
    with pytest.raises(UntrustedServerError, match=r"not trusted.*AWS_CA_BUNDLE"):
        create_session_by_helper(options._replace(ca_bundle=str(files.certificate)))
    assert len(attempts) == 1


def test_attempts_are_repeated_where_that_helps(
    options: SessionOptions, mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """A service that cannot serve now is asked as often as allowed, one that refuses only once."""
    options = options._replace(max_attempts=3)
    mqauth_rolesanywhere.refuse_with("InternalServerException", "oops", 500)
    before = len(mqauth_rolesanywhere.calls)
    with pytest.raises(UnavailableError):
        create_session_by_helper(options)
    assert len(mqauth_rolesanywhere.calls) - before == 3
    mqauth_rolesanywhere.refuse_with("AccessDeniedException", "no", 403)
    with pytest.raises(RefusedError):
        create_session_by_helper(options)
    assert len(mqauth_rolesanywhere.calls) - before == 4


def test_what_is_wrong_with_the_certificate_is_said_before(
    options: SessionOptions,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    mqauth_pki: Pki,
    tmp_path: Path,
) -> None:
    """A certificate that the service would refuse does not reach it; a missing one has a name."""
    before = len(mqauth_rolesanywhere.calls)
    authority = mqauth_pki.issue("ec-p256", ca=True).write(tmp_path)
    with pytest.raises(IdentityError, match=r"CA:true"):
        create_session_by_helper(options._replace(certificate=str(authority.certificate)))
    with pytest.raises(IdentityError, match=r"/nowhere/host.pem cannot be read: No such file"):
        create_session_by_helper(options._replace(certificate="/nowhere/host.pem"))
    assert len(mqauth_rolesanywhere.calls) == before


def test_a_missing_key_is_an_identity_error(options: SessionOptions) -> None:
    """The helper's vague word about the key becomes our class and names what to check."""
    with pytest.raises(IdentityError, match=r"private key cannot be read.*--private-key"):
        create_session_by_helper(options._replace(private_key="/nowhere/host.key"))


def test_linux_has_no_certificate_store(options: SessionOptions) -> None:
    """A selector for the system's store gets a plain word about Linux."""
    chosen = options._replace(
        certificate=None,
        private_key=None,
        intermediates=None,
        cert_selector="Key=x509Subject,Value=CN=host",
    )
    with pytest.raises(HelperError, match="Linux has no system certificate store"):
        create_session_by_helper(chosen)


def test_no_tpm(options: SessionOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no TPM, the error says so and names the group and the variable."""
    monkeypatch.setenv("TPM_DEVICE", "/dev/tpm-that-is-not-there")
    with pytest.raises(HelperError, match=r"TPM cannot be opened.*group tss"):
        create_session_by_helper(
            options._replace(private_key="handle:0x81000001", no_tpm_key_password=True)
        )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_helper(
    options: SessionOptions,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    number: signal.Signals,
) -> None:
    """Ctrl-C and SIGTERM in mid-flight end the real helper with us."""
    mqauth_rolesanywhere.faults.mode = "hang"
    before = len(mqauth_rolesanywhere.calls)
    program = (
        "from credproc.options import SessionOptions\n"
        "from credproc.helper.session import create_session_by_helper\n"
        f"create_session_by_helper({options!r})"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 20
    while len(mqauth_rolesanywhere.calls) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert len(children) == 1
    parent.send_signal(number)
    parent.wait(20)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{children[0]}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{children[0]}").exists()
