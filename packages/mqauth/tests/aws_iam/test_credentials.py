"""The AWS credentials behind aws-iam: their end, their origin, and that none is logged."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from mqauth.credentials import BrokerCredentials
from mqauth.errors import (
    ConfigurationError,
    CredentialExpiredError,
    IssuerRefusedError,
    IssuerUnavailableError,
)
from mqauth_sandbox.sts import StsEndpoint
from mqauth_sandbox.tls import CertificateFiles
from packages.mqauth.tests.aws_iam.building import CANARY, Build, actions, failure


@pytest.fixture
def boto(sts: StsEndpoint, certificates: CertificateFiles) -> Callable[[], Any]:
    """Make STS clients as an application of the user's has them."""
    return lambda: boto3.client(
        "sts",
        region_name=sts.region,
        endpoint_url=sts.url,
        verify=str(certificates.ca_file),
        aws_access_key_id=sts.access_key_id,
        aws_secret_access_key=sts.secret_access_key,
    )


def assume(boto: Callable[[], Any], sts: StsEndpoint) -> dict[str, Any]:
    """Assume the role as another program does, and return the session's credentials."""
    client = boto()
    try:
        answer = client.assume_role(RoleArn=sts.role_arn, RoleSessionName="other")
        found: dict[str, Any] = answer["Credentials"]
        return found
    finally:
        client.close()


def use_session(monkeypatch: pytest.MonkeyPatch, session: dict[str, Any]) -> None:
    """Put a session's credentials into the environment, which does not tell when they end."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", session["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", session["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", session["SessionToken"])


def use_process(monkeypatch: pytest.MonkeyPatch, folder: Path, program: str) -> None:
    """Have AWS's configuration run a program for credentials."""
    script = folder / "credentials.py"
    script.write_text(program)
    config = folder / "aws-config"
    config.write_text(f"[profile other]\ncredential_process = {sys.executable} {script}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))


def test_a_session_whose_end_is_unknown(
    caller: Build, sts: StsEndpoint, boto: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After AWS's refusal of a token that outlives the session, a short one is asked for once."""
    sts.session_lifetime = 200
    use_session(monkeypatch, assume(boto, sts))
    credentials = caller(duration=300).fetch(timeout=10)
    assert 45 <= credentials.remaining() <= 60
    assert actions(sts)[1:] == [
        "GetWebIdentityToken SessionDurationEscalationException",
        "GetWebIdentityToken",
    ]


def test_the_end_of_the_credentials_behind_counts(
    caller: Build,
    sts: StsEndpoint,
    boto: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Credentials that say when they end bound the token, and are refreshed when they must be."""
    session = assume(boto, sts)
    answer = {
        "Version": 1,
        "AccessKeyId": session["AccessKeyId"],
        "SecretAccessKey": session["SecretAccessKey"],
        "SessionToken": session["SessionToken"],
        "Expiration": (datetime.now(UTC) + timedelta(seconds=250)).isoformat(),
    }
    program = f"print({json.dumps(answer)!r})\nopen({str(tmp_path / 'runs')!r}, 'a').write('x')"
    use_process(monkeypatch, tmp_path, program)
    provider = caller(profile="other", duration=300)
    for _ in range(2):
        assert 200 < provider.fetch(timeout=20).remaining() < 250
    assert len((tmp_path / "runs").read_text()) >= 2


def test_expired_credentials(
    caller: Build, sts: StsEndpoint, boto: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the credentials behind have run out for good, the error says to renew them."""
    sts.session_lifetime = 400
    use_session(monkeypatch, assume(boto, sts))
    sts.faults.clock_skew = 600
    error = failure(caller())
    assert isinstance(error, CredentialExpiredError)
    assert "run out" in str(error) or "expired" in str(error)
    assert actions(sts)[1:] == ["GetWebIdentityToken ExpiredToken"] * 2


def test_renewed_credentials_are_found(
    caller: Build,
    sts: StsEndpoint,
    boto: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Credentials that something else renews in AWS's file are used at the next fetch."""
    file = tmp_path / "aws-credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    provider, session = caller(), assume(boto, sts)
    for secret in (CANARY, session["SecretAccessKey"]):
        file.write_text(
            f"[default]\naws_access_key_id = {session['AccessKeyId']}\n"
            f"aws_secret_access_key = {secret}\n"
            f"aws_session_token = {session['SessionToken']}\n"
        )
        if secret == CANARY:
            assert isinstance(failure(provider), IssuerRefusedError)
    assert provider.fetch(timeout=10).principal == sts.role_arn


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("AWS_SECRET_ACCESS_KEY", CANARY, "SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID", "AKIAAAAAAAAAAAAAAAAA", "InvalidClientTokenId"),
    ],
)
def test_a_wrong_key(
    caller: Build, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, complaint: str
) -> None:
    """A key that AWS does not know, or that is wrong, is refused for good."""
    monkeypatch.setenv(variable, value)
    error = failure(caller())
    assert isinstance(error, IssuerRefusedError)
    assert complaint in str(error)
    assert CANARY not in str(error)


def test_no_aws_credentials(caller: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where boto3 finds nothing, or half of it, the user has to configure something."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert isinstance(failure(caller()), ConfigurationError)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    error = failure(caller())
    assert isinstance(error, ConfigurationError)
    assert "AWS_PROFILE" in str(error)


def test_an_unknown_profile(caller: Build) -> None:
    """A profile that AWS's configuration does not have is named."""
    error = failure(caller(profile="nobody"))
    assert isinstance(error, ConfigurationError)
    assert "nobody" in str(error)


def test_a_credential_process_that_fails(
    caller: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A credential process that breaks may work later, and what it printed is not passed on."""
    program = f"import sys\nprint({CANARY!r}, file=sys.stderr)\nsys.exit(1)"
    use_process(monkeypatch, tmp_path, program)
    error = failure(caller(profile="other"), timeout=20)
    assert isinstance(error, IssuerUnavailableError)
    assert CANARY not in str(error)


def test_a_credential_process_that_hangs(
    caller: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Botocore waits for ever for a credential process; a fetch does not."""
    use_process(monkeypatch, tmp_path, "import select\nselect.select([], [], [], 20)")
    started = time.monotonic()
    assert isinstance(failure(caller(profile="other"), timeout=0.5), IssuerUnavailableError)
    assert time.monotonic() - started < 15


def test_no_secret_in_any_log(
    caller: Build,
    sts: StsEndpoint,
    boto: Callable[[], Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At DEBUG, our calls show no key, session or token, while the application's own still log."""
    caplog.set_level(logging.DEBUG)
    provider = caller(role_arn=sts.role_arn)
    fetched = [provider.fetch(timeout=10)]
    for mode in ("error500", "html", "expired", "not_jwt"):
        with sts.faults.during(mode):
            failure(provider)
    fetched.append(caller().fetch(timeout=10))
    ours = [_everything(record) for record in caplog.records]
    for secret in _secrets(sts, fetched):
        assert not [line for line in ours if secret in line]
    caplog.clear()
    session = assume(boto, sts)
    theirs = "\n".join(_everything(record) for record in caplog.records)
    assert session["SecretAccessKey"] in theirs, (
        "botocore is as talkative as ever outside our calls"
    )


def _secrets(sts: StsEndpoint, fetched: list[BrokerCredentials]) -> set[str]:
    keys = sts._ring._keys.values()
    tokens = {key.session_token for key in keys if key.session_token}
    return (
        {key.secret_access_key for key in keys}
        | tokens
        | {found.password.reveal() for found in fetched}
    )


def _everything(record: logging.LogRecord) -> str:
    values: dict[str, Any] = vars(record)
    return f"{logging.Formatter().format(record)} {values!r}"
