"""What clients send to Alibaba Cloud's STS, and how it answers: the RPC style of 2015-04-01.

Source: Alibaba Cloud RAM documentation, "AssumeRoleWithOIDC" and the error codes of STS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl
from uuid import uuid4
from xml.sax.saxutils import escape

from mqauth_sandbox.http import Request, Response

VERSION = "2015-04-01"
ACTION = "AssumeRoleWithOIDC"
SHORTEST = 900

_SESSION_NAME = re.compile(r"[A-Za-z0-9.@_-]{2,64}")


class AlibabaError(Exception):
    """An error answer.

    Args:
        code: Such as `AuthenticationFail.NoPermission`.
        message: One sentence.
        status: HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        """Keep what the answer needs."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def content(self) -> dict[str, str]:
        """Return the members of the answer."""
        return {"HostId": "localhost", "Code": self.code, "Message": self.message}


@dataclass(frozen=True, kw_only=True, slots=True)
class AssumeRoleWithOidc:
    """A call of `AssumeRoleWithOIDC`.

    Args:
        provider_arn: The OIDC identity provider.
        role_arn: The role to assume.
        token: The OIDC token.
        session_name: Name of the session.
        duration: Seconds it is to last.
        policy: A policy that narrows the role's, as it was sent.
    """

    provider_arn: str
    role_arn: str
    token: str = field(repr=False)
    session_name: str
    duration: int
    policy: str | None

    @classmethod
    def parse(cls, parameters: Mapping[str, str], *, most_seconds: int) -> Self:
        """Read a call.

        Raises:
            AlibabaError: A parameter is missing or out of bounds.
        """
        if parameters.get("Version") != VERSION:
            raise AlibabaError("InvalidVersion", "Specified parameter Version is not valid.")
        if parameters.get("Action") != ACTION:
            raise AlibabaError("InvalidAction.NotFound", "Specified api is not found.", 404)
        return cls(
            provider_arn=_arn(parameters, "OIDCProviderArn"),
            role_arn=_arn(parameters, "RoleArn"),
            token=parameters.get("OIDCToken", ""),
            session_name=_session_name(parameters),
            duration=_duration(parameters, most_seconds),
            policy=_policy(parameters),
        )


def parameters_of(request: Request) -> dict[str, str]:
    """Return the parameters of a call, from the query and from a form in the body.

    Raises:
        AlibabaError: The token stands in the query, where logs would show it. The real service
            allows that; this one is there to find out.
    """
    query = dict(parse_qsl(request.query))
    if "OIDCToken" in query:
        raise AlibabaError("InvalidParameter.OIDCToken", "The token belongs into the body.")
    return query | dict(parse_qsl(request.body.decode("utf-8", "replace")))


def response(content: Mapping[str, Any], *, name: str, form: str, status: int = 200) -> Response:
    """Return an answer in the format that was asked for; XML unless `form` is JSON.

    Args:
        content: Members of the answer besides `RequestId`.
        name: Name of the XML document.
        form: The parameter `Format`.
        status: HTTP status.
    """
    members = {"RequestId": str(uuid4()).upper(), **content}
    if form.upper() == "JSON":
        body, kind = json.dumps(members), "application/json;charset=utf-8"
    else:
        body = f"<?xml version='1.0' encoding='UTF-8'?><{name}>{_xml(members)}</{name}>"
        kind = "text/xml;charset=utf-8"
    return Response(status=status, body=body.encode(), content_type=kind)


def _xml(members: Mapping[str, Any]) -> str:
    return "".join(
        f"<{name}>{_xml(value) if isinstance(value, Mapping) else escape(str(value))}</{name}>"
        for name, value in members.items()
    )


def _arn(parameters: Mapping[str, str], name: str) -> str:
    value = parameters.get(name)
    if not value:
        raise AlibabaError(f"Missing{name}", f"{name} is mandatory for this action.")
    if not value.startswith("acs:ram::"):
        raise AlibabaError(f"InvalidParameter.{name}", f"The parameter {name} is wrongly formed.")
    return value


def _session_name(parameters: Mapping[str, str]) -> str:
    value = parameters.get("RoleSessionName")
    if value is None:
        raise AlibabaError(
            "MissingRoleSessionName", "RoleSessionName is mandatory for this action."
        )
    if not _SESSION_NAME.fullmatch(value):
        raise AlibabaError(
            "InvalidParameter.RoleSessionName",
            "The parameter RoleSessionName is wrongly formed.",
        )
    return value


def _duration(parameters: Mapping[str, str], most: int) -> int:
    text = parameters.get("DurationSeconds", "3600")
    if not text.isdecimal() or not SHORTEST <= int(text) <= most:
        raise AlibabaError(
            "InvalidParameter.DurationSeconds",
            f"The Min/Max value of DurationSeconds is 15min/{most // 60}min.",
        )
    return int(text)


def _policy(parameters: Mapping[str, str]) -> str | None:
    policy = parameters.get("Policy")
    if policy is None:
        return None
    if not 1 <= len(policy) <= 2048:
        raise AlibabaError("InvalidParameter.PolicySize", "The size of Policy must be 1-2048.")
    try:
        json.loads(policy)
    except ValueError:
        raise AlibabaError(
            "InvalidParameter.PolicyGrammar",
            "The parameter Policy has not passed grammar check.",
        ) from None
    return policy
