"""The three ARNs: read, and compared with each other before anything is sent."""

from __future__ import annotations

from credproc.errors import UsageError
from credproc.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from credproc.options import SessionOptions

SHORTEST_SESSION = 900
LONGEST_SESSION = 43200
LONGEST_WAIT = 86400
_LABEL = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_RESOURCE = _LABEL | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ_+=,.@/")


class Arn(NamedTuple):
    """An Amazon Resource Name."""

    partition: str
    service: str
    region: str
    account: str
    resource: str


def parse_arn(text: str, flag: str, service: str, kind: str) -> Arn:
    """Read an ARN and check that it names what the flag wants.

    Args:
        text: The ARN.
        flag: The flag it was given with, for the message.
        service: The service it has to be of.
        kind: What its resource has to begin with, such as `role`.

    Raises:
        UsageError: It is malformed or of another kind.
    """
    parts = text.split(":", 5)
    regional = service != "iam"
    example = f"arn:aws:{service}:{'eu-west-1' if regional else ''}:123456789012:{kind}/..."
    if len(parts) != 6 or parts[0] != "arn" or not _is_label(parts[1]):
        raise UsageError(f"--{flag} is no ARN: {text!r}", remedy=f"it looks like {example}")
    arn = Arn(*parts[1:])
    if arn.service != service or not arn.resource.startswith(f"{kind}/"):
        raise UsageError(
            f"--{flag} names {arn.service}:{arn.resource.partition('/')[0]}, not {service}:{kind}",
            remedy=f"it looks like {example}",
        )
    if not (len(arn.account) == 12 and arn.account.isascii() and arn.account.isdigit()):
        raise UsageError(f"--{flag} has no account id of 12 digits", remedy=f"as in {example}")
    if arn.region and not _is_label(arn.region):
        raise UsageError(
            f"--{flag} names a region that is none: {arn.region!r}",
            remedy=f"it looks like {example}",
        )
    if not _is_resource(arn.resource.removeprefix(f"{kind}/")):
        raise UsageError(f"--{flag} names no {kind}: {text!r}", remedy=f"it looks like {example}")
    if bool(arn.region) != regional:
        problem = "names no region" if regional else f"names a region ({arn.region})"
        raise UsageError(f"--{flag} {problem}", remedy=f"it looks like {example}")
    return arn


def _is_label(text: str) -> bool:
    """Return whether a region or partition is one that a host's name can be made of."""
    return set(text) <= _LABEL and text[:1].isalpha() and not text.endswith("-")


def _is_resource(text: str) -> bool:
    """Return whether a resource has an id or a name, the last part of a path."""
    return bool(text.rpartition("/")[2]) and set(text) <= _RESOURCE


class Target(NamedTuple):
    """Where the request goes, as the ARNs agree on it."""

    partition: str
    region: str


def check_target(options: SessionOptions) -> Target:
    """Return partition and region after making sure that ARNs and options agree.

    Raises:
        UsageError: They do not, or the session's length or name cannot be.
    """
    anchor = parse_arn(
        options.trust_anchor_arn, "trust-anchor-arn", "rolesanywhere", "trust-anchor"
    )
    profile = parse_arn(options.profile_arn, "profile-arn", "rolesanywhere", "profile")
    role = parse_arn(options.role_arn, "role-arn", "iam", "role")
    _check_agreement(anchor, profile, role)
    region = options.region or anchor.region
    if region != anchor.region:
        raise UsageError(
            f"--region is {region}, the trust anchor is in {anchor.region}",
            remedy="leave --region out",
        )
    _check_session(options)
    return Target(anchor.partition, region)


def _check_agreement(anchor: Arn, profile: Arn, role: Arn) -> None:
    if anchor.region != profile.region:
        raise UsageError(
            f"the trust anchor is in {anchor.region}, the profile in {profile.region}",
            remedy="both must be in one region",
        )
    for name, other in (("profile", profile), ("role", role)):
        if other.partition != anchor.partition:
            raise UsageError(
                f"the trust anchor is in partition {anchor.partition}, the {name} in "
                f"{other.partition}",
                remedy="all three must be in one partition",
            )
        if other.account != anchor.account:
            raise UsageError(
                f"the trust anchor is in account {anchor.account}, the {name} in {other.account}",
                remedy="all three must be in one account; assume a role elsewhere from there",
            )


def _check_session(options: SessionOptions) -> None:
    if options.certificate and options.cert_selector:
        raise UsageError(
            "--certificate and --cert-selector exclude each other: one names the certificate, the "
            "other looks for it in a store",
            remedy="leave one of them out; read-certificate-data takes both",
        )
    if not SHORTEST_SESSION <= options.session_duration <= LONGEST_SESSION:
        raise UsageError(
            f"--session-duration is {options.session_duration}",
            remedy=f"{SHORTEST_SESSION} to {LONGEST_SESSION} seconds",
        )
    name = options.role_session_name
    if name is not None and not (
        2 <= len(name) <= 64
        and name.isascii()
        and all(letter.isalnum() or letter in "_+=,.@-" for letter in name)
    ):
        raise UsageError(
            "--role-session-name is not a session name", remedy="2 to 64 of A-Z a-z 0-9 _+=,.@-"
        )
    for flag, value in (
        ("connect-timeout", options.connect_timeout),
        ("read-timeout", options.read_timeout),
        ("time-limit", options.time_limit),
    ):
        if not 1 <= value <= LONGEST_WAIT:
            raise UsageError(f"--{flag} is {value}", remedy=f"1 to {LONGEST_WAIT} seconds")
