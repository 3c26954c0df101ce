"""`mqauth doctor`: which links it goes through, where it stops, and what it never shows."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from certifi import where
from click.testing import CliRunner, Result

from mqauth.cli.root import cli
from mqauth.config.resolution import resolve
from mqauth.diagnosis.findings import EXIT_CODES
from mqauth.diagnosis.issuer_links import authorities
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


@pytest.fixture
def oauth2(issuer: OidcIssuer, monkeypatch: pytest.MonkeyPatch) -> OidcIssuer:
    """An environment for OAuth 2 that does not say who signs the issuer's certificate."""
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "MQAUTH_OAUTH2_CA_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MQAUTH_OAUTH2_ISSUER", issuer.issuer_url)
    monkeypatch.setenv("MQAUTH_OAUTH2_CLIENT_ID", issuer.client_id)
    monkeypatch.setenv("MQAUTH_OAUTH2_CLIENT_SECRET", issuer.client_secret)
    return issuer


@pytest.fixture
def told(oauth2: OidcIssuer, certificates: CertificateFiles) -> tuple[str, ...]:
    """Arguments that go as far as to a broker that there is not."""
    assert oauth2.issuer_url
    broker = "mqauth://oauth2@localhost:1/"
    return ("oauth2", "-o", f"ca_file={certificates.ca_file}", "--broker", broker)


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_an_issuer_is_trusted_by_what_the_fetch_goes_by(
    variable: str,
    oauth2: OidcIssuer,
    certificates: CertificateFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A variable that the fetch does not heed does not let the issuer's link pass either."""
    monkeypatch.setenv(variable, str(certificates.ca_file))
    code, links = report("oauth2")
    assert code == EXIT_CODES["issuer"]
    assert "not to be trusted" in links["issuer"]["detail"]
    code, links = report("oauth2", "-o", f"ca_file={certificates.ca_file}")
    assert (code, links["credential"]["status"]) == (0, "ok")
    assert oauth2.issuer_url


@pytest.mark.parametrize(
    ("provider", "host", "variables", "trusted"),
    [
        ("oauth2", "issuer.example", {"REQUESTS_CA_BUNDLE": "r", "CURL_CA_BUNDLE": "c"}, "r"),
        ("oauth2", "issuer.example", {"CURL_CA_BUNDLE": "c", "AWS_CA_BUNDLE": "a"}, "c"),
        ("oauth2", "issuer.example", {"AWS_CA_BUNDLE": "a"}, where()),
        ("oauth2", "localhost", {"REQUESTS_CA_BUNDLE": "r"}, where()),
        ("aws-iam", "localhost", {"REQUESTS_CA_BUNDLE": "r", "AWS_CA_BUNDLE": "a"}, "a"),
        ("aws-iam", "sts.example", {"REQUESTS_CA_BUNDLE": "r"}, "r"),
    ],
)
def test_authorities(
    provider: str,
    host: str,
    variables: dict[str, str],
    trusted: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which variables count is what requests and botocore make of them."""
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config = resolve(provider, explicit={"issuer": f"https://{host}"} if host[0] == "i" else {})
    assert authorities(config, host) == trusted


@pytest.mark.parametrize(
    ("conf", "code", "said"),
    [
        (
            "auth_oauth2.issuer = https://other.example/\nauth_oauth2.verify_issuer = true\n",
            14,
            "the broker trusts https://other",
        ),
        ("auth_oauth2.issuer = https://other.example/\n", 20, ""),
        (b"# caf\xe9\nauth_oauth2.issuer = https://other.example\n", 20, ""),
        (b"auth_oauth2.issuer = https://caf\xe9.example\n", 2, "is no rabbitmq.conf"),
        ("auth_oauth2.issuer = https://other.example\nauth_oauth2.jwks_url = https://k\n", 20, ""),
        ("listeners.tcp.default = 5672\n", 2, "says nothing of OAuth 2"),
        ("auth_oauth2.issuer = \0\n", 2, "is no rabbitmq.conf"),
        (b"\x7fELF\x02\xff\xfe", 2, "is no rabbitmq.conf"),
    ],
)
def test_what_the_broker_is_told(
    conf: str | bytes,
    code: int,
    said: str,
    told: tuple[str, ...],
    tmp_path: Path,
) -> None:
    """The issuer of rabbitmq.conf is compared with the token's; a file that is none is named."""
    file = tmp_path / "rabbitmq.conf"
    content = conf.encode() if isinstance(conf, str) else conf
    if b"issuer" in content:
        content += b"auth_oauth2.resource_server_id = rabbitmq\n"
    file.write_bytes(content)
    found, links = report(*told, "--conf", str(file))
    last = list(links.values())[-1]
    assert found == code, links
    assert said in last["detail"]
    assert "token" not in last["detail"] or code == EXIT_CODES["claims"]
    elsewhere = b"other.example" in content and b"jwks_url" not in content
    noted = "fetches the keys of https://other.example" in str(links.get("claims"))
    assert noted == (elsewhere and code == EXIT_CODES["broker"])


@pytest.mark.parametrize(
    ("algorithm", "code", "said"),
    [
        ("none", EXIT_CODES["claims"], "RabbitMQ refuses unsigned tokens"),
        ("HS256", EXIT_CODES["broker"], "signed with a shared secret (HS256)"),
        ("RS256", EXIT_CODES["broker"], ""),
    ],
)
def test_how_a_token_is_signed(algorithm: str, code: int, said: str, tmp_path: Path) -> None:
    """A token that is not signed is broken at its claims; a shared secret is remarked upon."""
    parts = ({"alg": algorithm}, {"sub": "celery", "aud": "rabbitmq", "exp": 4_000_000_000})
    header, claims = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )
    file = tmp_path / "token"
    file.write_text(f"{header}.{claims}.c2ln")
    broker = "mqauth://token-file@localhost:1/"
    found, links = report("token-file", "-o", f"path={file}", "--broker", broker)
    assert found == code, links
    assert said in links["claims"]["detail"]
    assert ("signed" in links["claims"]["detail"]) == bool(said)
    assert ("RS256" in str(links["claims"]["remedy"])) == (algorithm == "none")


def token_with(tmp_path: Path, **claims: Any) -> tuple[str, ...]:
    """Return arguments that lead from a token with these claims to a broker that there is not."""
    parts = ({"alg": "RS256"}, {"sub": "w", "aud": "rabbitmq", "exp": 4_000_000_000, **claims})
    header, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )
    file = tmp_path / "token"
    file.write_text(f"{header}.{body}.c2ln")
    return ("token-file", "-o", f"path={file}", "--broker", "mqauth://token-file@localhost:1/v")


@pytest.mark.parametrize(
    ("conf", "claims", "said"),
    [
        ("", {"scope": "read:*/* openid"}, "prefix 'rabbitmq.', and none is an alias: read:*/*, o"),
        ("", {"scope": "openid rabbitmq.read:*/*"}, ""),
        ("", {"scope": ""}, ""),
        ("", {"scope": {"a": 1}}, "scope claim is no text"),
        ("scope_prefix = mq/", {"scope": "rabbitmq.read:*/*"}, "prefix 'mq/'"),
        ("scope_prefix = mq/", {"scope": "mq/read:*/*"}, ""),
        ("scope_aliases.w = rabbitmq.read:*/*", {"scope": "w"}, ""),
        ("scope_aliases.w = read:*/*", {"scope": "w"}, "prefix 'rabbitmq.'"),
        ("additional_scopes_key = a.b", {"a.b": "rabbitmq.read:*/*", "scope": "openid"}, ""),
        ("additional_scopes_key = a.b", {"a": {"b": "rabbitmq.read:*/*"}}, ""),
    ],
)
def test_a_prefix_that_no_scope_has(
    conf: str, claims: dict[str, Any], said: str, tmp_path: Path
) -> None:
    """It is told before the broker is asked, unless an alias or another claim brings scopes."""
    file = tmp_path / "rabbitmq.conf"
    lines = ["resource_server_id = rabbitmq", *filter(None, [conf])]
    file.write_text("".join(f"auth_oauth2.{line}\n" for line in lines))
    code, links = report(*token_with(tmp_path, **claims), "--conf", str(file))
    link = "claims" if said else "broker"
    assert code == EXIT_CODES[link], links
    assert said in links[link]["detail"]
    assert links[link]["remedy"]


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read"), ("", "is empty"), ("  \n", "is empty")]
)
def test_a_token_s_file(content: str | None, said: str, tmp_path: Path) -> None:
    """It is a file that an option names, as any other."""
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    code, links = report("token-file", "-o", f"path={file}")
    assert (code, list(links)) == (EXIT_CODES["files"], ["options", "files"])
    assert said in links["files"]["detail"]
    file.write_text("opaque")
    assert report("token-file", "-o", f"path={file}")[0] == 0


@pytest.mark.parametrize("question", ["consume from queue q in vhost w", "connect to vhost w"])
def test_an_operation_in_another_virtual_host(question: str, tmp_path: Path) -> None:
    """It cannot be tried over a connection to this one, and is not tried here instead."""
    told = token_with(tmp_path, scope="rabbitmq.read:*/*")
    code, links = report(*told, "--operation", question)
    assert (code, list(links)) == (2, ["options"])
    assert "names virtual host 'w', and the broker's URL 'v'" in links["options"]["detail"]
    assert report(*told, "--operation", question.replace(" w", " v"))[0] == EXIT_CODES["broker"]
