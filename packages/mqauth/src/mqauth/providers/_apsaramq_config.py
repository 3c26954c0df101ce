"""Options of the `apsaramq-rrsa` provider, checked."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mqauth.config.option_values import parse_bool
from mqauth.config.options import environment_name
from mqauth.errors import ConfigurationError
from mqauth.provider import Option
from mqauth.providers._ca_file import check_ca_file
from mqauth.providers._urls import check_url

PROVIDER = "apsaramq-rrsa"
SHORTEST, LONGEST = 900, 43200
"""Seconds that `AssumeRoleWithOIDC` lets a session live, the role's own maximum aside."""

SESSION_NAME = "mqauth"
LONGEST_POLICY = 2048
CENTRAL_ENDPOINT = "https://sts.aliyuncs.com"

_SESSION_NAME = re.compile(r"[A-Za-z0-9.@_-]{2,64}")
_REGION = re.compile(r"[a-z]{2}-[a-z0-9-]+")
_INSTANCE = re.compile(r"[A-Za-z0-9_-]+")
_ROLE_ARN = re.compile(r"acs:ram::\w+:role/\S+")
_PROVIDER_ARN = re.compile(r"acs:ram::\w+:oidc-provider/\S+")

OPTIONS = (
    Option(
        name="instance_id",
        help="the broker instance's id, or the account's for older ones; the broker's host name "
        "tells it",
    ),
    Option(name="role_arn", help="the RAM role to assume"),
    Option(name="oidc_provider_arn", help="the OIDC identity provider that the role trusts"),
    Option(name="token_file", help="the file of the OIDC token"),
    Option(name="region", help="the region whose STS is asked; the central one, if not known"),
    Option(name="vpc", default=False, help="whether to ask the region's STS inside of the VPC"),
    Option(name="endpoint_url", help="another URL for STS"),
    Option(name="role_session_name", help="the name of the role's session, mqauth if not given"),
    Option(
        name="policy",
        several_lines=True,
        help="a policy in JSON that narrows what the role may do",
    ),
    Option(
        name="duration", default=3600, help=f"the session's life, {SHORTEST} to {LONGEST} seconds"
    ),
    Option(name="ca_file", help="a PEM file of the authorities that sign the STS certificate"),
)

# What RRSA injects into a pod comes first, then what Alibaba Cloud's own libraries read.
VARIABLES: Mapping[str, str] = {
    "role_arn": "ALIBABA_CLOUD_ROLE_ARN",
    "oidc_provider_arn": "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "token_file": "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
    "role_session_name": "ALIBABA_CLOUD_ROLE_SESSION_NAME",
    "region": "ALIBABA_CLOUD_STS_REGION",
}
VPC_VARIABLE = "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED"
_REQUIRED = ("role_arn", "oidc_provider_arn", "token_file", "instance_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class ApsaraConfig:
    """The options of the provider by their names; see `OPTIONS`."""

    instance_id: str
    role_arn: str
    oidc_provider_arn: str
    token_file: Path
    region: str | None = None
    vpc: bool = False
    endpoint_url: str | None = None
    role_session_name: str = SESSION_NAME
    policy: str | None = None
    duration: int = 3600
    ca_file: str | None = None

    @classmethod
    def from_options(
        cls, options: Mapping[str, Any], environ: Mapping[str, str] = os.environ
    ) -> Self:
        """Complete validated options by what RRSA injects, and check them.

        Raises:
            ConfigurationError: They cannot work; everything that is missing is named at once.
            InsecureTransportError: The token would cross the network in clear.
        """
        found = dict(options)
        for name, variable in VARIABLES.items():
            found[name] = found.get(name) or environ.get(variable, "").strip() or None
        _refuse_missing([name for name in _REQUIRED if not found.get(name)])
        config = cls(
            **{
                **found,
                "token_file": Path(found["token_file"]).expanduser(),
                "vpc": found["vpc"] or _in_vpc(environ),
                "role_session_name": found["role_session_name"] or SESSION_NAME,
            }
        )
        config._check()
        return config

    @property
    def endpoint(self) -> str:
        """Where STS is asked."""
        if self.endpoint_url is not None:
            return self.endpoint_url
        if self.region is None:
            return CENTRAL_ENDPOINT
        return f"https://sts{'-vpc' if self.vpc else ''}.{self.region}.aliyuncs.com"

    @property
    def verify(self) -> str | bool:
        """What requests is to verify the certificate of STS with."""
        return self.ca_file or True

    @property
    def parameters(self) -> dict[str, str]:
        """Parameters of `AssumeRoleWithOIDC`, the token aside."""
        asked = {
            "OIDCProviderArn": self.oidc_provider_arn,
            "RoleArn": self.role_arn,
            "RoleSessionName": self.role_session_name,
            "DurationSeconds": str(self.duration),
        }
        return asked | ({"Policy": self.policy} if self.policy else {})

    def _check(self) -> None:
        _require(_fits(_INSTANCE, self.instance_id), "instance_id holds letters, digits, - and _")
        _require(
            _fits(_ROLE_ARN, self.role_arn), "role_arn must look like acs:ram::1234567890:role/NAME"
        )
        _require(
            _fits(_PROVIDER_ARN, self.oidc_provider_arn),
            "oidc_provider_arn must look like acs:ram::1234567890:oidc-provider/NAME",
        )
        _require(
            _fits(_SESSION_NAME, self.role_session_name),
            "role_session_name must be 2 to 64 letters, digits and . @ - _",
        )
        _require(
            SHORTEST <= self.duration <= LONGEST,
            f"duration must be {SHORTEST} to {LONGEST} seconds",
        )
        _require(
            self.region is None or _fits(_REGION, self.region), "region must look like cn-hangzhou"
        )
        _require(
            not (self.vpc and self.region is None and self.endpoint_url is None),
            "vpc needs the option region",
        )
        _require(
            self.policy is None or (len(self.policy) <= LONGEST_POLICY and _is_json(self.policy)),
            f"policy must be JSON of at most {LONGEST_POLICY} characters",
        )
        if self.endpoint_url is not None:
            check_url(self.endpoint_url, "the option endpoint_url")
        check_ca_file(self.ca_file, PROVIDER)


def _refuse_missing(missing: list[str]) -> None:
    if not missing:
        return
    variables = [VARIABLES.get(name) or environment_name(PROVIDER, name) for name in missing]
    remedy = f"set {', '.join(variables)}"
    if any(name in VARIABLES for name in missing):
        remedy += ", as RRSA injects them into a pod, or the options of the same meaning"
    if "instance_id" in missing:
        remedy += "; the instance's own host name tells its id"
    raise ConfigurationError(
        f"the provider {PROVIDER} lacks {', '.join(missing)}",
        remedy=remedy,
    )


def _in_vpc(environ: Mapping[str, str]) -> bool:
    try:
        return parse_bool(environ.get(VPC_VARIABLE) or False)
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError(f"the environment variable {VPC_VARIABLE} {problem}")


def _fits(pattern: re.Pattern[str], value: str) -> bool:
    return pattern.fullmatch(value) is not None


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _require(condition: bool, rule: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not condition:
        raise ConfigurationError(
            f"the options of the provider {PROVIDER} cannot work: {rule}",
            remedy="correct the option or its environment variable",
        )
