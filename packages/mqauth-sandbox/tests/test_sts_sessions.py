"""The STS endpoint knows its user, gives sessions of roles, and refuses what AWS's would."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mqauth_sandbox.sts import StsEndpoint
from sts_sdk import Sdk, refused


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
