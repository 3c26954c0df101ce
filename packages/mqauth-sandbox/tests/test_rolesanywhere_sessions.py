"""What the Roles Anywhere endpoint accepts, and what the sessions are good for."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mqauth_sandbox.pki import KeyType, Pki, can_make
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from mqauth_sandbox.sandbox import Sandbox
from rolesanywhere_calls import Call, refusal, sts_of


def makeable(*kinds: KeyType) -> list[Any]:
    """Return parameters for key types; those that this cryptography cannot make are skipped."""
    reason = "this release of cryptography has no ML-DSA"
    return [
        pytest.param(kind, marks=pytest.mark.skipif(not can_make(kind), reason=reason))
        for kind in kinds
    ]


KEY_TYPES = makeable("rsa-2048", "ec-p256", "ec-p384", "ec-p521", "ml-dsa-65")


@pytest.mark.parametrize("key", KEY_TYPES)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_accepts_every_kind_of_key_and_chain(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki, key: KeyType, depth: int
) -> None:
    """Every key type of the service opens a session, alone and below intermediates."""
    status, body, _ = Call(mqauth_pki.issue(key, depth=depth), mqauth_rolesanywhere).send()
    assert status == 201, body
    (session,) = body["credentialSet"]
    assert set(session["credentials"]) == {
        "accessKeyId",
        "secretAccessKey",
        "sessionToken",
        "expiration",
    }


@pytest.mark.parametrize("root", makeable("rsa-2048", "ec-p384", "ml-dsa-87"))
def test_accepts_every_kind_of_authority(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, root: KeyType
) -> None:
    """Authorities of every key type are followed."""
    pki = Pki(root)
    mqauth_rolesanywhere.trust(pki.root)
    status, body, _ = Call(pki.issue(depth=3), mqauth_rolesanywhere).send()
    assert status == 201, body


def test_arns_in_the_body_do_as_well(call: Call) -> None:
    """The three ARNs may stand in the body instead of the query."""
    status, body, _ = replace(call, in_body=True).send()
    assert status == 201, body


def test_intermediate_as_anchor(call: Call) -> None:
    """A trust anchor that holds the intermediate needs no chain, and does not mind one."""
    call.endpoint.trust(*call.identity.chain)
    assert call.send()[0] == 201
    assert replace(call, drop_chain=True).send()[0] == 201


def test_sessions_are_good_for_sts_until_they_expire(call: Call) -> None:
    """What was issued signs calls to STS, for as long as it lives on the endpoints' clock."""
    (session,) = call.send()[1]["credentialSet"]
    client = sts_of(call.endpoint, session)
    assert client.get_caller_identity()["Arn"] == session["assumedRoleUser"]["arn"]
    token = client.get_web_identity_token(Audience=["me"], SigningAlgorithm="ES384")
    assert token["WebIdentityToken"].count(".") == 2
    role = {"RoleArn": call.endpoint.sts.role_arn, "RoleSessionName": "on"}
    chained = client.assume_role(**role, DurationSeconds=900)
    assert chained["Credentials"]["AccessKeyId"].startswith("ASIA")
    call.endpoint.sts.faults.clock_skew = 890  # botocore's own clock is within 15 minutes of it
    assert client.get_caller_identity()
    call.endpoint.sts.faults.clock_skew = 0
    call.endpoint.session_lifetime = 0.0
    (session,) = call.send()[1]["credentialSet"]
    with pytest.raises(ClientError, match="ExpiredToken"):
        sts_of(call.endpoint, session).get_caller_identity()


def test_switches_of_profile_and_anchor(call: Call) -> None:
    """Disabled resources open no session; a profile may accept names and bound the duration."""
    call.endpoint.accept_role_session_name = True
    call.endpoint.profile_duration = 1000
    named = replace(call, parameters={"roleSessionName": "me", "durationSeconds": 3600})
    (session,) = named.send()[1]["credentialSet"]
    assert session["assumedRoleUser"]["arn"].endswith("/me")
    expires = datetime.fromisoformat(session["credentials"]["expiration"])
    assert expires - datetime.now(UTC) < timedelta(seconds=1001)
    call.endpoint.profile_enabled = False
    assert refusal(call)[2] == "Profile is disabled"
    call.endpoint.profile_enabled, call.endpoint.trust_anchor_enabled = True, False
    assert refusal(call)[2] == "Trust anchor is disabled"


def test_other_partitions(call: Call) -> None:
    """Region and partition can be changed, and everything has to agree with them."""
    call.endpoint.region, call.endpoint.partition = "cn-north-1", "aws-cn"
    assert call.endpoint.trust_anchor_arn.startswith("arn:aws-cn:rolesanywhere:cn-north-1:")
    assert call.send()[0] == 201


def test_the_official_helper_is_accepted(
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    mqauth_pki: Pki,
    mqauth_official_helper: Path,
    tmp_path: Path,
) -> None:
    """AWS's own helper opens a session, so the endpoint is no stricter than its clients."""
    files = mqauth_pki.issue("ec-p256", depth=3).write(tmp_path)
    command = [str(mqauth_official_helper), "credential-process"]
    result = subprocess.run(
        [*command, *mqauth_rolesanywhere.arguments(), *files.arguments()],
        env={"AWS_CA_BUNDLE": str(mqauth_rolesanywhere.ca_file), "HOME": str(tmp_path)},
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert json.loads(result.stdout)["AccessKeyId"].startswith("ASIA")


def test_part_of_the_sandbox() -> None:
    """A sandbox has the endpoint, an authority that it trusts, and one STS for all."""
    with Sandbox(broker="amqp://localhost:1") as sandbox:
        endpoint = sandbox.roles_anywhere
        assert sandbox.environment()["AWS_ENDPOINT_URL_ROLESANYWHERE"] == endpoint.url
        (session,) = Call(sandbox.pki.issue(depth=2), endpoint).send()[1]["credentialSet"]
        assert endpoint.sts is sandbox.sts
        assert sts_of(endpoint, session).get_caller_identity()["Account"] == endpoint.account_id
