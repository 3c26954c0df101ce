"""Options of the `aws-iam` provider, checked."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from mqauth.aws_credentials import RolesAnywhereIdentity
from mqauth.errors import ConfigurationError
from mqauth.provider import Option
from mqauth.providers import _roles_anywhere as roles_anywhere
from mqauth.providers._aws_region import check_region, sts_endpoint_of_environment
from mqauth.providers._ca_file import check_ca_file
from mqauth.providers._urls import check_url

ALGORITHMS = ("ES384", "RS256")
SHORTEST, LONGEST = 60, 3600
"""Seconds that `GetWebIdentityToken` lets a token live (AWS STS API reference)."""

MOST_TAGS = 50

_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+")
_ROLE_OPTIONS = ("role_session_name", "external_id", "session_tags")

OPTIONS = (
    Option(name="region", help="the AWS region whose STS is asked; the broker's, if not given"),
    Option(name="audience", default=("rabbitmq",), help="audiences of the token"),
    Option(name="signing_algorithm", default=ALGORITHMS[0], help=" or ".join(ALGORITHMS)),
    Option(name="duration", default=300, help=f"the token's life, {SHORTEST} to {LONGEST} seconds"),
    Option(
        name="role_arn",
        default=(),
        help="the role to assume first; of several, each is assumed by the one before",
    ),
    Option(name="role_session_name", help="the name of the role's session"),
    Option(name="external_id", help="the external id that the role's trust policy asks for"),
    Option(
        name="session_tags",
        default={},
        help="tags of the (last) role's session, which the token repeats as principal tags",
    ),
    Option(name="profile", help="the profile of the AWS configuration to start from"),
    Option(name="endpoint_url", help="another URL for STS, such as a VPC endpoint's"),
    Option(name="tags", default={}, help="tags that become claims of the token"),
    Option(name="ca_file", help="a PEM file of the authorities that sign the STS certificate"),
    Option(name="username", default="", help="the user name at login, if the broker wants one"),
    *roles_anywhere.OPTIONS,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AwsIamConfig:
    """The options of the provider by their names; see `OPTIONS`.

    Args:
        roles_anywhere: Those of the IAM Roles Anywhere identity; None if none is named.
    """

    region: str | None = None
    audience: tuple[str, ...] = ("rabbitmq",)
    signing_algorithm: str = ALGORITHMS[0]
    duration: int = 300
    role_arn: tuple[str, ...] = ()
    role_session_name: str | None = None
    external_id: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    session_tags: Mapping[str, str] = field(default_factory=dict)
    ca_file: str | None = None
    username: str = ""
    roles_anywhere: RolesAnywhereIdentity | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any], *, provider: str = "aws-iam") -> Self:
        """Check validated options against what STS takes.

        Args:
            options: The options; those that are left out have their defaults.
            provider: Whose they are, for error messages.

        Raises:
            ConfigurationError: They cannot work.
            InsecureTransportError: The token would cross the network in clear.
        """
        require = functools.partial(_required, provider)
        own, identity = roles_anywhere.split(options, provider)
        role_arn = _whole_arns(own.get("role_arn", ()))
        config = cls(**{**own, "role_arn": role_arn, "roles_anywhere": identity})
        require(
            config.signing_algorithm in ALGORITHMS,
            f"signing_algorithm must be {' or '.join(ALGORITHMS)}",
        )
        require(
            SHORTEST <= config.duration <= LONGEST,
            f"duration must be {SHORTEST} to {LONGEST} seconds",
        )
        require(bool(config.audience), "audience must not be empty")
        require(len(config.tags) <= MOST_TAGS, f"at most {MOST_TAGS} tags are possible")
        require(
            len(config.session_tags) <= MOST_TAGS, f"at most {MOST_TAGS} session_tags are possible"
        )
        if not config.role_arn:
            for name in _ROLE_OPTIONS:
                require(
                    not getattr(config, name),
                    f"{name} means nothing without role_arn",
                    f"set role_arn to the role that is to be assumed, or take {name} out",
                )
        for arn in config.role_arn:
            require(
                _ROLE_ARN.fullmatch(arn) is not None,
                "role_arn must look like arn:aws:iam::123456789012:role/NAME",
            )
        if config.endpoint_url is not None:
            check_url(config.endpoint_url, "the option endpoint_url")
        elif config.region is not None and not sts_endpoint_of_environment():
            check_region(config.region)
        check_ca_file(config.ca_file, provider)
        return config


def _whole_arns(parts: Iterable[str]) -> tuple[str, ...]:
    """Put names together again that hold the comma between the items of a list."""
    arns: list[str] = []
    for part in parts:
        if arns and not part.startswith("arn:"):
            arns[-1] += f",{part}"
        else:
            arns.append(part)
    return tuple(arns)


def _required(
    provider: str,
    condition: bool,  # noqa: FBT001 - reads as an assertion
    rule: str,
    remedy: str = "correct the option",
) -> None:
    if not condition:
        raise ConfigurationError(
            f"the options of the provider {provider} cannot work: {rule}",
            remedy=remedy,
        )
