"""Sessions by way of AWS's own helper: the real one, and worse ones."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from credproc.diagnosis.walk import walk
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
from credproc.helper import selection
from credproc.helper.environment import clean_environment
from credproc.helper.locate import check_trusted, find_helper
from credproc.helper.session import check_version, create_session_by_helper, read_output
from credproc.identity.load import load_signer
from credproc.obtain import obtain
from credproc.options import SessionOptions
from credproc.secret import Secret
from mqauth_sandbox.pki import Container, IdentityFiles, Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint

BASE = SessionOptions(
    role_arn="arn:aws:iam::123456789012:role/r",
    profile_arn="arn:aws:rolesanywhere:eu-west-1:123456789012:profile/p",
    trust_anchor_arn="arn:aws:rolesanywhere:eu-west-1:123456789012:trust-anchor/t",
)
GOOD = {
    "Version": 1,
    "AccessKeyId": "ASIA1",
    "SecretAccessKey": "secret",
    "SessionToken": "token",
    "Expiration": "2999-01-01T00:00:00Z",
}


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


def fake(tmp_path: Path, text: str, version: str = "9.9.9") -> str:
    """Return a program that says its version and else does what `text` says."""
    path = tmp_path / "aws_signing_helper"
    path.write_text(f'#!/bin/sh\n[ "$1" = version ] && {{ echo {version}; exit; }}\n{text}\n')
    path.chmod(0o755)
    return str(path)


def with_fake(tmp_path: Path, text: str) -> SessionOptions:
    """Return options that lead to a fake helper."""
    return BASE._replace(helper=fake(tmp_path, text), backend="helper")


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
    with pytest.raises(UnavailableError, match="no answer within the time limit of 1 s"):
        create_session_by_helper(options._replace(time_limit=1))
    assert time.monotonic() - started < 5


def test_an_untrusted_server(options: SessionOptions, mqauth_pki: Pki, tmp_path: Path) -> None:
    """A server that is not trusted is told with the remedy, and not tried three times."""
    files = mqauth_pki.issue("ec-p256").write(tmp_path)
    options = options._replace(max_attempts=3)
    started = time.monotonic()
    with pytest.raises(UntrustedServerError, match=r"not trusted.*AWS_CA_BUNDLE"):
        create_session_by_helper(options._replace(ca_bundle=str(files.certificate)))
    assert time.monotonic() - started < 2


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


def test_each_question_is_answered_once(tmp_path: Path) -> None:
    """Two different questions are both answered; the same one twice means a wrong password."""
    chosen = with_fake(
        tmp_path,
        'ask() { echo "Please enter your $1:" >/dev/tty; read -r line </dev/tty; }\n'
        f"ask 'user PIN'; ask 'context PIN'; echo '{json.dumps(GOOD)}'",
    )._replace(pkcs8_password=Secret("1234"))
    assert create_session_by_helper(chosen).access_key_id == "ASIA1"
    chosen = with_fake(
        tmp_path,
        'ask() { echo "Please enter your $1:" >/dev/tty; read -r line </dev/tty; }\n'
        "ask 'user PIN'; echo 'Incorrect user PIN. Please re-enter your user PIN:' >/dev/tty\n"
        "sleep 60",
    )._replace(pkcs8_password=Secret("1234"))
    with pytest.raises(IdentityError, match="password of the key is wrong"):
        create_session_by_helper(chosen)


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


def test_environment_and_arguments_are_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper gets what it honours; no secret, no config and no loader's tricks reach it."""
    seen = tmp_path / "seen"
    monkeypatch.setenv("LD_PRELOAD_TRICK", "1")
    monkeypatch.setenv("AWS_PROFILE", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    chosen = with_fake(
        tmp_path,
        f"{{ cat /proc/$$/environ /proc/$$/cmdline | tr '\\0' '\\n'; }} >{seen}\n"
        f"echo '{json.dumps(GOOD)}'",
    )._replace(
        tpm_key_password=Secret("s3cret"),
        pkcs8_password=Secret("s3cret"),
        debug=True,
        with_proxy=True,
    )
    assert create_session_by_helper(chosen).access_key_id == "ASIA1"
    text = seen.read_text()
    assert "s3cret" not in text
    assert "TRICK" not in text
    assert "AWS_PROFILE" not in text
    assert "--debug" not in text
    assert "HTTPS_PROXY=http://127.0.0.1:1" in text
    assert "AWS_CONFIG_FILE=/dev/null" in text


def test_proxies_are_passed_only_when_asked_for() -> None:
    """Without --with-proxy the helper sees no proxy, as it would not use one."""
    environ = {"HTTPS_PROXY": "http://127.0.0.1:1", "HOME": "/h"}
    found = clean_environment(BASE, environ)
    assert "HTTPS_PROXY" not in found
    assert found["HOME"] == "/h"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"Version": 2}, "Version is not 1"),
        ({"Version": True}, "Version is not 1"),
        ({"Version": "1"}, "Version is not 1"),
        ({"AccessKeyId": ""}, "no accessKeyId"),
        ({"SecretAccessKey": None}, "no secretAccessKey"),
        ({"SessionToken": 7}, "no sessionToken"),
        ({"SessionToken": "a\nb"}, "sessionToken is not what"),
        ({"Expiration": "soon"}, "expiration is no time"),
        ({"Expiration": "2001-01-01T00:00:00Z"}, "the session ended"),
    ],
)
def test_output_is_checked(change: dict[str, object], problem: str) -> None:
    """Each thing that could be wrong with what it prints is found, and not repeated."""
    assert read_output(json.dumps(GOOD).encode()).access_key_id == "ASIA1"
    with pytest.raises(AnswerError, match=problem) as caught:
        read_output(json.dumps(GOOD | change).encode())
    assert "secret" not in str(caught.value).replace("secretAccessKey", "")


@pytest.mark.parametrize("output", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_output_that_is_no_document(output: bytes) -> None:
    """Anything but a JSON object is refused without a traceback."""
    with pytest.raises(AnswerError, match="no JSON"):
        read_output(output)


def test_secrets_in_its_complaints_are_hidden(tmp_path: Path) -> None:
    """A password or a token that it writes to standard error does not pass through us."""
    chosen = with_fake(tmp_path, f"echo 'could not do horse7 {'QUJD' * 50}' >&2; exit 9")._replace(
        tpm_key_password=Secret("horse7")
    )
    with pytest.raises(HelperError, match="exit code 9: could not do") as caught:
        create_session_by_helper(chosen)
    assert "horse7" not in str(caught.value)
    assert "QUJD" not in str(caught.value)


def test_a_helper_that_is_killed(tmp_path: Path) -> None:
    """The signal that ended it is named."""
    with pytest.raises(HelperError, match="failed with signal 9"):
        create_session_by_helper(with_fake(tmp_path, "kill -9 $$"))


def test_too_much_output(tmp_path: Path) -> None:
    """A helper that does not stop talking is ended."""
    with pytest.raises(AnswerError, match="printed more than a session has"):
        create_session_by_helper(with_fake(tmp_path, "exec yes"))


@pytest.mark.parametrize(
    ("version", "problem"),
    [("1.4.9", "is version 1.4.9, which is too old"), ("", "does not say"), ("x.y.z", "does not")],
)
def test_old_or_silent_versions_are_refused(tmp_path: Path, version: str, problem: str) -> None:
    """A helper that lacks flags we use is refused before it is run, with the version to install."""
    path = fake(tmp_path, "", version)
    with pytest.raises(HelperError, match=rf"{problem}.*install 1\.5\.0 or newer"):
        check_version(path, {})


def test_version_comes_from_the_build_where_it_is_not_printed(
    mqauth_official_helper: Path, tmp_path: Path
) -> None:
    """A helper that prints no version, as `go install` makes it, is known by its build record."""
    printed = check_version(str(mqauth_official_helper), {"PATH": os.defpath})
    path = fake(tmp_path, "", "")
    module = b"\tmod\tgithub.com/aws/rolesanywhere-credential-helper\tv1.7.3\th1:x\n"
    with Path(path).open("ab") as file:
        file.write(b"exit\n" + module)
    assert check_version(path, {"PATH": os.defpath}) == (1, 7, 3)
    assert printed >= (1, 5, 0)


class TestTrust:
    """Who could have put the helper there."""

    @pytest.fixture
    def helper(self, tmp_path: Path) -> Path:
        """A helper that nobody else may write, in a directory of its own."""
        directory = tmp_path / "bin"
        directory.mkdir(mode=0o755)
        return Path(fake(directory, ""))

    def test_a_private_one_is_taken_by_flag_and_by_path(self, helper: Path) -> None:
        """Both ways lead to the same file; relative entries of PATH are passed over."""
        assert find_helper(str(helper), {}) == str(helper)
        assert find_helper(None, {"PATH": f":.:bin:{helper.parent}"}) == str(helper)

    @pytest.mark.parametrize("mode", [0o775, 0o757])
    def test_a_writable_file_is_refused(self, helper: Path, mode: int) -> None:
        """Group or world may write the file itself."""
        helper.chmod(mode)
        with pytest.raises(HelperError, match=rf"others .* may write {helper}; chown root"):
            check_trusted(str(helper))

    @pytest.mark.parametrize("mode", [0o775, 0o777])
    def test_a_writable_directory_is_refused(self, helper: Path, mode: int) -> None:
        """Who may write the directory may replace the file."""
        helper.parent.chmod(mode)
        with pytest.raises(HelperError, match=rf"may write {helper.parent};"):
            check_trusted(str(helper))

    def test_a_directory_further_up_counts(self, helper: Path) -> None:
        """Who may write a directory above may replace the one below."""
        nested = helper.parent / "a" / "b"
        nested.mkdir(parents=True)
        moved = shutil.move(helper, nested / helper.name)
        (helper.parent / "a").chmod(0o777)
        with pytest.raises(HelperError, match=rf"may write {helper.parent}/a;"):
            check_trusted(str(moved))

    def test_the_way_of_a_link_counts(self, helper: Path, tmp_path: Path) -> None:
        """A link in a directory of others' could lead elsewhere tomorrow."""
        loose = tmp_path / "loose"
        loose.mkdir()
        link = loose / "aws_signing_helper"
        link.symlink_to(helper)
        check_trusted(str(link))
        loose.chmod(0o777)
        with pytest.raises(HelperError, match=rf"may write {loose};"):
            check_trusted(str(link))
        other = tmp_path / "other"
        other.symlink_to("loose/aws_signing_helper")
        with pytest.raises(HelperError, match=rf"may write {loose};"):
            check_trusted(str(other))

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_a_file_of_another_user_is_refused(self, helper: Path) -> None:
        """Whoever owns the file may write it, whatever its mode."""
        os.chown(helper, 65534, 65534)
        with pytest.raises(HelperError, match="refused: others than root"):
            check_trusted(str(helper))

    def test_missing_circular_and_no_program(self, tmp_path: Path) -> None:
        """Each is one line with the path."""
        circle = tmp_path / "circle"
        circle.symlink_to(circle)
        plain = tmp_path / "plain"
        plain.write_text("x")
        plain.chmod(0o644)
        for path, words in (
            (tmp_path / "none", "No such file"),
            (circle, "too many links"),
            (plain, "no executable"),
            (tmp_path, "no executable"),
        ):
            with pytest.raises(HelperError, match=words):
                check_trusted(str(path))
        with pytest.raises(HelperError, match=r"no aws_signing_helper on PATH; install"):
            find_helper(None, {"PATH": str(tmp_path)})


class TestSelection:
    """When the helper is taken."""

    def test_a_tpm_says_what_it_needs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mqauth_pki: Pki
    ) -> None:
        """Where no helper is installed, or it is ruled out, the TPM is named and the remedy too."""
        monkeypatch.setenv("PATH", str(tmp_path))
        certificate = mqauth_pki.issue().write(tmp_path).certificate
        options = BASE._replace(certificate=str(certificate), private_key="handle:0x81000001")
        with pytest.raises(HelperError, match=r"key is in a TPM, .* no aws_signing_helper on PATH"):
            obtain(options._replace(no_cache=True))
        findings = [outcome.finding for outcome in walk(options)]
        assert "the key is in a TPM, where only aws_signing_helper" in findings[-1].detail
        with pytest.raises(IdentityError, match=r"lives in a TPM.*install that, and use --backend"):
            load_signer(options._replace(backend="native"))

    def test_only_for_what_only_it_can_do(self, tmp_path: Path) -> None:
        """TPM keys and system stores need it; files and PKCS#11 do not."""
        key = tmp_path / "tpm.key"
        key.write_text("-----BEGIN TSS2 PRIVATE KEY-----\n")
        both = tmp_path / "both.pem"
        both.write_text("-----BEGIN CERTIFICATE-----\n-----BEGIN TSS2 PRIVATE KEY-----\n")
        base = BASE._replace(certificate="/c.pem")
        reason = selection.reason_for_helper
        assert reason(base._replace(private_key="handle:0x81000001")) == "the key is in a TPM"
        assert reason(base._replace(private_key=str(key))) == "the key belongs to a TPM"
        assert reason(base._replace(certificate=str(both))) == "the key belongs to a TPM"
        stored = base._replace(certificate=None, cert_selector="Key=x509Subject,Value=CN=x")
        assert reason(stored) == "the certificate is in the system's store"
        assert reason(base) is None
        assert reason(base._replace(private_key="pkcs11:token=x")) is None
        assert reason(base._replace(private_key=str(key), backend="native")) is None
        assert reason(base._replace(backend="helper")) == "--backend helper asks for it"

    @pytest.mark.parametrize("debug", [False, True])
    def test_it_is_said_only_to_those_who_watch(
        self,
        capsys: pytest.CaptureFixture[str],
        debug: bool,  # noqa: FBT001
    ) -> None:
        """SDKs show standard error when something fails, so it stays empty unless asked for."""
        selection.announce("the key is in a TPM", BASE._replace(debug=debug))
        assert ("the key is in a TPM" in capsys.readouterr().err) is debug


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
    while Path(f"/proc/{children[0]}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{children[0]}").exists()
