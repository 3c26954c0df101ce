"""The parameters of `CreateSession`, checked as the service's model has them.

Source: IAM Roles Anywhere User Guide, "CreateSession API".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from mqauth_sandbox.http import Request
from mqauth_sandbox.rolesanywhere_errors import RolesAnywhereError, invalid

SHORTEST_SESSION = 900
LONGEST_SESSION = 43200
DEFAULT_DURATION = 3600

_IN_QUERY_OR_BODY = ("profileArn", "roleArn", "trustAnchorArn")
_KNOWN = (*_IN_QUERY_OR_BODY, "cert", "durationSeconds", "instanceProperties", "roleSessionName")
_ID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_PATTERNS = {
    "profileArn": rf"arn:aws[a-z-]*:rolesanywhere:[a-z0-9-]+:\d{{12}}:profile/{_ID}",
    "roleArn": r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}",
    "trustAnchorArn": rf"arn:aws[a-z-]*:rolesanywhere:[a-z0-9-]+:\d{{12}}:trust-anchor/{_ID}",
}
_SESSION_NAME = r"[\w+=,.@-]{2,64}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateSession:
    """The parameters of one call.

    Args:
        profile_arn: Profile that names what the session may do.
        role_arn: Role that the session is of.
        trust_anchor_arn: Trust anchor that the certificate's chain leads to.
        duration: Seconds that the session was asked to last.
        role_session_name: What the session is to be called, if anything was asked for.
    """

    profile_arn: str
    role_arn: str
    trust_anchor_arn: str
    duration: int
    role_session_name: str | None

    @classmethod
    def parse(cls, request: Request) -> CreateSession:
        """Return the parameters of `request`.

        Raises:
            RolesAnywhereError: One is missing, unknown, given twice or not of its form.
        """
        values = _values(request)
        for name, pattern in _PATTERNS.items():
            value = values.get(name)
            if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
                raise invalid(f"{name} is missing or is not an ARN of that kind")
        return cls(
            profile_arn=values["profileArn"],
            role_arn=values["roleArn"],
            trust_anchor_arn=values["trustAnchorArn"],
            duration=_duration(values.get("durationSeconds", DEFAULT_DURATION)),
            role_session_name=_session_name(values.get("roleSessionName")),
        )


def check_protocol(request: Request) -> None:
    """Check what comes before any parameter: method, path and content type.

    Raises:
        RolesAnywhereError: It is no call of `CreateSession`.
    """
    if request.path != "/sessions":
        raise RolesAnywhereError("UnknownOperationException", "Unknown operation", 404)
    if request.method != "POST":
        raise RolesAnywhereError("MethodNotAllowedException", "Use POST", 405)
    if request.headers.get_content_type() != "application/json":
        raise RolesAnywhereError(
            "UnsupportedMediaTypeException", "The body must be application/json", 415
        )


def _values(request: Request) -> dict[str, Any]:
    values: dict[str, Any] = _body(request.body)
    for name, value in parse_qsl(request.query, keep_blank_values=True):
        if name in values or name not in _IN_QUERY_OR_BODY:
            raise invalid(f"{name} is unknown in the query or given twice")
        values[name] = value
    unknown = sorted(values.keys() - set(_KNOWN))
    if unknown:
        raise invalid(f"Unknown parameters: {', '.join(unknown)}")
    return values


def _body(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body) if body else {}
    except ValueError:
        raise RolesAnywhereError(
            "SerializationException", "The body is not valid JSON", 400
        ) from None
    if not isinstance(content, dict):
        raise RolesAnywhereError("SerializationException", "The body is no JSON object", 400)
    return content


def _duration(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid("durationSeconds must be a whole number")
    if not SHORTEST_SESSION <= value <= LONGEST_SESSION:
        raise invalid(
            f"durationSeconds must be between {SHORTEST_SESSION} and {LONGEST_SESSION}, not {value}"
        )
    return value


def _session_name(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(_SESSION_NAME, value, re.ASCII):
        raise invalid(f"roleSessionName must satisfy the pattern {_SESSION_NAME}")
    return value
