"""What aws-iam says of an STS endpoint that is unwell, out of reach, or refuses."""

from __future__ import annotations

import time

import pytest

from mqauth.errors import (
    ConfigurationError,
    InvalidCredentialError,
    IssuerRefusedError,
    IssuerUnavailableError,
    MQAuthError,
)
from mqauth_sandbox.faults import FaultMode
from mqauth_sandbox.sts import StsEndpoint
from packages.mqauth.tests.aws_iam.building import Build, failure


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
    assert time.monotonic() - started < 10  # it would never end
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


def test_a_wrong_region(caller: Build) -> None:
    """A signature for another region is refused, and the remedy says region."""
    error = failure(caller(region="us-east-1"))
    assert isinstance(error, IssuerRefusedError)
    assert "region" in str(error.remedy)


def test_a_proxy_that_is_not_there(caller: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is blamed, and not AWS."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    error = failure(caller(endpoint_url=None, ca_file=None))
    assert isinstance(error, IssuerUnavailableError)
    assert "the proxy on the way to AWS STS" in str(error)
    assert "HTTPS_PROXY" in str(error.remedy)
