"""`mqauth doctor`: which links it goes through, where it stops, and what it never shows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mqauth.cli.root import cli
from mqauth.diagnosis.findings import EXIT_CODES
from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.sts import StsEndpoint
from mqauth_sandbox.tls import CertificateFiles


def invoke(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(cli, ["doctor", *arguments])


def report(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code and the findings by link."""
    result = invoke("--json", *arguments)
    found = json.loads(result.stdout)
    assert found["exit_code"] == result.exit_code
    assert found["ok"] is (result.exit_code == 0)
    return result.exit_code, {finding["link"]: finding for finding in found["links"]}


@pytest.fixture
def aws(
    sts: StsEndpoint, certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> StsEndpoint:
    """An environment with the user's key and a role."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", sts.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", sts.secret_access_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    monkeypatch.setenv("AWS_REGION", sts.region)
    monkeypatch.setenv("MQAUTH_AWS_IAM_CA_FILE", str(certificates.ca_file))
    monkeypatch.setenv("MQAUTH_AWS_IAM_ROLE_ARN", sts.role_arn)
    return sts


def test_every_link_of_aws_iam_is_told(aws: StsEndpoint) -> None:
    """Options, credentials, role and token, none of it secret."""
    code, links = report("aws-iam")
    assert code == 0
    assert list(links) == [
        *("options", "files", "issuer", "clock"),
        *("AWS credentials", "role", "token"),
    ]
    assert aws.role_arn in links["token"]["detail"]
    shown = json.dumps(links)
    assert aws.secret_access_key not in shown
    assert "eyJ" not in shown


def test_it_stops_at_the_broken_link(aws: StsEndpoint) -> None:
    """The role cannot be assumed, so no token is asked for; the remedy is there."""
    aws.denied_actions.add("sts:AssumeRole")
    code, links = report("aws-iam")
    assert code == 13
    assert list(links)[-1] == "role"
    assert links["AWS credentials"]["status"] == "ok"
    assert links["role"]["status"] == "failed"
    assert "policy" in links["role"]["remedy"]


def test_options_are_a_link_too() -> None:
    """What cannot work is told like everything else."""
    code, links = report("aws-iam", "-o", "duration=1")
    assert code == 2
    assert list(links) == ["options"]
    assert "duration" in links["options"]["detail"]


def test_parameters_of_the_broker_s_url() -> None:
    """What nobody reads is not passed over in silence, and its value is not repeated."""
    code, links = report("aws-iam", "--broker", "mqauths://aws-iam@localhost/v?password=s3cret")
    assert code == 2
    assert "does not read: password" in links["options"]["detail"]
    assert "s3cret" not in str(links)


def test_other_providers_have_one_link(issuer: OidcIssuer, certificates: CertificateFiles) -> None:
    """They are asked for a credential, in text for people."""
    environ = {
        "MQAUTH_OAUTH2_ISSUER": issuer.issuer_url,
        "MQAUTH_OAUTH2_CLIENT_ID": issuer.client_id,
        "MQAUTH_OAUTH2_CLIENT_SECRET": issuer.client_secret,
        "MQAUTH_OAUTH2_CA_FILE": str(certificates.ca_file),
    }
    result = CliRunner(env=environ).invoke(cli, ["doctor", "oauth2"])
    assert result.exit_code == 0
    assert "ok      credential: " in result.stdout
    assert " left" in result.stdout
    with issuer.faults.during("error500", affects="tokens"):
        result = CliRunner(env=environ).invoke(cli, ["doctor", "oauth2"])
    assert result.exit_code == 13
    assert "failed  credential: " in result.stdout
    with issuer.faults.during("error500"):
        result = CliRunner(env=environ).invoke(cli, ["doctor", "oauth2"])
    assert result.exit_code == 11
    assert "failed  issuer: " in result.stdout


def test_the_host_of_apsaramq_tells_the_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option that the broker's host tells is not missed."""
    monkeypatch.delenv("MQAUTH_APSARAMQ_RRSA_INSTANCE_ID", raising=False)
    code, links = report("apsaramq-rrsa")
    assert code == EXIT_CODES["options"]
    assert "instance_id" in links["options"]["detail"]
    host = "amqp-cn-x.mq-amqp.ap-southeast-1-a.aliyuncs.com"
    for arguments in (("--host", host), ("--broker", f"mqauths://{host}/prod")):
        code, links = report("apsaramq-rrsa", *arguments)
        assert code == EXIT_CODES["options"]
        assert "token_file" in links["options"]["detail"]
        assert "instance_id" not in links["options"]["detail"]
