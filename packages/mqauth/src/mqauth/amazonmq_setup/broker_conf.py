"""A broker's `rabbitmq.conf`: what sign-in with IAM needs is added, all else stays as it is.

The keys are those of the Amazon MQ developer guide, "Using IAM authentication and authorization
for Amazon MQ for RabbitMQ".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mqauth.errors import ConfigurationError

SCOPE_PREFIX = "rabbitmq/"
UNKNOWN_ISSUER = "https://<known once federation is enabled>"

_JWKS_PATH = "/.well-known/jwks.json"

_LINE = re.compile(r"\s*([\w.-]+)\s*=\s*(.*?)\s*")
_BACKEND = re.compile(r"auth_backends\.(\d+)")
_ALIAS = re.compile(r"auth_oauth2\.scope_aliases\.(\d+)\.alias")
# Whom else a broker may be told to trust: issuers to discover, keys by file, several at once.
_OTHER_TRUST = re.compile(
    r"auth_oauth2\.(?:issuer|jwks_uri|discovery_endpoint_path|default_oauth_provider|default_key"
    r"|(?:oauth_providers|signing_keys|resource_servers)\..+)"
)
_OAUTH2_BACKENDS = ("oauth2", "rabbit_auth_backend_oauth2")


@dataclass(frozen=True, kw_only=True, slots=True)
class SignIn:
    """What the broker is to trust.

    Args:
        issuer: URL of the account's issuer of web identity tokens; None while it is not known.
        audience: The audience that tokens must name.
        role_arn: The role that may sign in: the `sub` of its tokens.
        scopes: What it may do there.
    """

    issuer: str | None
    audience: str
    role_arn: str
    scopes: Sequence[str]


def with_sign_in(present: str, wanted: SignIn) -> str:
    """Return the configuration with sign-in by IAM added.

    Raises:
        ConfigurationError: It already trusts another issuer or other names, which this would break.
    """
    settings = _settings(present)
    singles = {
        "auth_oauth2.jwks_url": _jwks_url(wanted, settings),
        "auth_oauth2.resource_server_id": wanted.audience,
        "auth_oauth2.scope_prefix": SCOPE_PREFIX,
        "auth_oauth2.additional_scopes_key": "sub",
        "auth_oauth2.https.hostname_verification": "wildcard",
        "management.oauth_enabled": "true",
    }
    _refuse_conflicts(settings, singles)
    changes = _backends(settings) | singles | _alias(settings, wanted)
    return _rewritten(present, {k: v for k, v in changes.items() if settings.get(k) != v})


def _jwks_url(wanted: SignIn, settings: Mapping[str, str]) -> str:
    if wanted.issuer is not None:
        return wanted.issuer + _JWKS_PATH
    return settings.get("auth_oauth2.jwks_url", UNKNOWN_ISSUER + _JWKS_PATH)


def _settings(text: str) -> dict[str, str]:
    found = (_LINE.fullmatch(line) for line in text.splitlines())
    return {match[1]: match[2] for match in found if match}


def _refuse_conflicts(settings: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    others = [key for key, value in wanted.items() if settings.get(key, value) != value]
    others += [key for key in settings if _OTHER_TRUST.fullmatch(key)]
    if others:
        raise ConfigurationError(
            "the broker's configuration already says something else about "
            + ", ".join(f"{key} ({settings[key]})" for key in others),
            remedy="others may sign in by it: if nobody does, take these lines out of it first",
        )


def _backends(settings: Mapping[str, str]) -> dict[str, str]:
    """Put OAuth 2 before the backends that are there; RabbitMQ asks one after the other."""
    numbered = sorted(
        (int(match[1]), value)
        for key, value in settings.items()
        if (match := _BACKEND.fullmatch(key))
    )
    present = [value for _, value in numbered]
    if any(value in _OAUTH2_BACKENDS for value in present):
        return {}
    backends = ["oauth2", *(present or ["internal"])]
    return {f"auth_backends.{number}": value for number, value in enumerate(backends, start=1)}


def _alias(settings: Mapping[str, str], wanted: SignIn) -> dict[str, str]:
    numbers = {
        int(match[1]): value for key, value in settings.items() if (match := _ALIAS.fullmatch(key))
    }
    own = [number for number, value in numbers.items() if value == wanted.role_arn]
    number = own[0] if own else max(numbers, default=0) + 1
    prefix = f"auth_oauth2.scope_aliases.{number}"
    return {f"{prefix}.alias": wanted.role_arn, f"{prefix}.scope": " ".join(wanted.scopes)}


def _rewritten(text: str, changes: Mapping[str, str]) -> str:
    left = dict(changes)
    lines = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match and match[1] in changes:
            if match[1] in left:
                lines.append(f"{match[1]} = {left.pop(match[1])}")
            continue
        lines.append(line)
    lines += [f"{key} = {value}" for key, value in left.items()]
    return "\n".join(lines) + "\n" if lines else ""
