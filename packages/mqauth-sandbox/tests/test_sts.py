"""The STS endpoint checks and answers what AWS's does, with AWS's own SDK as the client."""

from __future__ import annotations

import logging
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import botocore.session
import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, HTTPClientError
from joserfc import jwt
from joserfc.jwk import KeySet

from mqauth_sandbox.sts import StsEndpoint

AWS = "https://sts.amazonaws.com/"
NAMESPACE = {"sts": "https://sts.amazonaws.com/doc/2011-06-15/"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def sts(tls_files: Any) -> Iterator[StsEndpoint]:
    """Run an endpoint."""
    with StsEndpoint(
        certificate=tls_files.certificate, private_key=tls_files.private_key
    ) as running:
        yield running


@dataclass(frozen=True, kw_only=True)
class Sdk:
    """Makes clients of AWS's SDK, which send everything as it is and never retry."""

    sts: StsEndpoint
    ca: str
    aws: botocore.session.Session
    opened: ExitStack

    def client(self, key: dict[str, Any] | None = None, **overrides: Any) -> Any:
        """Return a client of the user, or of the session whose credentials `key` holds."""
        key = key or {}
        settings = {
            "region_name": self.sts.region,
            "endpoint_url": self.sts.url,
            "verify": self.ca,
            "aws_access_key_id": key.get("AccessKeyId", self.sts.access_key_id),
            "aws_secret_access_key": key.get("SecretAccessKey", self.sts.secret_access_key),
            "aws_session_token": key.get("SessionToken"),
            "config": Config(parameter_validation=False, retries={"total_max_attempts": 1}),
        }
        client = self.aws.create_client("sts", **{**settings, **overrides})
        self.opened.callback(client.close)
        return client

    def session(self, **parameters: Any) -> dict[str, Any]:
        """Assume the role and return the session's credentials."""
        answer = self.client().assume_role(
            **{"RoleArn": self.sts.role_arn, "RoleSessionName": "worker", **parameters}
        )
        credentials: dict[str, Any] = answer["Credentials"]
        return credentials


@pytest.fixture(scope="module")
def aws() -> botocore.session.Session:
    """Load the SDK's service models once."""
    return botocore.session.get_session()


@pytest.fixture
def sdk(sts: StsEndpoint, tls_files: Any, aws: botocore.session.Session) -> Iterator[Sdk]:
    """Give AWS's SDK, pointed at the endpoint."""
    with ExitStack() as opened:
        yield Sdk(sts=sts, ca=str(tls_files.ca), aws=aws, opened=opened)


def refused(call: Callable[..., Any], **parameters: Any) -> tuple[str, int, str]:
    """Return code, status and message of the error that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    response: Any = caught.value.response
    error = response["Error"]
    return error["Code"], response["ResponseMetadata"]["HTTPStatusCode"], error["Message"]


def ask_token(client: Any, **parameters: Any) -> dict[str, Any]:
    """Ask for a web identity token."""
    answer: dict[str, Any] = client.get_web_identity_token(
        **{"Audience": ["rabbitmq"], "SigningAlgorithm": "RS256", **parameters}
    )
    return answer


def verified(sdk: Sdk, token: str, algorithm: str = "RS256") -> dict[str, Any]:
    """Return the claims of a token once its signature proves right by the published keys."""
    with urllib3.PoolManager(ca_certs=sdk.ca) as http:
        keys = KeySet.import_key_set(http.request("GET", sdk.sts.jwks_uri).json())
    return jwt.decode(token, keys, algorithms=[algorithm]).claims


def test_the_user_is_known(sts: StsEndpoint, sdk: Sdk) -> None:
    """`GetCallerIdentity` names the user behind the long-term key."""
    answer = sdk.client().get_caller_identity()
    assert (answer["Account"], answer["Arn"]) == (sts.account_id, sts.user_arn)
    assert answer["UserId"].startswith("AIDA")
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]


def test_a_role_can_be_assumed(sts: StsEndpoint, sdk: Sdk) -> None:
    """`AssumeRole` gives temporary credentials, and they are those of the role."""
    answer = sdk.client().assume_role(
        RoleArn=sts.role_arn, RoleSessionName="worker", DurationSeconds=900
    )
    credentials = answer["Credentials"]
    identity = sdk.client(credentials).get_caller_identity()
    life = (credentials["Expiration"] - datetime.now(UTC)).total_seconds()
    assert credentials["AccessKeyId"].startswith("ASIA")
    assert 890 < life <= 900
    assert answer["AssumedRoleUser"] == {
        "AssumedRoleId": identity["UserId"],
        "Arn": identity["Arn"],
    }
    assert identity["Arn"] == (
        f"arn:aws:sts::{sts.account_id}:assumed-role/RabbitMqAdminRole/worker"
    )


@pytest.mark.parametrize("algorithm", ["RS256", "ES384"])
def test_a_role_gets_web_identity_tokens(sts: StsEndpoint, sdk: Sdk, algorithm: str) -> None:
    """A web identity token is signed as asked and says what AWS's documentation lists."""
    session = sdk.session(Tags=[{"Key": "team", "Value": "data"}], SourceIdentity="admin-user")
    answer = ask_token(
        sdk.client(session),
        SigningAlgorithm=algorithm,
        DurationSeconds=120,
        Tags=[{"Key": "scope", "Value": "rabbitmq/tag:administrator"}],
    )
    claims = verified(sdk, answer["WebIdentityToken"], algorithm)
    assert claims.pop("iat") == pytest.approx(time.time(), abs=5)
    assert claims.pop("exp") == answer["Expiration"].timestamp()
    assert answer["Expiration"].timestamp() == pytest.approx(time.time() + 120, abs=5)
    assert claims.pop("jti")
    assert claims == {
        "iss": sts.issuer_url,
        "sub": sts.role_arn,
        "aud": "rabbitmq",
        AWS: {
            "aws_account": sts.account_id,
            "source_region": "eu-west-1",
            "principal_tags": {"team": "data"},
            "original_session_exp": session["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ"),
            "source_identity": "admin-user",
            "request_tags": {"scope": "rabbitmq/tag:administrator"},
        },
    }
    assert sts.fetches == 1


def test_a_user_gets_web_identity_tokens_too(sts: StsEndpoint, sdk: Sdk) -> None:
    """Without a role the token names the user, and lives five minutes by default."""
    claims = verified(sdk, ask_token(sdk.client(), Audience=["a", "b"])["WebIdentityToken"])
    assert (claims["sub"], claims["aud"]) == (sts.user_arn, ["a", "b"])
    assert claims["exp"] - claims["iat"] == 300
    assert claims[AWS] == {"aws_account": sts.account_id, "source_region": "eu-west-1"}


def test_tokens_can_live_shorter_than_aws_allows(sts: StsEndpoint, sdk: Sdk) -> None:
    """A demo may have tokens of 15 seconds, which the answer then says."""
    sts.token_lifetime_override = 15
    answer = ask_token(sdk.client(), DurationSeconds=300)
    claims = verified(sdk, answer["WebIdentityToken"])
    assert claims["exp"] - claims["iat"] == 15
    assert answer["Expiration"].timestamp() == claims["exp"]


def test_the_issuer_of_the_tokens_can_be_discovered(sts: StsEndpoint, sdk: Sdk) -> None:
    """Discovery and keys stand under the issuer's own URL, and outlive a rotation."""
    old = ask_token(sdk.client(), SigningAlgorithm="ES384")["WebIdentityToken"]
    with urllib3.PoolManager(ca_certs=sdk.ca) as http:
        url = sts.issuer_url + "/.well-known/openid-configuration"
        document = http.request("GET", url).json()
        missing = http.request("GET", sts.url + "/nothing")
    sts.rotate_keys()
    assert (document["issuer"], document["jwks_uri"]) == (sts.issuer_url, sts.jwks_uri)
    assert document["id_token_signing_alg_values_supported"] == ["RS256", "ES384"]
    assert (missing.status, missing.json()["error"]) == (404, "not_found")
    assert verified(sdk, old, "ES384")["iss"] == sts.issuer_url


INVALID_TOKEN = ("InvalidClientTokenId", 403)
MISMATCH = ("SignatureDoesNotMatch", 403)


@pytest.mark.parametrize(
    ("overrides", "expected", "message"),
    [
        ({"aws_secret_access_key": "wrong"}, MISMATCH, "we calculated does not match"),
        ({"aws_access_key_id": "AKIAUNKNOWN"}, INVALID_TOKEN, "token included in the request"),
        ({"aws_session_token": "invented"}, INVALID_TOKEN, "token included in the request"),
        ({"region_name": "us-east-1"}, MISMATCH, "scoped to a valid region"),
    ],
)
def test_wrong_credentials_are_refused(
    sdk: Sdk, overrides: dict[str, Any], expected: tuple[str, int], message: str
) -> None:
    """Each wrong part of the credentials gets AWS's own error."""
    code, status, text = refused(sdk.client(**overrides).get_caller_identity)
    assert (code, status) == expected
    assert message in text


def test_a_sessions_key_needs_its_own_token(sts: StsEndpoint, sdk: Sdk) -> None:
    """A temporary key without its token, or with another session's, is unknown."""
    session, other = sdk.session(), sdk.session()
    bare = {**session, "SessionToken": None}
    swapped = {**session, "SessionToken": other["SessionToken"]}
    assert refused(sdk.client(bare).get_caller_identity)[:2] == INVALID_TOKEN
    assert refused(sdk.client(swapped).get_caller_identity)[:2] == INVALID_TOKEN
    assert [call.outcome for call in sts.calls[-2:]] == ["InvalidClientTokenId"] * 2


def test_a_session_ends(sts: StsEndpoint, sdk: Sdk) -> None:
    """Once a session has run out its key is refused as expired."""
    sts.session_lifetime = 60
    client = sdk.client(sdk.session(DurationSeconds=3600))
    client.get_caller_identity()
    sts.faults.clock_skew = 61
    assert refused(client.get_caller_identity)[:2] == ("ExpiredToken", 403)


@pytest.mark.parametrize("skew", [880, -880])
def test_clocks_may_differ_by_less_than_fifteen_minutes(
    sts: StsEndpoint, sdk: Sdk, skew: float
) -> None:
    """A signature is good for a quarter of an hour around the endpoint's clock."""
    sts.faults.clock_skew = skew
    assert sdk.client().get_caller_identity()["Arn"] == sts.user_arn


@pytest.mark.parametrize(
    ("skew", "message"), [(920, "Signature expired: "), (-920, "Signature not yet current: ")]
)
def test_clocks_may_not_differ_by_more(
    sts: StsEndpoint, sdk: Sdk, skew: float, message: str
) -> None:
    """An older or a younger signature is refused, and the refusal says which it was."""
    sts.faults.clock_skew = skew
    code, status, text = refused(sdk.client().get_caller_identity)
    assert (code, status) == MISMATCH
    assert text.startswith(message)


def test_skew_moves_what_the_endpoint_issues(sts: StsEndpoint, sdk: Sdk) -> None:
    """The endpoint's clock decides the times in tokens and sessions."""
    sts.faults.clock_skew = 300
    answer = ask_token(sdk.client(sdk.session()))
    claims = verified(sdk, answer["WebIdentityToken"])
    assert claims["iat"] == pytest.approx(time.time() + 300, abs=5)


class Tampered:
    """Signs a call as the SDK does, lets a test change it, and sends it."""

    def __init__(self, sdk: Sdk) -> None:
        """Make a call that would be accepted."""
        self._sdk = sdk
        self.service, self.region = "sts", sdk.sts.region
        self.method = "POST"
        self.target = "/"
        self.body = urlencode({"Action": "GetCallerIdentity", "Version": "2011-06-15"}).encode()
        self.headers: dict[str, str] = {"Content-Type": FORM}

    def sign(self, secret: str | None = None) -> Tampered:
        """Sign with the user's key."""
        sts = self._sdk.sts
        request = AWSRequest(
            method=self.method, url=sts.url + self.target, data=self.body, headers=self.headers
        )
        credentials = Credentials(sts.access_key_id, secret or sts.secret_access_key)
        SigV4Auth(credentials, self.service, self.region).add_auth(request)
        self.headers = dict(request.headers.items())
        return self

    def replace(self, old: str, new: str) -> Tampered:
        """Change a part of the Authorization header."""
        assert old in self.headers["Authorization"]
        self.headers["Authorization"] = self.headers["Authorization"].replace(old, new, 1)
        return self

    def send(self) -> tuple[int, str, str]:
        """Return status, error code and message of the answer."""
        with urllib3.PoolManager(ca_certs=self._sdk.ca, retries=False) as http:
            answer = http.request(
                self.method,
                self._sdk.sts.url + self.target,
                body=self.body,
                headers=self.headers,
            )
        root = ET.fromstring(answer.data)  # noqa: S314 - our own endpoint's
        code = root.findtext("sts:Error/sts:Code", "", NAMESPACE)
        return answer.status, code, root.findtext("sts:Error/sts:Message", "", NAMESPACE)


@pytest.fixture
def tampered(sdk: Sdk) -> Tampered:
    """Give a call to tamper with."""
    return Tampered(sdk)


def test_an_untouched_signature_is_accepted(tampered: Tampered) -> None:
    """What the next tests change was right before they changed it."""
    assert tampered.sign().send() == (200, "", "")


def test_a_signed_get_is_accepted(tampered: Tampered) -> None:
    """The query protocol works with GET as well, its parameters in the URL."""
    tampered.method, tampered.body = "GET", b""
    tampered.target = "/?Version=2011-06-15&Action=GetCallerIdentity"
    assert tampered.sign().send() == (200, "", "")


def test_a_changed_body_is_noticed(tampered: Tampered) -> None:
    """The signature covers the body."""
    tampered.sign().body += b"&X=1"
    assert tampered.send()[:2] == (403, "SignatureDoesNotMatch")


def test_a_changed_target_is_noticed(tampered: Tampered) -> None:
    """The signature covers the query."""
    tampered.sign().target = "/?X=1"
    assert tampered.send()[:2] == (403, "SignatureDoesNotMatch")


def test_a_body_hash_is_not_believed(tampered: Tampered) -> None:
    """A client cannot declare its payload unsigned."""
    tampered.headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    assert tampered.sign().send()[:2] == (403, "SignatureDoesNotMatch")


def test_a_changed_header_is_noticed(tampered: Tampered) -> None:
    """The signature covers the headers it lists, by value and by name."""
    tampered.sign().headers["Content-Type"] = FORM + "; charset=utf-8"
    assert tampered.send()[:2] == (403, "SignatureDoesNotMatch")


def test_host_has_to_be_signed(tampered: Tampered) -> None:
    """A signature without the host could be replayed elsewhere."""
    status, code, message = tampered.sign().replace("host;", "").send()
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert "'Host'" in message


def test_every_amz_header_has_to_be_signed(tampered: Tampered) -> None:
    """A header that means something to AWS may not be slipped in."""
    tampered.sign().headers["X-Amz-Security-Token"] = "slipped in"
    status, code, message = tampered.send()
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert "x-amz-security-token" in message


def test_the_scope_names_the_service(tampered: Tampered) -> None:
    """A signature for another service is refused, whatever its arithmetic."""
    tampered.service = "s3"
    status, code, message = tampered.sign().send()
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert message == "Credential should be scoped to correct service: 'sts'. "


def test_all_that_is_wrong_with_the_scope_is_said_at_once(tampered: Tampered) -> None:
    """Region and service are both named when both are wrong."""
    tampered.service, tampered.region = "s3", "us-west-2"
    message = tampered.sign().send()[2]
    assert "valid region" in message
    assert "correct service" in message


def test_the_scope_ends_as_it_must(tampered: Tampered) -> None:
    """The scope's last part is the version of the scheme."""
    message = tampered.sign().replace("aws4_request", "aws5_request").send()[2]
    assert "valid terminator: 'aws4_request'" in message


def test_the_scopes_date_is_the_requests(tampered: Tampered) -> None:
    """A scope of another day is refused."""
    day = datetime.now(UTC).strftime("/%Y%m%d/")
    status, code, message = tampered.sign().replace(day, "/20200101/").send()
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert "Date in Credential scope does not match" in message


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("AWS4-HMAC-SHA256 ", "Bearer ", "Unsupported AWS 'algorithm': 'Bearer'"),
        ("Credential=", "C=", "requires 'Credential' parameter"),
        ("SignedHeaders=", "S=", "requires 'SignedHeaders' parameter"),
        ("Signature=", "S=", "requires 'Signature' parameter"),
        ("/sts/aws4_request", "/aws4_request", "exactly 5 slash-delimited elements"),
        ("content-type;host;", "host;content-type;", "sorted"),
    ],
)
def test_malformed_authorization_is_incomplete(
    tampered: Tampered, old: str, new: str, named: str
) -> None:
    """What is no SigV4 header at all is refused before any arithmetic."""
    status, code, message = tampered.sign().replace(old, new).send()
    assert (status, code) == (400, "IncompleteSignature")
    assert named in message


@pytest.mark.parametrize("date", [None, "today", "20261399T000000Z"])
def test_the_time_has_to_be_readable(tampered: Tampered, date: str | None) -> None:
    """A request without a time, or with one that is none, is incomplete."""
    del tampered.sign().headers["X-Amz-Date"]
    if date is not None:
        tampered.headers["X-Amz-Date"] = date
    assert tampered.send()[:2] == (400, "IncompleteSignature")


def test_an_unsigned_request_is_refused(tampered: Tampered) -> None:
    """Nothing is answered without a signature."""
    assert tampered.send()[:2] == (403, "MissingAuthenticationToken")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"Action=GetSessionToken&Version=2011-06-15", "InvalidAction"),
        (b"Action=GetCallerIdentity&Version=2010-01-01", "InvalidAction"),
        (b"Action=GetCallerIdentity", "InvalidAction"),
        (b"Version=2011-06-15", "MissingAction"),
        (b"Action=AssumeRole&Version=2011-06-15", "ValidationError"),
        (b"Action=GetWebIdentityToken&Version=2011-06-15", "ValidationError"),
    ],
)
def test_unknown_actions_are_refused(tampered: Tampered, body: bytes, code: str) -> None:
    """An action or version that is not there, and one without its parameters, are errors."""
    tampered.body = body
    assert tampered.sign().send()[:2] == (400, code)


def test_an_undecodable_body_is_refused(tampered: Tampered) -> None:
    """A body that is no text is malformed, signed or not."""
    tampered.body = b"Action=\xff"
    assert tampered.sign().send()[1] == "MalformedQueryString"


ROLE = {"RoleArn": "arn:aws:iam::123456789012:role/RabbitMqAdminRole", "RoleSessionName": "me"}


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"DurationSeconds": 899}, "'durationSeconds'"),
        ({"DurationSeconds": 43201}, "'durationSeconds'"),
        ({"RoleSessionName": "m"}, "'roleSessionName'"),
        ({"RoleSessionName": "not a name"}, "'roleSessionName'"),
        ({"RoleSessionName": "m" * 65}, "'roleSessionName'"),
        ({"RoleArn": "arn"}, "'roleArn'"),
        ({"ExternalId": "x"}, "'externalId'"),
        ({"SourceIdentity": "a b"}, "'sourceIdentity'"),
        ({"Tags": [{"Key": "k" * 129, "Value": ""}]}, "'tags.member.1.Key'"),
        ({"Tags": [{"Key": str(n), "Value": ""} for n in range(51)]}, "'tags'"),
    ],
)
def test_assume_role_has_bounds(sdk: Sdk, parameters: dict[str, Any], named: str) -> None:
    """Parameters outside the service model's bounds are named in a ValidationError."""
    code, status, message = refused(sdk.client().assume_role, **{**ROLE, **parameters})
    assert (code, status) == ("ValidationError", 400)
    assert named in message


def test_the_role_limits_its_sessions(sts: StsEndpoint, sdk: Sdk) -> None:
    """A session may not be longer than the role allows, nor than an hour out of another one."""
    sts.max_session_duration = 7200
    long = {**ROLE, "DurationSeconds": 7201}
    assert "MaxSessionDuration" in refused(sdk.client().assume_role, **long)[2]
    chained = sdk.client(sdk.session()).assume_role
    assert "role chaining" in refused(chained, **{**ROLE, "DurationSeconds": 3601})[2]
    assert chained(**ROLE)["Credentials"]["AccessKeyId"].startswith("ASIA")


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"Policy": "{"}, "MalformedPolicyDocument"),
        (
            {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]},
            "InvalidParameterValue",
        ),
    ],
)
def test_assume_role_reads_what_it_is_given(
    sdk: Sdk, parameters: dict[str, Any], code: str
) -> None:
    """A policy that is no JSON and a tag that comes twice are refused."""
    assert refused(sdk.client().assume_role, **{**ROLE, **parameters})[:2] == (code, 400)


def test_other_roles_are_denied(sts: StsEndpoint, sdk: Sdk) -> None:
    """A role that does not exist is denied in the words of one that does not trust the user."""
    other = "arn:aws:iam::123456789012:role/Other"
    code, status, message = refused(sdk.client().assume_role, RoleArn=other, RoleSessionName="me")
    assert (code, status) == ("AccessDenied", 403)
    assert message == (
        f"User: {sts.user_arn} is not authorized to perform: sts:AssumeRole on resource: {other}"
    )


def test_an_external_id_can_be_asked_for(sts: StsEndpoint, sdk: Sdk) -> None:
    """A role that wants an external id is denied without it and with another."""
    sts.external_id = "tenant-7"
    assume = sdk.client().assume_role
    assert refused(assume, **ROLE)[:2] == ("AccessDenied", 403)
    assert refused(assume, **ROLE, ExternalId="tenant-8")[:2] == ("AccessDenied", 403)
    assert assume(**ROLE, ExternalId="tenant-7")["Credentials"]


@pytest.mark.parametrize(
    ("action", "call", "parameters"),
    [
        ("sts:AssumeRole", "assume_role", ROLE),
        ("sts:TagSession", "assume_role", {**ROLE, "Tags": [{"Key": "a", "Value": "b"}]}),
        ("sts:GetWebIdentityToken", "get_web_identity_token", {}),
        (
            "sts:TagGetWebIdentityToken",
            "get_web_identity_token",
            {"Tags": [{"Key": "a", "Value": "b"}]},
        ),
    ],
)
def test_policies_can_deny(
    sts: StsEndpoint, sdk: Sdk, action: str, call: str, parameters: dict[str, Any]
) -> None:
    """An action that policies deny is refused by name, tags being an action of their own."""
    sts.denied_actions.add(action)
    if call == "get_web_identity_token":
        parameters = {"Audience": ["a"], "SigningAlgorithm": "RS256", **parameters}
    code, status, message = refused(getattr(sdk.client(), call), **parameters)
    assert (code, status) == ("AccessDenied", 403)
    assert f"is not authorized to perform: {action} on resource: arn:aws:" in message


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"Audience": []}, "'audience'"),
        ({"Audience": [""]}, "'audience'"),
        ({"Audience": ["a" * 1001]}, "'audience'"),
        ({"Audience": [str(n) for n in range(11)]}, "'audience'"),
        ({"SigningAlgorithm": "HS256"}, "'signingAlgorithm'"),
        ({"DurationSeconds": 59}, "'durationSeconds'"),
        ({"DurationSeconds": 3601}, "'durationSeconds'"),
        ({"Tags": [{"Key": str(n), "Value": ""} for n in range(51)]}, "'tags'"),
    ],
)
def test_web_identity_tokens_have_bounds(
    sts: StsEndpoint, sdk: Sdk, parameters: dict[str, Any], named: str
) -> None:
    """Parameters outside the service model's bounds are named in a ValidationError."""
    code, status, message = refused(ask_token, client=sdk.client(), **parameters)
    assert (code, status) == ("ValidationError", 400)
    assert named in message
    assert sts.fetches == 0


def test_federation_has_to_be_enabled(sts: StsEndpoint, sdk: Sdk) -> None:
    """An account without outbound federation gets AWS's error for that."""
    sts.federation_enabled = False
    client = sdk.client()
    with pytest.raises(client.exceptions.OutboundWebIdentityFederationDisabledException):
        ask_token(client)


def test_a_token_may_not_outlive_its_session(sts: StsEndpoint, sdk: Sdk) -> None:
    """A token that would end after its session is refused; a shorter one is not."""
    sts.session_lifetime = 200
    client = sdk.client(sdk.session())
    with pytest.raises(client.exceptions.SessionDurationEscalationException):
        ask_token(client, DurationSeconds=300)
    assert ask_token(client, DurationSeconds=100)["WebIdentityToken"]


def test_a_payload_can_be_too_large(sts: StsEndpoint, sdk: Sdk) -> None:
    """Tags that make the payload larger than allowed are refused."""
    sts.max_payload_bytes = 1000
    client = sdk.client()
    assert ask_token(client)["WebIdentityToken"]
    with pytest.raises(client.exceptions.JWTPayloadSizeExceededException):
        ask_token(client, Tags=[{"Key": str(n), "Value": "v" * 250} for n in range(4)])


def test_the_global_endpoint_has_no_web_identity_tokens(sts: StsEndpoint, sdk: Sdk) -> None:
    """As in AWS, only regional endpoints issue them."""
    sts.global_endpoint = True
    assert refused(ask_token, client=sdk.client())[:2] == ("InvalidAction", 400)
    assert sdk.client().get_caller_identity()["Arn"] == sts.user_arn


def test_throttling_is_what_the_sdk_takes_for_it(sts: StsEndpoint, sdk: Sdk) -> None:
    """The SDK sees `Throttling` and retries it by itself."""
    sts.faults.mode = "throttle"
    assert refused(sdk.client().get_caller_identity)[:2] == ("Throttling", 400)
    retrying = sdk.client(config=Config(retries={"total_max_attempts": 2, "mode": "standard"}))
    refused(retrying.get_caller_identity)
    assert [call.outcome for call in sts.calls] == ["throttle"] * 3


def test_an_internal_error_is_aws_own(sts: StsEndpoint, sdk: Sdk) -> None:
    """`error500` is AWS's InternalFailure."""
    sts.faults.mode = "error500"
    assert refused(sdk.client().get_caller_identity)[:2] == ("InternalFailure", 500)


def test_the_sdk_sees_an_endpoint_that_is_down(sts: StsEndpoint, sdk: Sdk) -> None:
    """`down` is a failed connection to the SDK."""
    sts.faults.mode = "down"
    with pytest.raises(HTTPClientError):
        sdk.client().get_caller_identity()


def test_tokens_can_be_bad(sts: StsEndpoint, sdk: Sdk) -> None:
    """`not_jwt` and `expired` spoil web identity tokens and leave sessions alone."""
    client = sdk.client()
    with sts.faults.during("not_jwt"):
        assert "." not in ask_token(client)["WebIdentityToken"]
    with sts.faults.during("expired"):
        assert sdk.client(sdk.session()).get_caller_identity()
        answer = ask_token(client)
    claims = verified(sdk, answer["WebIdentityToken"])
    assert claims["exp"] == pytest.approx(time.time() - 60, abs=5)
    assert answer["Expiration"].timestamp() == claims["exp"]
    assert sts.fetches == 0


def test_calls_are_counted(sts: StsEndpoint, sdk: Sdk) -> None:
    """The log names each action and how it ended, and only tokens count as fetches."""
    client = sdk.client(sdk.session())
    ask_token(client)
    refused(ask_token, client=client, DurationSeconds=1)
    client.get_caller_identity()
    assert [(call.action, call.outcome) for call in sts.calls] == [
        ("AssumeRole", "ok"),
        ("GetWebIdentityToken", "ok"),
        ("GetWebIdentityToken", "ValidationError"),
        ("GetCallerIdentity", "ok"),
    ]
    assert (sts.fetches, sts.requests) == (1, 4)
    assert sts.wait_for_fetches(1, timeout=0)


def test_secrets_stay_out_of_sight(
    sts: StsEndpoint, sdk: Sdk, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the sandbox's log at DEBUG nor any repr shows a key, a session or a token."""
    caplog.set_level(logging.DEBUG, logger="mqauth_sandbox")
    session = sdk.session()
    token = ask_token(sdk.client(session))["WebIdentityToken"]
    keys = sts._ring._keys.values()
    seen = caplog.text + repr(sts) + repr(sts.calls) + repr(list(keys))
    assert "POST / -> 200" in seen
    for secret in (
        sts.secret_access_key,
        session["SecretAccessKey"],
        session["SessionToken"],
        token,
    ):
        assert secret not in seen
