"""How brokers of different versions differ, as data.

Each difference is listed with the first release of every branch that has it; branches in between
have it, or not, as the newest listed branch before them says. Read in the sources of the releases.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from mqauth.errors import ConfigurationError


@dataclass(frozen=True, order=True, slots=True)
class BrokerVersion:
    """A release of RabbitMQ.

    Attributes:
        major: As in 4.3.6.
        minor: As in 4.3.6.
        patch: As in 4.3.6.
    """

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `4.3.6` or `4.3`, which stands for the newest release of its branch.

        Raises:
            ConfigurationError: It is no version.
        """
        match = re.fullmatch(
            r"v?(\d{1,4})(?:\.(\d{1,4}))?(?:\.(\d{1,6}))?(?:[-+~.].*)?", text.strip()
        )
        if match is None:
            raise ConfigurationError(
                f"{text[:40]!r} is no version of RabbitMQ", remedy="write it as 4.3.6 or 4.3"
            )
        major, minor, patch = match.groups()
        return cls(int(major), _NEWEST if minor is None else int(minor), int(patch or _NEWEST))

    @classmethod
    def known(cls, text: str) -> Self:
        """Read a version whose answers are known: one of a branch that the sources were read of.

        Raises:
            ConfigurationError: It is no version, or of another branch.
        """
        version = cls.parse(text)
        newest = _BRANCHES.get(version.major)
        oldest = _OLDEST[1] if version.major == _OLDEST[0] else 0
        if newest is None or not (oldest <= version.minor <= newest or version.minor == _NEWEST):
            first, last = ".".join(map(str, _OLDEST)), ".".join(map(str, max(_BRANCHES.items())))
            raise ConfigurationError(
                f"nothing is known of RabbitMQ {version}",
                remedy=f"name a release of {first} to {last}, or leave it out for {last}",
            )
        return version

    def has(self, difference: str) -> bool:
        """Tell whether this release behaves so; `difference` is a key of `DIFFERENCES`."""
        since = DIFFERENCES[difference].since
        branch = (self.major, self.minor)
        same = [patch for (major, minor, patch) in since if (major, minor) == branch]
        if same:
            return self.patch >= min(same)
        return any((major, minor) < branch for (major, minor, _) in since)

    def __str__(self) -> str:
        """Write it as its makers do."""
        parts = [self.major, self.minor, self.patch]
        return ".".join(str(part) for part in parts if part != _NEWEST)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that newer brokers do otherwise.

    Attributes:
        since: The first releases that do, one a branch.
        meaning: What they do, in a sentence.
    """

    since: tuple[tuple[int, int, int], ...]
    meaning: str


_NEWEST = 999_999
_OLDEST = (3, 10)
_BRANCHES = {3: 13, 4: 3}
"""The newest minor version of each major one that is known."""

DIFFERENCES: dict[str, Difference] = {
    "scope_prefix": Difference(
        ((3, 11, 17),), "scope_prefix may replace the prefix <resource_server_id>."
    ),
    "variables": Difference(
        ((3, 11, 14),), "{vhost} and {claim} in a scope stand for the virtual host and for claims"
    ),
    "rar": Difference(
        ((3, 10, 19), (3, 11, 0)), "authorization_details (RFC 9396) are turned into scopes"
    ),
    "preferred_username_claims": Difference(
        ((3, 10, 19), (3, 11, 6)),
        "the user is named by preferred_username_claims, sub or client_id, never by the login name",
    ),
    "verify_aud": Difference(((3, 10, 19), (3, 11, 0)), "verify_aud = false accepts any audience"),
    "pipeline": Difference(
        ((4, 1, 0),),
        "additional_scopes_key takes dotted paths, several at once; scope is optional; aliases add",
    ),
    "conf_aliases": Difference(((4, 1, 0),), "scope aliases can stand in rabbitmq.conf"),
    "frame_8192": Difference(((4, 1, 0),), "the first frame holds tokens of about 8,000 bytes"),
    "scope_limit": Difference(((4, 2, 6),), "a token with more than 2,048 scopes is refused"),
    "known_tags": Difference(((4, 2, 6),), "tags that the broker has never heard of are dropped"),
    "require_exp": Difference(((4, 2, 9), (4, 3, 3)), "a token without a numeric exp is refused"),
    "same_username": Difference(((4, 0, 5),), "a renewed token must name the same user"),
    "closes_at_expiry": Difference(((4, 2, 6),), "the connection is closed when its token expires"),
    "passive_configure": Difference(
        ((4, 2, 6),), "a passive declare needs the permission configure"
    ),
    "passive_any": Difference(
        ((4, 2, 7), (4, 3, 1)), "a passive declare needs any one permission on its target"
    ),
    "cc_topics": Difference(
        ((4, 0, 3),), "the routing keys in CC and BCC headers are checked as topics too"
    ),
    "escaped_topic_variables": Difference(
        ((4, 2, 9), (4, 3, 3)),
        "values put for {username} and {vhost} in topic patterns are escaped",
    ),
    "regex_limit": Difference(
        ((4, 2, 8), (4, 3, 2)), "a regular expression that takes over 50,000 steps denies"
    ),
    "pcre2": Difference(
        ((4, 3, 0),), "Erlang 28 and newer: PCRE2, and letters beyond ASCII are no \\w"
    ),
}

NEWEST = BrokerVersion(4, 3, _NEWEST)
"""What is assumed where nobody says which broker it is."""
