"""AWS's own SDK as the client of the STS endpoint."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import botocore.session
import pytest
import urllib3
from botocore.config import Config
from botocore.exceptions import ClientError
from joserfc import jwt
from joserfc.jwk import KeySet

from mqauth_sandbox.sts import StsEndpoint


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
