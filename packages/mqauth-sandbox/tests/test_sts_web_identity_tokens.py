"""Web identity tokens of the STS endpoint: what they say, and when AWS gives none."""

from __future__ import annotations

import time
from typing import Any

import pytest
import urllib3

from mqauth_sandbox.sts import StsEndpoint
from sts_sdk import Sdk, ask_token, refused, verified

AWS = "https://sts.amazonaws.com/"


@pytest.mark.parametrize("algorithm", ["RS256", "ES384"])
def test_a_role_gets_web_identity_tokens(sts: StsEndpoint, sdk: Sdk, algorithm: str) -> None:
    """A web identity token is signed as asked and says what AWS's documentation lists."""
    session = sdk.session(Tags=[{"Key": "team", "Value": "data"}], SourceIdentity="admin-user")
    before = int(time.time())
    answer = ask_token(
        sdk.client(session),
        SigningAlgorithm=algorithm,
        DurationSeconds=120,
        Tags=[{"Key": "scope", "Value": "rabbitmq/tag:administrator"}],
    )
    claims = verified(sdk, answer["WebIdentityToken"], algorithm)
    assert before <= claims.pop("iat") <= time.time()
    assert claims.pop("exp") == answer["Expiration"].timestamp()
    assert before + 120 <= answer["Expiration"].timestamp() <= time.time() + 120
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


def test_skew_moves_what_the_endpoint_issues(sts: StsEndpoint, sdk: Sdk) -> None:
    """The endpoint's clock decides the times in tokens and sessions."""
    sts.faults.clock_skew = 300
    before = int(time.time())
    answer = ask_token(sdk.client(sdk.session()))
    claims = verified(sdk, answer["WebIdentityToken"])
    assert before + 300 <= claims["iat"] <= time.time() + 300


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
