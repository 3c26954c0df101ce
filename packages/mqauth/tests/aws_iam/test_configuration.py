"""The options of aws-iam and AWS's own configuration: regions, endpoints, and what cannot work."""

from __future__ import annotations

from typing import Any

import pytest

from mqauth.aws_credentials import AwsCredentials
from mqauth.errors import ConfigurationError, InsecureTransportError, IssuerUnavailableError
from mqauth.providers._aws_config import AwsIamConfig
from mqauth.providers._aws_session import AwsSession
from mqauth.providers._deadline import Deadline
from mqauth.secret import Secret
from mqauth_sandbox.sts import StsEndpoint
from mqauth_sandbox.tls import CertificateFiles
from packages.mqauth.tests.aws_iam.building import CANARY, Build, build, failure


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


def test_an_unsafe_endpoint_in_the_environment(
    caller: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint over plain HTTP is refused wherever it is configured."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://sts.example")
    assert isinstance(failure(caller(endpoint_url=None)), InsecureTransportError)


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


def test_everything_that_is_missing_is_named_at_once(
    caller: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without credentials and region one run tells of both; with one of them, of the other."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    error = failure(caller(region=None))
    assert isinstance(error, ConfigurationError)
    assert "no AWS credentials" in error.message
    assert "no AWS region" in error.message
    assert "MQAUTH_AWS_IAM_REGION" in str(error.remedy)
    assert "region" not in failure(caller()).message
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")  # a part of them
    assert "no AWS region" in failure(caller(region=None)).message


def test_an_endpoint_of_the_environment_that_is_none(
    caller: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables that may name it are told."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "junk")
    error = failure(caller(endpoint_url=None))
    assert isinstance(error, ConfigurationError)
    assert "is no URL" in str(error)
    assert "AWS_ENDPOINT_URL_STS" in str(error.remedy)


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_bundle_of_the_environment_that_is_none(
    caller: Build, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """A variable that names no authorities is told before the network is blamed."""
    monkeypatch.setenv(variable, "/not/there")
    error = failure(caller(ca_file=None))
    assert isinstance(error, ConfigurationError)
    assert f"/not/there that {variable} names cannot be read" in str(error)
