"""Options that name an IAM Roles Anywhere identity, and the package that opens its sessions."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

from mqauth.aws_credentials import (
    GROUP,
    ROLES_ANYWHERE,
    AwsIdentityFactory,
    RolesAnywhereIdentity,
)
from mqauth.config.options import environment_name
from mqauth.errors import ConfigurationError
from mqauth.provider import Option
from mqauth.providers._urls import check_url

_log = logging.getLogger(__name__)

PACKAGE = "credproc"
PREFIX = "roles_anywhere_"
SHORTEST, LONGEST = 900, 43200
"""Seconds that CreateSession lets a session last (IAM Roles Anywhere API reference)."""

OPTIONS = (
    Option(
        name=f"{PREFIX}certificate",
        help="the certificate to open an IAM Roles Anywhere session with: a file, or a pkcs11: URI",
    ),
    Option(
        name=f"{PREFIX}private_key",
        help="its private key; not given, the certificate's file holds it",
    ),
    Option(name=f"{PREFIX}key_password", secret=True, help="what opens the key, if encrypted"),
    Option(
        name=f"{PREFIX}intermediates",
        help="the file of the certificates between it and the trust anchor",
    ),
    Option(name=f"{PREFIX}trust_anchor_arn", help="the ARN of the trust anchor"),
    Option(name=f"{PREFIX}profile_arn", help="the ARN of the Roles Anywhere profile"),
    Option(name=f"{PREFIX}role_arn", help="the ARN of the role that the session is of"),
    Option(
        name=f"{PREFIX}session_duration",
        default=3600,
        help=f"the session's life, {SHORTEST} to {LONGEST} seconds",
    ),
    Option(name=f"{PREFIX}endpoint_url", help="another URL for Roles Anywhere"),
)

_REQUIRED = ("certificate", "trust_anchor_arn", "profile_arn", "role_arn")
_OTHERS = ("private_key", "key_password", "intermediates", "endpoint_url")
_ARNS = {
    "trust_anchor_arn": "rolesanywhere:REGION:123456789012:trust-anchor/ID",
    "profile_arn": "rolesanywhere:REGION:123456789012:profile/ID",
    "role_arn": "iam::123456789012:role/NAME",
}


def split(
    options: Mapping[str, Any], provider: str
) -> tuple[dict[str, Any], RolesAnywhereIdentity | None]:
    """Return the options without those of this module, and the identity that these name.

    Args:
        options: All of them.
        provider: Whose they are, for error messages.

    Raises:
        ConfigurationError: It is incomplete, malformed, or contradicts another option.
        InsecureTransportError: The session's keys would cross the network in clear.
    """
    own = {name: value for name, value in options.items() if not name.startswith(PREFIX)}
    given = {
        name.removeprefix(PREFIX): value
        for name, value in options.items()
        if name.startswith(PREFIX) and value is not None
    }
    duration = given.pop("session_duration", 3600)
    if not given and duration == 3600:
        return own, None
    _check_complete(given, provider)
    _check_contradictions(own, provider)
    _check_values(given, duration, provider)
    known = {name: given.get(name) for name in (*_REQUIRED, *_OTHERS)}
    for name in ("certificate", "private_key", "intermediates"):
        if str(known[name]).startswith("~"):
            known[name] = str(Path(str(known[name])).expanduser())
    identity = RolesAnywhereIdentity(
        **cast("dict[str, Any]", known), session_duration=duration, ca_file=own.get("ca_file")
    )
    return own, identity


def fingerprint(identity: RolesAnywhereIdentity) -> str:
    """Return a few characters that differ where sessions would; nothing of it is secret."""
    parts = (
        identity.trust_anchor_arn,
        identity.profile_arn,
        identity.private_key,
        identity.intermediates,
        identity.endpoint_url,
        os.environ.get("AWS_ENDPOINT_URL_ROLESANYWHERE"),
    )
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()[:8]


def check_installed() -> None:
    """Check that something opens sessions, without loading it.

    Raises:
        ConfigurationError: Nothing does; names what to install.
    """
    _entry_point()


def load_factory() -> AwsIdentityFactory:
    """Load what opens sessions.

    Raises:
        ConfigurationError: It is not installed, or cannot be loaded.
    """
    point = _entry_point()
    try:
        return cast("AwsIdentityFactory", point.load())
    except Exception as error:  # noqa: BLE001 - foreign code may raise anything at import
        failure = ConfigurationError(
            f"{point.value}, which opens Roles Anywhere sessions, cannot be loaded: "
            f"{type(error).__name__}: {str(error)[:200]}",
            remedy=f"repair it: pip install --force-reinstall {PACKAGE}",
        )
    raise failure


def _entry_point() -> EntryPoint:
    # An editable installation shows the same entry point twice: only differing ones compete.
    found = {point.value: point for point in entry_points(group=GROUP, name=ROLES_ANYWHERE)}
    if not found:
        raise ConfigurationError(
            f"{PACKAGE} is not installed, which opens IAM Roles Anywhere sessions",
            remedy=f"pip install {PACKAGE}",
        )
    if len(found) > 1:
        raise ConfigurationError(
            f"several packages open IAM Roles Anywhere sessions: {', '.join(sorted(found))}",
            remedy="uninstall all but one of them",
        )
    return next(iter(found.values()))


def _check_complete(given: Mapping[str, Any], provider: str) -> None:
    missing = [PREFIX + name for name in _REQUIRED if not given.get(name)]
    if missing:
        variables = ", ".join(environment_name(provider, name) for name in missing)
        raise ConfigurationError(
            f"the provider {provider} names a Roles Anywhere identity and lacks "
            f"{', '.join(missing)}",
            remedy=f"set {'them' if missing[1:] else 'it'}, for example as {variables}",
        )


def _check_contradictions(own: Mapping[str, Any], provider: str) -> None:
    if own.get("profile"):
        raise ConfigurationError(
            f"the provider {provider} got both profile and a Roles Anywhere identity: either tells "
            "where the AWS credentials come from",
            remedy=f"leave out profile, or all of {PREFIX}...",
        )
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        _log.warning(
            "The access key in AWS_ACCESS_KEY_ID is not used to sign in to brokers: the options of "
            "the provider %s name a Roles Anywhere identity",
            provider,
        )


def _check_values(given: Mapping[str, Any], duration: int, provider: str) -> None:
    for name, example in _ARNS.items():
        pattern = re.escape(example).replace("REGION", r"[a-z]+(-[a-z0-9]+)+")
        pattern = pattern.replace("123456789012", r"\d{12}").replace("NAME", r"\S+")
        pattern = pattern.replace("/ID", r"/[\w-]+")
        if re.fullmatch(f"arn:aws[a-z-]*:{pattern}", str(given[name]), re.ASCII) is None:
            raise ConfigurationError(
                f"the option {PREFIX}{name} of the provider {provider} is not the ARN it should be",
                remedy=f"it looks like arn:aws:{example}",
            )
    if not SHORTEST <= duration <= LONGEST:
        raise ConfigurationError(
            f"the option {PREFIX}session_duration of the provider {provider} is {duration}",
            remedy=f"{SHORTEST} to {LONGEST} seconds are possible",
        )
    if given.get("endpoint_url"):
        check_url(given["endpoint_url"], f"the option {PREFIX}endpoint_url")
