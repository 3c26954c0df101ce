"""What clients send to the STS endpoint, checked against the bounds of its service model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, cast

from mqauth_sandbox.awsquery import AwsError, Parameters
from mqauth_sandbox.keys import Algorithm

ALGORITHMS: tuple[Algorithm, ...] = ("RS256", "ES384")
"""What `GetWebIdentityToken` can sign with."""

_NAME = r"[\w+=,.@-]*"
_EXTERNAL_ID = r"[\w+=,.@:\/-]*"


@dataclass(frozen=True, kw_only=True, slots=True)
class AssumeRole:
    """A call of `AssumeRole`.

    Session policies are checked for being JSON, but not evaluated.

    Args:
        role_arn: The role to assume.
        session_name: Name of the session.
        duration: Seconds it is to last.
        external_id: What the role's trust policy may ask for.
        source_identity: Who is behind the session.
        tags: Session tags.
    """

    role_arn: str
    session_name: str
    duration: int
    external_id: str | None
    source_identity: str | None
    tags: Mapping[str, str]

    @classmethod
    def parse(cls, parameters: Parameters) -> Self:
        """Read a call.

        Raises:
            AwsError: A parameter is missing or out of bounds.
        """
        _check_policy(parameters.text("Policy", least=1, most=2048))
        return cls(
            role_arn=parameters.required("RoleArn", least=20, most=2048),
            session_name=parameters.required("RoleSessionName", least=2, most=64, pattern=_NAME),
            duration=parameters.integer("DurationSeconds", least=900, most=43200, default=3600),
            external_id=parameters.text("ExternalId", least=2, most=1224, pattern=_EXTERNAL_ID),
            source_identity=parameters.text("SourceIdentity", least=2, most=64, pattern=_NAME),
            tags=parameters.tags(),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GetWebIdentityToken:
    """A call of `GetWebIdentityToken`.

    Args:
        audiences: Who the token is for.
        algorithm: What to sign it with.
        duration: Seconds it is to live.
        tags: Tags that become claims.
    """

    audiences: list[str]
    algorithm: Algorithm
    duration: int
    tags: Mapping[str, str]

    @classmethod
    def parse(cls, parameters: Parameters) -> Self:
        """Read a call.

        Raises:
            AwsError: A parameter is missing or out of bounds.
        """
        return cls(
            audiences=parameters.members("Audience", most=10, longest=1000),
            algorithm=cast("Algorithm", parameters.required("SigningAlgorithm", one_of=ALGORITHMS)),
            duration=parameters.integer("DurationSeconds", least=60, most=3600, default=300),
            tags=parameters.tags(),
        )


def _check_policy(policy: str | None) -> None:
    if policy is None:
        return
    try:
        json.loads(policy)
    except ValueError:
        raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.") from None
