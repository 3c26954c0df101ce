"""The walk: which links there are, in which order, and where it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from credproc.diagnosis import identity_links, network_links, session_links
from credproc.diagnosis.links import Facts, Warn
from credproc.diagnosis.report import Finding
from credproc.errors import CredprocError
from credproc.light import NamedTuple
from credproc.options import SessionOptions


class Link(NamedTuple):
    """One thing to look at: it says what it found, raises what is broken, or warns."""

    name: str
    look: Callable[[Facts], str]


LINKS = (
    Link("certificate", identity_links.certificate),
    Link("key", identity_links.key),
    Link("chain", identity_links.chain),
    Link("arns", session_links.arns),
    Link("clock", session_links.clock),
    Link("dns", network_links.dns),
    Link("tcp", network_links.tcp),
    Link("tls", network_links.tls),
    Link("session", session_links.session),
    Link("output", session_links.output),
    Link("cache", session_links.cache),
    Link("sdk", session_links.sdk),
    Link("expiry", identity_links.expiry),
)


class Outcome(NamedTuple):
    """A finding, and the exit code if it ends the walk."""

    finding: Finding
    exit_code: int


def walk(
    options: SessionOptions, begin: Callable[[str], None] = lambda _: None
) -> Iterator[Outcome]:
    """Yield what each link is like, up to the first that is broken.

    Args:
        options: What decides the session.
        begin: Called with the name of each link before it is looked at.
    """
    facts = Facts(options)
    for link in LINKS:
        begin(link.name)
        started = time.monotonic()
        outcome = _look(link, facts, started)
        yield outcome
        if outcome.exit_code:
            return


def failed(link: str, error: CredprocError, seconds: float) -> Outcome:
    """Return the outcome of a broken link."""
    finding = Finding(
        link=link, status="failed", detail=error.message, remedy=error.remedy, seconds=seconds
    )
    return Outcome(finding, error.exit_code)


def _look(link: Link, facts: Facts, started: float) -> Outcome:
    try:
        detail = link.look(facts)
    except Warn as warning:
        return Outcome(
            Finding(
                link=link.name,
                status="warning",
                detail=warning.detail,
                remedy=warning.remedy,
                seconds=_since(started),
            ),
            0,
        )
    except CredprocError as error:
        return failed(link.name, error, _since(started))
    return Outcome(Finding(link=link.name, status="ok", detail=detail, seconds=_since(started)), 0)


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
