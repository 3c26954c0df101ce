"""The links of the session: ARNs, clock, the call itself, and what SDKs make of the answer."""

from __future__ import annotations

import ctypes
import json
import os
import time

from credproc.answer import LARGEST_JSON
from credproc.arns import check_target, parse_arn
from credproc.cache import SDK_WINDOW, open_cache
from credproc.create_session import create_session
from credproc.credentials import SessionCredentials, format_time
from credproc.diagnosis.links import Facts, Warn
from credproc.errors import AnswerError, CredprocError, UsageError
from credproc.helper.session import create_session_by_helper

EARLIEST = 1_750_000_000
"""No clock that is right shows a time before this program was written."""

_UNSYNCHRONISED = 0x40
_OVERRIDING = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def arns(facts: Facts) -> str:
    """Look whether the three ARNs are well formed and agree."""
    facts.target = check_target(facts.options)
    role = parse_arn(facts.options.role_arn, "role-arn", "iam", "role")
    return (
        f"account {role.account}, {facts.target.partition} {facts.target.region}, {role.resource}"
    )


def clock(_facts: Facts) -> str:
    """Look at this host's clock; the service's is compared when it answers."""
    now = time.time()
    if now < EARLIEST:
        raise UsageError(
            f"this host's clock says {format_time(now)}, which cannot be",
            remedy="set the clock, and keep it with NTP",
        )
    if _kernel_says_unsynchronised():
        raise Warn(
            f"{format_time(now)}; nothing keeps this host's clock",
            "run an NTP client: five minutes off and the service refuses every session",
        )
    return f"{format_time(now)}, kept by NTP"


def session(facts: Facts) -> str:
    """Open a session, past the cache."""
    if facts.helper:
        facts.session = create_session_by_helper(facts.options, facts.files)
    else:
        facts.session = create_session(facts.options, facts.files)
    left = facts.session.remaining(time.time())
    text = f"opened, lasts until {facts.session.expiration_text}"
    if left < facts.options.session_duration - 60:
        raise Warn(
            f"{text}: {left:.0f} s instead of {facts.options.session_duration}",
            "profile or role allow no longer sessions; raise it there or lower --session-duration",
        )
    return text


def output(facts: Facts) -> str:
    """Look at the JSON as SDKs do."""
    current = _session(facts)
    text = current.to_json()
    document = json.loads(text)
    wanted = {"Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}
    if set(document) != wanted or document["Version"] != 1 or len(text) > LARGEST_JSON:
        raise AnswerError("the session cannot be written as SDKs read it", remedy="report it")
    if current.remaining(time.time()) <= SDK_WINDOW:
        raise Warn(
            "the session lasts no more than 15 minutes, so SDKs ask again on each use",
            "use a --session-duration of 1800 or more; until then the cache answers them",
        )
    return f"JSON of {len(text)} bytes; SDKs keep it until 15 minutes before its end"


def cache(facts: Facts) -> str:
    """Look whether sessions can be kept for the next process."""
    try:
        found = open_cache(facts.options, os.environb)
    except CredprocError as error:
        raise Warn(error.message, error.remedy or "name another directory") from None
    if facts.options.no_cache or found is None:
        raise Warn(
            "off, so every process opens a session of its own",
            "10 a second and region are allowed: leave --no-cache out, "
            "or name a private directory with --cache-dir",
        )
    return found.directory


def sdk(_facts: Facts) -> str:
    """Look for what makes SDKs pass credential_process over."""
    if any(os.environ.get(name) for name in _OVERRIDING):
        raise Warn(
            "AWS_ACCESS_KEY_ID is set, which SDKs prefer to any profile",
            "unset it where credential_process is to be used",
        )
    return "no keys in the environment that SDKs would prefer"


def _session(facts: Facts) -> SessionCredentials:
    assert facts.session is not None  # noqa: S101 - an earlier link's
    return facts.session


def _kernel_says_unsynchronised() -> bool:
    """Return whether the kernel knows that nobody disciplines the clock (adjtimex(2))."""
    # The structure's size differs between systems; only its second word is read.
    buffer = (ctypes.c_long * 64)()
    try:
        if ctypes.CDLL(None).adjtimex(ctypes.byref(buffer)) < 0:
            return False
    except (OSError, AttributeError):
        return False
    status = ctypes.cast(ctypes.byref(buffer, _STATUS_OFFSET), ctypes.POINTER(ctypes.c_int))
    return bool(status[0] & _UNSYNCHRONISED)


class _Timex(ctypes.Structure):
    """The first fields of `struct timex`."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
    )


_STATUS_OFFSET = _Timex.status.offset
