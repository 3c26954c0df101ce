"""The provider aws-iam, against an STS endpoint that verifies signatures."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from mqauth.aws_credentials import AwsCredentials
from mqauth.config.registry import provider_class
from mqauth.config.resolution import resolve
from mqauth.credentials import BrokerCredentials
from mqauth.errors import (
    ConfigurationError,
    CredentialExpiredError,
    InsecureTransportError,
    InvalidCredentialError,
    IssuerRefusedError,
    IssuerUnavailableError,
    MQAuthError,
)
from mqauth.jwt_claims import unverified_claims, unverified_header
from mqauth.provider import Provider
from mqauth.providers._aws_config import AwsIamConfig
from mqauth.providers._aws_session import AwsSession
from mqauth.providers._deadline import Deadline
from mqauth.secret import Secret
from mqauth_sandbox.faults import FaultMode
from mqauth_sandbox.sts import StsEndpoint
from mqauth_sandbox.tls import CertificateFiles

CANARY = "canary-of-aws"

Build = Callable[..., Provider]


def build(**options: object) -> Provider:
    """Build the provider as a source does."""
    resolved = resolve("aws-iam", explicit=options, environ={})
    return provider_class("aws-iam").from_options(resolved.options)


@pytest.fixture
def caller(
    sts: StsEndpoint, certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> Build:
    """Build providers in an environment that holds the user's long-term key."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", sts.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", sts.secret_access_key)
    known = {"region": sts.region, "endpoint_url": sts.url, "ca_file": certificates.ca_file}
    return lambda **options: build(**{**known, **options})


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


def actions(sts: StsEndpoint) -> list[str]:
    """Return what the endpoint was asked, with anything that was not well."""
    return [
        str(call.action) + ("" if call.outcome == "ok" else f" {call.outcome}")
        for call in sts.calls
    ]


def failure(provider: Provider, timeout: float = 10) -> MQAuthError:
    """Return the error of a fetch that must fail, after checking what holds for all of them."""
    with pytest.raises(MQAuthError) as caught:
        provider.fetch(timeout=timeout)
    error = caught.value
    assert "\n" not in str(error)
    assert error.remedy
    assert error.__context__ is None
    assert "/site-packages/" not in "".join(traceback.format_exception(error))
    return error


def test_a_token_for_the_caller(caller: Build, sts: StsEndpoint) -> None:
    """Without a role, the caller's own identity gets the token."""
    credentials = caller().fetch(timeout=10)
    claims = unverified_claims(credentials.password)
    assert claims["iss"] == sts.issuer_url
    assert claims["aud"] in ("rabbitmq", ["rabbitmq"])
    assert credentials.username == ""
    assert credentials.principal == sts.user_arn
    assert credentials.expires_at is not None
    assert credentials.expires_at.timestamp() == pytest.approx(claims["exp"], abs=1)
    assert 297 <= credentials.remaining() <= 300
    assert credentials.clock_skew == 0.0
    assert actions(sts) == ["GetWebIdentityToken"]


def test_a_token_for_a_role(caller: Build, sts: StsEndpoint) -> None:
    """The role's session is kept: each further token is one call."""
    sts.external_id = "outside"
    provider = caller(role_arn=sts.role_arn, external_id="outside", role_session_name="worker")
    tokens = [provider.fetch(timeout=10) for _ in range(3)]
    assert {token.principal for token in tokens} == {sts.role_arn}
    assert len({token.password for token in tokens}) == 3
    assert actions(sts) == ["AssumeRole", *["GetWebIdentityToken"] * 3]


def test_what_the_token_says(caller: Build) -> None:
    """Audiences, algorithm, life and tags are passed on."""
    provider = caller(
        audience="rabbitmq,other",
        signing_algorithm="RS256",
        duration="120",
        tags={"scope": "rabbitmq/tag:administrator"},
        username="me",
    )
    credentials = provider.fetch(timeout=10)
    claims = unverified_claims(credentials.password)
    assert claims["aud"] == ["rabbitmq", "other"]
    assert claims["https://sts.amazonaws.com/"]["request_tags"] == {
        "scope": "rabbitmq/tag:administrator"
    }
    assert 117 <= credentials.remaining() <= 120
    assert credentials.username == "me"


def test_a_roles_session_near_its_end_is_replaced(caller: Build, sts: StsEndpoint) -> None:
    """A session that ends within the margin after the next token is not used again."""
    sts.session_lifetime = 350
    provider = caller(role_arn=sts.role_arn, duration=300)
    for _ in range(2):
        assert provider.fetch(timeout=10).remaining() > 290
    assert actions(sts) == ["AssumeRole", "GetWebIdentityToken"] * 2


def test_a_token_ends_before_its_session(caller: Build, sts: StsEndpoint) -> None:
    """Where the session is shorter than the token would be, the token is asked for shorter."""
    sts.session_lifetime = 100
    credentials = caller(role_arn=sts.role_arn, duration=300).fetch(timeout=10)
    assert 85 < credentials.remaining() < 100
    assert actions(sts) == ["AssumeRole", "GetWebIdentityToken"]


def test_a_session_shorter_than_any_token(caller: Build, sts: StsEndpoint) -> None:
    """Where nothing fits any more, the error says that the credentials behind end first."""
    sts.session_lifetime = 30
    error = failure(caller(role_arn=sts.role_arn))
    assert isinstance(error, CredentialExpiredError)
    assert "sooner than the shortest token" in str(error)


def test_a_session_whose_end_is_unknown(
    caller: Build, sts: StsEndpoint, boto: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After AWS's refusal of a token that outlives the session, a short one is asked for once."""
    sts.session_lifetime = 200
    use_session(monkeypatch, assume(boto, sts))
    credentials = caller(duration=300).fetch(timeout=10)
    assert 57 <= credentials.remaining() <= 60
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
        "Expiration": (datetime.now(UTC) + timedelta(seconds=150)).isoformat(),
    }
    program = f"print({json.dumps(answer)!r})\nopen({str(tmp_path / 'runs')!r}, 'a').write('x')"
    use_process(monkeypatch, tmp_path, program)
    provider = caller(profile="other", duration=300)
    for _ in range(2):
        assert 135 < provider.fetch(timeout=20).remaining() < 150
    assert len((tmp_path / "runs").read_text()) >= 2


def test_an_expired_role_session_is_replaced(caller: Build, sts: StsEndpoint) -> None:
    """A session that AWS takes for expired costs one more attempt, not an error."""
    sts.session_lifetime = 400
    provider = caller(role_arn=sts.role_arn, duration=60)
    provider.fetch(timeout=10)
    sts.faults.clock_skew = 600
    assert provider.fetch(timeout=10).remaining() > 50
    assert actions(sts) == [
        "AssumeRole",
        "GetWebIdentityToken",
        "GetWebIdentityToken ExpiredToken",
        "AssumeRole",
        "GetWebIdentityToken",
    ]


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


@pytest.mark.parametrize("skew", [-120.0, 120.0])
def test_the_clock_of_aws_is_noticed(caller: Build, sts: StsEndpoint, skew: float) -> None:
    """A token is good for its life on this host's clock, whatever AWS's says."""
    sts.faults.clock_skew = skew
    credentials = caller(role_arn=sts.role_arn).fetch(timeout=10)
    assert credentials.clock_skew == pytest.approx(skew, abs=1.5)
    assert credentials.remaining() == pytest.approx(300, abs=5)


def test_a_clock_that_is_far_off(caller: Build, sts: StsEndpoint) -> None:
    """A signature of another hour is about this host's clock, and may work once that is set."""
    sts.faults.clock_skew = 3600
    error = failure(caller())
    assert isinstance(error, IssuerUnavailableError)
    assert "set this host's clock" in str(error)


@pytest.mark.parametrize(
    ("mode", "kind", "complaint"),
    [
        ("error500", IssuerUnavailableError, "InternalFailure"),
        ("throttle", IssuerUnavailableError, "throttled"),
        ("html", IssuerUnavailableError, "not its XML"),
        ("not_json", IssuerUnavailableError, "not its XML"),
        ("garbage", IssuerUnavailableError, "not its XML"),
        ("not_jwt", InvalidCredentialError, "no JWT"),
        ("expired", InvalidCredentialError, "expired 1 min"),
    ],
)
def test_an_unwell_endpoint(
    caller: Build, sts: StsEndpoint, mode: FaultMode, kind: type[MQAuthError], complaint: str
) -> None:
    """Each way to fail has its class and its cause, and costs exactly one request."""
    provider = caller()
    with sts.faults.during(mode, retry_after=7):
        error = failure(provider, timeout=30)
    assert type(error) is kind
    assert error.retryable
    assert complaint in str(error)
    assert error.retry_after == (7 if mode == "throttle" else None)
    assert sts.requests == 1
    assert provider.fetch(timeout=10).remaining() > 0


def test_an_endpoint_that_hangs(caller: Build, sts: StsEndpoint) -> None:
    """A request that nobody answers ends at its deadline, and the next fetch starts afresh."""
    provider = caller()
    provider.fetch(timeout=10)
    started = time.monotonic()
    with sts.faults.during("hang"):
        assert isinstance(failure(provider, timeout=0.5), IssuerUnavailableError)
    assert time.monotonic() - started < 2
    assert provider.fetch(timeout=10).remaining() > 0


def test_an_endpoint_that_is_not_there(caller: Build, sts: StsEndpoint) -> None:
    """A closed port is named with its URL."""
    sts.stop()
    error = failure(caller())
    assert isinstance(error, IssuerUnavailableError)
    assert sts.url in str(error)


def test_an_untrusted_certificate(caller: Build) -> None:
    """A certificate of an unknown authority is an error that points at ca_file."""
    error = failure(caller(ca_file=None))
    assert isinstance(error, IssuerUnavailableError)
    assert "AWS_CA_BUNDLE" in str(error)


def test_boto3s_own_variables_work(
    caller: Build,
    sts: StsEndpoint,
    certificates: CertificateFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Endpoint, certificates and region may come from where boto3 looks for them."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates.ca_file))
    monkeypatch.setenv("AWS_DEFAULT_REGION", sts.region)
    assert caller(endpoint_url=None, ca_file=None, region=None).fetch(timeout=10).principal


def test_refusals(caller: Build, sts: StsEndpoint) -> None:
    """What AWS denies is passed on with what to allow, and is not worth asking again."""
    sts.denied_actions = {"sts:GetWebIdentityToken"}
    error = failure(caller())
    assert isinstance(error, IssuerRefusedError)
    assert "not authorized to perform: sts:GetWebIdentityToken" in str(error)
    sts.denied_actions = {"sts:TagGetWebIdentityToken"}
    error = failure(caller(tags={"a": "b"}))
    assert "sts:TagGetWebIdentityToken" in str(error.remedy)
    sts.denied_actions = {"sts:AssumeRole"}
    error = failure(caller(role_arn=sts.role_arn))
    assert isinstance(error, IssuerRefusedError)
    assert "AssumeRole" in str(error)
    assert not error.retryable


def test_an_account_without_federation(caller: Build, sts: StsEndpoint) -> None:
    """An account that has not enabled outbound federation is told the command."""
    sts.federation_enabled = False
    error = failure(caller())
    assert isinstance(error, IssuerRefusedError)
    assert "aws iam enable-outbound-web-identity-federation" in str(error)


def test_too_many_claims(caller: Build, sts: StsEndpoint) -> None:
    """A payload that AWS finds too large is about the tags."""
    sts.max_payload_bytes = 100
    error = failure(caller(tags={"a": "b"}))
    assert isinstance(error, IssuerRefusedError)
    assert "tags" in str(error.remedy)


def test_an_endpoint_without_the_action(caller: Build, sts: StsEndpoint) -> None:
    """The global endpoint does not know the action; that is a matter of configuration."""
    sts.global_endpoint = True
    error = failure(caller())
    assert isinstance(error, ConfigurationError)
    assert "regional endpoint" in str(error)


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


def test_a_wrong_region(caller: Build) -> None:
    """A signature for another region is refused, and the remedy says region."""
    error = failure(caller(region="us-east-1"))
    assert isinstance(error, IssuerRefusedError)
    assert "region" in str(error.remedy)


def test_no_aws_credentials(caller: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where boto3 finds nothing, or half of it, the user has to configure something."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert isinstance(failure(caller()), ConfigurationError)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    error = failure(caller())
    assert isinstance(error, ConfigurationError)
    assert "AWS_PROFILE" in str(error)


def test_no_region(caller: Build) -> None:
    """Without any region the error says where to set one."""
    error = failure(caller(region=None))
    assert isinstance(error, ConfigurationError)
    assert "MQAUTH_AWS_IAM_REGION" in str(error)


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_of_the_environment(
    caller: Build, sts: StsEndpoint, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Containers and functions are told their region by either variable."""
    monkeypatch.setenv(variable, sts.region)
    assert caller(region=None).fetch(timeout=10).principal == sts.user_arn


def test_an_unknown_profile(caller: Build) -> None:
    """A profile that AWS's configuration does not have is named."""
    error = failure(caller(profile="nobody"))
    assert isinstance(error, ConfigurationError)
    assert "nobody" in str(error)


def test_an_unsafe_endpoint_in_the_environment(
    caller: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint over plain HTTP is refused wherever it is configured."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://sts.example")
    assert isinstance(failure(caller(endpoint_url=None)), InsecureTransportError)


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
    use_process(monkeypatch, tmp_path, "import select\nselect.select([], [], [], 3)")
    started = time.monotonic()
    assert isinstance(failure(caller(profile="other"), timeout=0.5), IssuerUnavailableError)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("legacy", ["legacy", "regional"])
def test_the_endpoint_is_always_regional(monkeypatch: pytest.MonkeyPatch, legacy: str) -> None:
    """Whatever boto3 is told, the old global endpoint is not used."""
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", legacy)
    session = AwsSession(AwsIamConfig(region="us-east-1", tags={}))
    signer = AwsCredentials(access_key_id="AKIA", secret_key=Secret(CANARY))
    client = session.client(signer, Deadline(5))
    try:
        assert client.meta.endpoint_url == "https://sts.us-east-1.amazonaws.com"
        retries = client.meta.config.retries  # type: ignore[attr-defined]
        assert retries["total_max_attempts"] == 1
    finally:
        client.close()


def test_another_process_starts_afresh(caller: Build, sts: StsEndpoint) -> None:
    """A forked child takes nothing over that a thread of its parent may hold locked."""
    provider = caller(role_arn=sts.role_arn)
    provider.fetch(timeout=10)
    provider._process = -1  # type: ignore[attr-defined]
    provider.fetch(timeout=10)
    assert actions(sts) == ["AssumeRole", "GetWebIdentityToken"] * 2


def test_the_identity_tells_whose_credentials(
    caller: Build, sts: StsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other roles, profiles or keys in the environment are other identities, secrets are none."""
    mine = caller().identity
    assert caller(role_arn=sts.role_arn).identity != mine
    assert caller(profile="other").identity != mine
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    assert caller().identity == mine
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    assert caller().identity != mine
    assert caller().shareable


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"duration": 59}, "60 to 3600"),
        ({"duration": 3601}, "60 to 3600"),
        ({"signing_algorithm": "HS256"}, "ES384 or RS256"),
        ({"audience": ","}, "audience"),
        ({"role_arn": "RabbitMqAdminRole"}, "role_arn must look like"),
        ({"external_id": "x"}, "external_id means nothing without role_arn.*set role_arn"),
        ({"region": "mars"}, "'mars' is no AWS region.*eu-west-1"),
        ({"role_session_name": "x"}, "role_session_name means nothing"),
        ({"tags": {str(number): "x" for number in range(51)}}, "at most 50 tags"),
        ({"endpoint_url": "http://sts.example"}, "plain HTTP"),
        ({"ca_file": "/not/there"}, "ca_file"),
        ({"ca_file": "/etc/passwd"}, "ca_file /etc/passwd .* holds no PEM certificate"),
    ],
)
def test_what_cannot_work_is_refused_at_once(options: dict[str, Any], complaint: str) -> None:
    """What STS would refuse is found before it is asked."""
    with pytest.raises(ConfigurationError, match=complaint):
        build(**options)


def test_a_region_of_the_environment_that_is_none(
    caller: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A region that AWS's own configuration names is checked before a host is made of it."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "mars")
    error = failure(caller(region=None, endpoint_url=None))
    assert isinstance(error, ConfigurationError)
    assert "'mars' is no AWS region" in str(error)
    assert "AWS_DEFAULT_REGION" in str(error.remedy)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"])
@pytest.mark.parametrize("given", ["option", "environment"])
def test_a_service_of_somebody_elses_names_its_region(
    caller: Build, monkeypatch: pytest.MonkeyPatch, variable: str, given: str
) -> None:
    """Where an endpoint is set for boto3, no host is made of the region."""
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "local")
    region = {"option": "local", "environment": None}[given]
    error = failure(caller(region=region, endpoint_url=None, ca_file=None))
    assert isinstance(error, IssuerUnavailableError)
    assert "no AWS region" not in str(error)


def test_a_proxy_that_is_not_there(caller: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is blamed, and not AWS."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    error = failure(caller(endpoint_url=None, ca_file=None))
    assert isinstance(error, IssuerUnavailableError)
    assert "the proxy on the way to AWS STS" in str(error)
    assert "HTTPS_PROXY" in str(error.remedy)


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


def test_a_chain_of_roles(caller: Build, sts: StsEndpoint) -> None:
    """Each role is assumed by the one before it, once for all tokens; the last signs them."""
    broker = sts.add_role("Broker", trusts=sts.role_arn)
    provider = caller(role_arn=f"{sts.role_arn},{broker}", duration=60)
    assert {provider.fetch(timeout=10).principal for _ in range(2)} == {broker}
    assert actions(sts) == ["AssumeRole"] * 2 + ["GetWebIdentityToken"] * 2
    assert isinstance(failure(caller(role_arn=[broker])), IssuerRefusedError)


def test_an_external_id_reaches_each_role_of_a_chain(caller: Build, sts: StsEndpoint) -> None:
    """A role of somebody else's account asks for its external id, wherever it is in the chain."""
    broker = sts.add_role("Broker", trusts=sts.role_arn, external_id="tenant-7")
    chain = [sts.role_arn, broker]
    assert caller(role_arn=chain, external_id="tenant-7").fetch(timeout=10).principal == broker
    error = failure(caller(role_arn=chain, external_id="tenant-8"))
    assert isinstance(error, IssuerRefusedError)
    assert "trust policy" in str(error.remedy)


def test_a_comma_in_the_name_of_a_role(caller: Build, sts: StsEndpoint) -> None:
    """IAM allows a comma in a role's name, which is not the one between two roles."""
    odd = sts.add_role("eu,west", trusts=sts.user_arn)
    broker = sts.add_role("Broker", trusts=odd)
    assert caller(role_arn=f"{odd}, {broker}").fetch(timeout=10).principal == broker


def test_session_tags_are_those_of_the_last_role(caller: Build, sts: StsEndpoint) -> None:
    """The token repeats the tags of the session that signs for it, which needs sts:TagSession."""
    broker = sts.add_role("Broker", trusts=sts.role_arn)
    options = {"role_arn": [sts.role_arn, broker], "session_tags": "team=jobs"}
    claims = unverified_claims(caller(**options).fetch(timeout=10).password)
    assert claims["https://sts.amazonaws.com/"]["principal_tags"] == {"team": "jobs"}
    sts.denied_actions = {"sts:TagSession"}
    error = failure(caller(**options))
    assert "sts:TagSession" in str(error)
    assert "sts:TagSession" in str(error.remedy)


@pytest.mark.parametrize("duration", [60, 3600])
@pytest.mark.parametrize("algorithm", ["ES384", "RS256"])
def test_algorithms_and_durations(
    caller: Build, sts: StsEndpoint, algorithm: str, duration: int
) -> None:
    """Both algorithms sign tokens of the shortest and of the longest life that STS grants."""
    options = {"signing_algorithm": algorithm, "duration": duration}
    credentials = caller(**options).fetch(timeout=10)
    assert unverified_header(credentials.password)["alg"] == algorithm
    assert duration - 3 <= credentials.remaining() <= duration


def test_the_longest_token_of_a_chain_fits_its_session(caller: Build, sts: StsEndpoint) -> None:
    """A chained session lasts an hour at most, so a token of an hour is made a little shorter."""
    broker = sts.add_role("Broker", trusts=sts.role_arn)
    provider = caller(role_arn=[sts.role_arn, broker], duration=3600)
    assert 3590 <= provider.fetch(timeout=10).remaining() <= 3595
    assert "GetWebIdentityToken" in actions(sts)


def test_an_answer_without_credentials(caller: Build, sts: StsEndpoint) -> None:
    """An answer to AssumeRole that holds no credentials is no usable answer."""
    sts.empty_sessions = True
    error = failure(caller(role_arn=sts.role_arn))
    assert isinstance(error, InvalidCredentialError)
    assert "without credentials" in str(error)
