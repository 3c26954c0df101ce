"""The provider apsaramq-rrsa, against a strict STS endpoint and servers that behave like none."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mqauth.apsaramq import derived_from_host
from mqauth.config.registry import provider_class
from mqauth.config.resolution import resolve
from mqauth.errors import (
    ConfigurationError,
    CredentialExpiredError,
    InsecureTransportError,
    InvalidCredentialError,
    IssuerRefusedError,
    IssuerUnavailableError,
    MQAuthError,
)
from mqauth.provider import Provider
from mqauth.providers._apsaramq_config import ApsaraConfig
from mqauth.providers._apsaramq_login import login_name, login_password
from mqauth.secret import Secret
from mqauth_sandbox.alibaba_sts import AlibabaSts
from mqauth_sandbox.faults import FaultMode
from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.tls import CertificateFiles

INSTANCE = "rabbitmq-serverless-cn-test"
ROLE = "acs:ram::1880770869023420:role/worker"
IDP = "acs:ram::1880770869023420:oidc-provider/ack"

# printf '%s' SECRET | openssl dgst -sha1 -hmac TIMESTAMP, in capitals, then
# printf '%s:%s' DIGEST TIMESTAMP | openssl base64 -A
PASSWORDS = [
    (
        "aBcDeF0123456789ghIJKL",
        1700000000123,
        "Nzg0NkYxNkEwNEM2OTlDNThEMkYxOTBEMTgwNURFRjI0NDlBNUY0NjoxNzAwMDAwMDAwMTIz",
    ),
    ("k", 0, "RjY5MzYyRkYzQzFBNTg0NDFDNUE4QjUwMzk2NEMyN0U1N0ZENDJENTow"),
    (
        "Üñí-secret/with+signs=",
        1795351200000,
        "QzY0RUJCRUFDOUU3REYyMkU4QzA0QzIxMkY1OEZENEM2NEE1MkRBMDoxNzk1MzUxMjAwMDAw",
    ),
]
# printf '0:%s:%s:%s' INSTANCE KEY TOKEN | openssl base64 -A
NAMES = [
    (
        ("rabbitmq-cn-example", "STS.NVexampleKeyId", "CAIS8wF1q6Ft5B2yfSjIr5example+/token=="),
        (
            "MDpyYWJiaXRtcS1jbi1leGFtcGxlOlNUUy5OVmV4YW1wbGVLZXlJZDpDQUlTOHdGMXE2RnQ1QjJ5ZlNqSXI1"
            "ZXhhbXBsZSsvdG9rZW49PQ=="
        ),
    ),
    (("1880770869023420", "STS.K2", "tok"), "MDoxODgwNzcwODY5MDIzNDIwOlNUUy5LMjp0b2s="),
]

Build = Callable[..., Provider]


@pytest.fixture
def sts(issuer: OidcIssuer, certificates: CertificateFiles) -> Iterator[AlibabaSts]:
    """An STS endpoint that trusts the issuer."""
    with AlibabaSts(
        certificate=certificates.certificate_file,
        private_key=certificates.key_file,
        oidc=issuer,
    ) as running:
        yield running


@pytest.fixture
def token_file(tmp_path: Path, sts: AlibabaSts) -> Path:
    """A projected service-account token, with the line break that editors leave."""
    file = tmp_path / "token"
    file.write_text(sts.service_account_token() + "\n")
    return file


@pytest.fixture
def client(sts: AlibabaSts, token_file: Path, certificates: CertificateFiles) -> Build:
    """Build providers that the endpoint knows."""

    def make(**options: object) -> Provider:
        known = {
            "instance_id": INSTANCE,
            "role_arn": sts.role_arn,
            "oidc_provider_arn": sts.oidc_provider_arn,
            "token_file": token_file,
            "endpoint_url": sts.url,
            "ca_file": certificates.ca_file,
        }
        resolved = resolve("apsaramq-rrsa", explicit={**known, **options}, environ={})
        return provider_class("apsaramq-rrsa").from_options(resolved.options)

    return make


def config(environ: Mapping[str, str], **options: object) -> ApsaraConfig:
    """Return the configuration that options and an environment make."""
    resolved = resolve("apsaramq-rrsa", explicit=options, environ={})
    return ApsaraConfig.from_options(resolved.options, environ)


@pytest.mark.parametrize(("secret", "milliseconds", "password"), PASSWORDS)
def test_passwords_are_what_openssl_computes(secret: str, milliseconds: int, password: str) -> None:
    """The timestamp is the key and the secret the message, in capitals, with the timestamp."""
    assert login_password(Secret(secret), milliseconds).reveal() == password


@pytest.mark.parametrize(("parts", "name"), NAMES)
def test_names_are_what_openssl_computes(parts: tuple[str, str, str], name: str) -> None:
    """A user name is 0, the instance, the key and the session's token."""
    instance, key, token = parts
    assert login_name(instance, key, Secret(token)) == name


def test_a_token_becomes_a_login(client: Build, sts: AlibabaSts) -> None:
    """What comes out is signed by the session's key and ends when the session does."""
    sts.session_lifetime = 60
    credentials = client().fetch(timeout=20)
    kind, instance, key, token = base64.b64decode(credentials.username).decode().split(":")
    session = sts.session(key)
    assert session is not None
    assert (kind, instance, token) == ("0", INSTANCE, session.security_token)
    digest, milliseconds = base64.b64decode(credentials.password.reveal()).decode().split(":")
    computed = subprocess.run(
        ["/usr/bin/openssl", "dgst", "-sha1", "-hmac", milliseconds, "-hex"],
        input=session.access_key_secret.encode(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    assert computed.split()[-1].upper() == digest
    assert credentials.expires_at is not None
    assert credentials.expires_at.timestamp() == session.expires_at
    assert 45 <= credentials.remaining() <= 60
    assert abs(int(milliseconds) / 1000 - credentials.issued_at.timestamp()) < 1
    assert credentials.principal == f"{sts.role_arn}/mqauth"


def test_what_is_asked_for_arrives(client: Build, sts: AlibabaSts) -> None:
    """Session name, policy and duration reach STS as they were given."""
    policy = '{\n  "Version": "1",\n  "Statement": []\n}'
    client(role_session_name="worker@host-1", policy=policy, duration=1800).fetch(timeout=20)
    sent = sts.calls[-1].parameters
    assert (sent["RoleSessionName"], sent["Policy"]) == ("worker@host-1", policy)
    assert (sent["DurationSeconds"], sent["Format"]) == ("1800", "JSON")


def test_the_token_file_is_read_at_every_fetch(
    client: Build, sts: AlibabaSts, token_file: Path
) -> None:
    """An expired token is an error until the file is renewed, and worth a retry."""
    provider = client()
    good = token_file.read_text()
    token_file.write_text(sts.service_account_token(lifetime=-10))
    with pytest.raises(CredentialExpiredError, match="renews the token file") as refused:
        provider.fetch(timeout=20)
    assert refused.value.retryable
    token_file.write_text(good)
    assert not provider.fetch(timeout=20).expired()


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("", InvalidCredentialError, "is empty"),
        (" \n", InvalidCredentialError, "is empty"),
        ("opaque", IssuerRefusedError, "nothing but an OIDC token"),
        ("a.b.c", IssuerRefusedError, "nothing but an OIDC token"),
    ],
)
def test_a_file_without_a_token(
    client: Build, token_file: Path, content: str, error: type[MQAuthError], said: str
) -> None:
    """What is no token is refused with the file named or the code of STS."""
    token_file.write_text(content)
    with pytest.raises(error, match=said):
        client().fetch(timeout=20)


def test_a_missing_file_is_awaited(client: Build, tmp_path: Path) -> None:
    """A token file that is not there yet is worth a retry."""
    with pytest.raises(IssuerUnavailableError, match="does not exist"):
        client(token_file=tmp_path / "later").fetch(timeout=20)


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"aud": ["rabbitmq"]}, r"OIDCToken\.AudienceNotMatch.*sts\.aliyuncs\.com"),
        ({"iss": "https://kubernetes.default.svc"}, r"OIDCToken\.IssuerNotMatch.*enable RRSA"),
        ({"sub": "system:serviceaccount:x:y"}, r"Fail\.NoPermission.*trust policy"),
    ],
)
def test_a_token_that_is_not_trusted(
    client: Build, sts: AlibabaSts, token_file: Path, claims: dict[str, Any], said: str
) -> None:
    """Audience, issuer and service account that STS does not trust each have their remedy."""
    token_file.write_text(sts.service_account_token(**claims))
    with pytest.raises(IssuerRefusedError, match=said) as refused:
        client().fetch(timeout=20)
    assert not refused.value.retryable


def test_another_key_s_signature(client: Build, token_file: Path) -> None:
    """A token whose signature is another's is refused as such."""
    head, claims, signature = token_file.read_text().strip().split(".")
    token_file.write_text(".".join((head, claims, signature[::-1])))
    with pytest.raises(IssuerRefusedError, match=r"InvalidSignature.*registered"):
        client().fetch(timeout=20)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"role_arn": ROLE}, r"EntityNotExist\.Role.*check role_arn"),
        ({"oidc_provider_arn": IDP}, "No such OIDC Provider registered.*oidc_provider_arn"),
        ({"duration": 7200}, "InvalidParameter.DurationSeconds.*shorten duration"),
    ],
)
def test_options_that_sts_refuses(client: Build, options: dict[str, Any], code: str) -> None:
    """An unknown role or identity provider and too long a session are refused with a remedy."""
    with pytest.raises(IssuerRefusedError, match=code):
        client(**options).fetch(timeout=20)


@pytest.mark.parametrize(
    ("mode", "error", "said"),
    [
        ("down", IssuerUnavailableError, "cannot be reached"),
        ("error500", IssuerUnavailableError, "InternalError"),
        ("throttle", IssuerUnavailableError, "Throttling.User.*ask less often"),
        ("html", IssuerUnavailableError, "a web page instead of JSON"),
        ("not_json", IssuerUnavailableError, "something else instead of JSON"),
        ("not_jwt", InvalidCredentialError, "without Credentials"),
        ("expired", InvalidCredentialError, "expired 1 min . s ago"),
        ("garbage", IssuerUnavailableError, "more than 256 KiB"),
    ],
)
def test_a_failing_sts(
    client: Build, sts: AlibabaSts, mode: FaultMode, error: type[MQAuthError], said: str
) -> None:
    """Whatever STS does wrong is named, and worth a retry."""
    with sts.faults.during(mode), pytest.raises(error, match=said) as failure:
        client().fetch(timeout=20)
    assert failure.value.retryable


def test_a_hanging_sts_is_given_up_in_time(client: Build, sts: AlibabaSts) -> None:
    """The time limit holds however long STS takes."""
    with sts.faults.during("hang"), pytest.raises(IssuerUnavailableError):
        client().fetch(timeout=0.5)


def test_xml_where_json_was_asked(client: Build, sts: AlibabaSts) -> None:
    """An answer in XML is named as such, and an error in XML by its code."""
    sts.answers_in_xml = True
    with pytest.raises(IssuerUnavailableError, match="XML instead of JSON"):
        client().fetch(timeout=20)
    with pytest.raises(IssuerRefusedError, match=r"EntityNotExist\.Role"):
        client(role_arn=ROLE).fetch(timeout=20)


def test_a_skewed_clock_is_noticed(client: Build, sts: AlibabaSts) -> None:
    """The session's end and the password's timestamp follow the clock of STS."""
    sts.faults.clock_skew = 300.0
    credentials = client(duration=900).fetch(timeout=20)
    assert 290 <= credentials.clock_skew <= 310
    assert 880 <= credentials.remaining() <= 900


def answering(body: bytes, status: int = 200, reason: str | None = None) -> ThreadingHTTPServer:
    """Return a running server that gives every request the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status, reason)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


GOOD = {
    "AccessKeyId": "STS.K",
    "AccessKeySecret": "s",
    "SecurityToken": "t",
    "Expiration": "2999-01-01T00:00:00Z",
}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "without Credentials"),
        ({"Credentials": None}, "without Credentials"),
        ({"Credentials": []}, "without Credentials"),
        ({"Credentials": {**GOOD, "SecurityToken": ""}}, "without SecurityToken"),
        ({"Credentials": {**GOOD, "AccessKeyId": 7}}, "without AccessKeyId"),
        ({"Credentials": {**GOOD, "AccessKeyId": "K\udfff"}}, "that no AccessKeyId has"),
        ({"Credentials": {**GOOD, "SecurityToken": "\ud800t"}}, "that no SecurityToken has"),
        ({"Credentials": {**GOOD, "AccessKeySecret": "s\0"}}, "that no AccessKeySecret has"),
        ({"Credentials": {**GOOD, "Expiration": "soon"}}, "Expiration that is no time"),
        ({"Credentials": {**GOOD, "Expiration": "2001-01-01T00:00:00Z"}}, "expired"),
    ],
)
def test_answers_that_make_no_credential(client: Build, content: Any, said: str) -> None:
    """What is missing or wrong in an answer is named."""
    with answering(json.dumps(content).encode()) as server:
        provider = client(endpoint_url=f"http://127.0.0.1:{server.server_port}")
        try:
            with pytest.raises(InvalidCredentialError, match=said):
                provider.fetch(timeout=20)
        finally:
            server.shutdown()


@pytest.mark.parametrize("where", ["reason", "code"])
def test_an_echoed_token_is_scrubbed(client: Build, token_file: Path, where: str) -> None:
    """Whatever STS repeats of what it got, in words or codes, no error shows it."""
    token = "canary/of+tokens="
    token_file.write_text(token)
    body = json.dumps({"Code": token, "Message": "no"} if where == "code" else {}).encode()
    with answering(body, 403, token) as server:
        provider = client(endpoint_url=f"http://127.0.0.1:{server.server_port}")
        try:
            with pytest.raises(IssuerRefusedError, match=r"\*{8}") as caught:
                provider.fetch(timeout=20)
        finally:
            server.shutdown()
    assert token not in str(caught.value)


def test_everything_missing_is_named_at_once() -> None:
    """One error names all variables that RRSA should have injected, and the instance."""
    with pytest.raises(ConfigurationError) as missing:
        config({})
    text = str(missing.value)
    for name in ("ROLE_ARN", "OIDC_PROVIDER_ARN", "OIDC_TOKEN_FILE"):
        assert f"ALIBABA_CLOUD_{name}" in text
    assert "MQAUTH_APSARAMQ_RRSA_INSTANCE_ID" in text
    with pytest.raises(ConfigurationError) as one:
        config({"ALIBABA_CLOUD_ROLE_ARN": ROLE}, oidc_provider_arn=IDP, instance_id=INSTANCE)
    assert "ALIBABA_CLOUD_OIDC_TOKEN_FILE" in str(one.value)
    assert "ROLE_ARN" not in str(one.value)


INJECTED = {
    "ALIBABA_CLOUD_ROLE_ARN": ROLE,
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": IDP,
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE": "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token",
}


@pytest.mark.parametrize(
    ("environ", "options", "endpoint"),
    [
        ({}, {}, "https://sts.aliyuncs.com"),
        ({}, {"region": "cn-hangzhou"}, "https://sts.cn-hangzhou.aliyuncs.com"),
        ({}, {"region": "cn-beijing", "vpc": True}, "https://sts-vpc.cn-beijing.aliyuncs.com"),
        (
            {
                "ALIBABA_CLOUD_STS_REGION": "ap-southeast-1",
                "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED": "true",
            },
            {},
            "https://sts-vpc.ap-southeast-1.aliyuncs.com",
        ),
        ({}, {"endpoint_url": "https://sts.internal"}, "https://sts.internal"),
    ],
)
def test_endpoints(environ: dict[str, str], options: dict[str, Any], endpoint: str) -> None:
    """Region and VPC choose the endpoint, from options or from Alibaba Cloud's variables."""
    assert config({**INJECTED, **environ}, instance_id=INSTANCE, **options).endpoint == endpoint


def test_an_option_wins_over_what_rrsa_injects() -> None:
    """What the user writes counts before the pod's environment."""
    chosen = config(INJECTED, instance_id=INSTANCE, role_arn=f"{ROLE}-2")
    assert chosen.role_arn == f"{ROLE}-2"
    assert str(chosen.token_file) == INJECTED["ALIBABA_CLOUD_OIDC_TOKEN_FILE"]


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"instance_id": "a:b"}, "instance_id"),
        ({"role_arn": "arn:aws:iam::123456789012:role/x"}, "role_arn"),
        ({"oidc_provider_arn": ROLE}, "oidc_provider_arn"),
        ({"role_session_name": "a b"}, "role_session_name"),
        ({"role_session_name": "x"}, "role_session_name"),
        ({"duration": 899}, "900 to 43200"),
        ({"policy": "allow all"}, "JSON"),
        ({"policy": json.dumps({"x": "y" * 2048})}, "2048"),
        ({"vpc": True}, "vpc needs the option region"),
        ({"region": "evil.example/"}, "region"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file"),
        ({"ca_file": "/etc/passwd"}, "ca_file /etc/passwd .* holds no PEM certificate"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], rule: str) -> None:
    """An option out of its grammar or range is refused before anything is asked."""
    with pytest.raises(ConfigurationError, match=rule):
        config(INJECTED, **{"instance_id": INSTANCE, **options})


def test_a_token_never_travels_in_clear() -> None:
    """Plain HTTP to another host is refused."""
    with pytest.raises(InsecureTransportError):
        config(INJECTED, instance_id=INSTANCE, endpoint_url="http://sts.internal")


def test_identities_differ_where_credentials_do(client: Build) -> None:
    """Whatever changes the session changes the identity; nothing in it is secret."""
    base = client()
    others = [
        client(instance_id="rabbitmq-other"),
        client(role_session_name="other"),
        client(duration=1000),
        client(policy="{}"),
        client(endpoint_url="https://sts.internal"),
    ]
    identities = {provider.identity for provider in [base, *others]}
    assert len(identities) == 1 + len(others)
    assert client().identity == base.identity


@pytest.mark.parametrize(
    ("host", "derived"),
    [
        (
            "rabbitmq-serverless-cn-uax2.cn-hangzhou.amqp-11.net.mq.amqp.aliyuncs.com",
            {"instance_id": "rabbitmq-serverless-cn-uax2", "region": "cn-hangzhou"},
        ),
        ("xxx.net.mq.amqp.aliyuncs.com.", {"instance_id": "xxx"}),
        (
            "1880770869023420.mq-amqp.cn-hangzhou-249959-a-internal.aliyuncs.com",
            {"instance_id": "1880770869023420", "region": "cn-hangzhou"},
        ),
        (
            "amqp-cn-x.mq-amqp.ap-southeast-1-a.aliyuncs.com",
            {"instance_id": "amqp-cn-x", "region": "ap-southeast-1"},
        ),
        ("rabbit.example.com", {}),
        ("xxx.mq.amqp.aliyuncs.com.evil.example", {}),
    ],
)
def test_what_a_host_name_tells(host: str, derived: dict[str, str]) -> None:
    """Instance and region are read from an endpoint's name, and from no other."""
    assert derived_from_host(host) == derived
