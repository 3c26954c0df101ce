"""What passes between a helper and us: questions, arguments, environment, output, complaints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from credproc.errors import AnswerError, HelperError, IdentityError
from credproc.helper.environment import clean_environment
from credproc.helper.session import create_session_by_helper, read_output
from credproc.secret import Secret
from fake_helper import BASE, GOOD, with_fake


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
