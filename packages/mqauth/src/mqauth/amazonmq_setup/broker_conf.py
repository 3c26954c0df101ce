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

# What stands behind a `#` is a comment, on lines with a setting, too.
_LINE = re.compile(r"\s*([\w.-]+)\s*=\s*([^#]*?)\s*(?:#.*)?\s*")
# One backend for both questions, or one for who somebody is and one for what they may do.
_BACKEND = re.compile(r"auth_backends\.(\d+)((?:\.auth[nz])?)")
_FIRST_BACKEND = "auth_backends.1"
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
    backends, renamed = _backends(settings)
    wanted_all = singles | _alias(settings, wanted)
    changes = {key: value for key, value in wanted_all.items() if settings.get(key) != value}
    return _rewritten(present, backends | changes, renamed)


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


def _backends(settings: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Put OAuth 2 before the backends that are there; RabbitMQ asks one after the other.

    Returns:
        What is to be set, and new names of settings that stay, as numbers decide on the order.
    """
    numbered: dict[int, dict[str, str]] = {}
    for key, value in settings.items():
        if match := _BACKEND.fullmatch(key):
            numbered.setdefault(int(match[1]), {})[match[2]] = value
    if any(_is_oauth2(number, parts) for number, parts in numbered.items()):
        return {}, {}
    if not numbered:
        return {_FIRST_BACKEND: "oauth2", "auth_backends.2": "internal"}, {}
    shift = max(0, 2 - min(numbered))
    renamed = {
        key: f"auth_backends.{int(match[1]) + shift}{match[2]}"
        for key in settings
        if shift and (match := _BACKEND.fullmatch(key))
    }
    return {_FIRST_BACKEND: "oauth2"}, renamed


def _is_oauth2(number: int, parts: Mapping[str, str]) -> bool:
    """Return whether tokens tell this backend both who somebody is and what they may do."""
    by_token = {suffix for suffix, value in parts.items() if value in _OAUTH2_BACKENDS}
    if by_token and by_token != parts.keys():
        raise ConfigurationError(
            "the broker's configuration takes only one half of a sign-in from tokens: "
            + ", ".join(f"auth_backends.{number}{key} ({parts[key]})" for key in sorted(parts)),
            remedy="others may sign in by it: if nobody does, take these lines out of it first",
        )
    return bool(by_token)


def _alias(settings: Mapping[str, str], wanted: SignIn) -> dict[str, str]:
    numbers = {
        int(match[1]): value for key, value in settings.items() if (match := _ALIAS.fullmatch(key))
    }
    own = [number for number, value in numbers.items() if value == wanted.role_arn]
    number = own[0] if own else max(numbers, default=0) + 1
    prefix = f"auth_oauth2.scope_aliases.{number}"
    return {f"{prefix}.alias": wanted.role_arn, f"{prefix}.scope": " ".join(wanted.scopes)}


def _rewritten(text: str, changes: Mapping[str, str], renamed: Mapping[str, str]) -> str:
    if not changes and not renamed:
        return text  # line ends are the operator's business
    left = dict(changes)
    end = "\r\n" if "\r\n" in text else "\n"
    lines = []
    for line in text.splitlines(keepends=True):
        match = _LINE.fullmatch(line)
        if match and match[1] in renamed:
            if _FIRST_BACKEND in left:
                lines.append(f"{_FIRST_BACKEND} = {left.pop(_FIRST_BACKEND)}{end}")
            lines.append(line[: match.start(1)] + renamed[match[1]] + line[match.end(1) :])
        elif match and match[1] in changes:
            if match[1] in left:
                lines.append(f"{match[1]} = {left.pop(match[1])}{end}")
        else:
            lines.append(line)
    if lines and left and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += end
    return "".join(lines) + "".join(f"{key} = {value}{end}" for key, value in left.items())
