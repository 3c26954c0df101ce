"""How the config file names profiles."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from credproc.awsfiles.edit import section_names
from credproc.errors import UsageError

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@/+:")


def config_sections(content: bytes, profile: str) -> list[str]:
    """Return the names of a profile's sections in a config file, the one to make first.

    Raises:
        UsageError: The profile's name cannot be written there.
    """
    if profile.lower() == "default" and profile != "default":
        # Python's parser, and so botocore, gives [DEFAULT] a meaning of its own.
        raise UsageError(f"no profile can be called {profile!r}", remedy="write default")
    if any(letter in profile for letter in "'\"\\"):
        raise UsageError(
            f"no profile can be called {profile!r}", remedy="leave quotes and backslashes out"
        )
    own = f"profile {profile}" if set(profile) <= _PLAIN else f'profile "{profile}"'
    if profile == "default":
        own = "default"
    return [own, *(name for name in section_names(content) if _profile_of(name) == profile)]


def _profile_of(section: str) -> str | None:
    if section == "default":
        return section
    try:
        words = shlex.split(section)
    except ValueError:
        return None
    return words[1] if len(words) == 2 and words[0] == "profile" else None


def overshadowing(config: dict[str, str], credentials: dict[str, str]) -> Iterable[str]:
    """Yield what keeps SDKs from ever running a profile's `credential_process`.

    Args:
        config: The profile's keys in the config file.
        credentials: Its keys in the credentials file.
    """
    if "aws_access_key_id" in credentials:
        yield "the credentials file has keys for this profile, which SDKs prefer"
    if "aws_access_key_id" in config:
        yield "the profile has aws_access_key_id, which some SDKs prefer"
    for key in (
        *("role_arn", "sso_session", "sso_start_url", "web_identity_token_file"),
        "login_session",
    ):
        if key in config:
            yield f"the profile has {key}, which SDKs prefer"
