"""Goes through what leads to a credential, link by link, and stops at the first that is broken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mqauth.diagnosis.durations import duration
from mqauth.diagnosis.exit_codes import exit_code
from mqauth.errors import MQAuthError
from mqauth.links import Link, Linked
from mqauth.provider import Provider
from mqauth.rotation.building import Parts


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one link is like.

    Attributes:
        status: `ok` or `failed`.
        detail: What was found, or what failed and why.
        remedy: What to do about it.
        seconds: How long it took.
        code: What a command exits with if the chain ends here.
    """

    link: str
    status: str
    detail: str
    remedy: str | None = None
    seconds: float
    code: int = 0


def findings(make: Callable[[], Parts], *, then: Iterable[Link] = ()) -> Iterator[Finding]:
    """Look at each link in turn; the last finding is that of the broken one, if any is.

    Args:
        make: Builds what a source is made of; its errors are those of the options.
        then: Links that stand on the credential.
    """
    made: list[Parts] = []

    def build(_: float) -> str:
        made.append(make())
        return made[0].provider.identity

    yield (finding := look(Link(name="options", look=build), 0.0))
    if finding.code:
        return
    for link in (*links_of(made[0].provider), *then):
        yield (finding := look(link, made[0].policy.timeout))
        if finding.code:
            return


def links_of(provider: Provider) -> Sequence[Link]:
    """Return what a provider's credential stands on: at least the credential itself."""
    if isinstance(provider, Linked):
        return provider.links()

    def fetch(timeout: float) -> str:
        credentials = provider.fetch(timeout=timeout)
        left = credentials.remaining()
        lasting = "it never expires" if credentials.expires_at is None else f"{duration(left)} left"
        return f"{credentials.principal or credentials.username or 'fetched'}, {lasting}"

    return [Link(name="credential", look=fetch)]


def look(link: Link, timeout: float) -> Finding:
    """Look at one link for `timeout` seconds at the most."""
    started = time.monotonic()
    try:
        detail = link.look(timeout)
    except MQAuthError as error:
        return Finding(
            link=link.name,
            status="failed",
            detail=error.message,
            remedy=error.remedy,
            seconds=_since(started),
            code=exit_code(error),
        )
    return Finding(link=link.name, status="ok", detail=detail, seconds=_since(started))


def report(found: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings as JSON types."""
    code = found[-1].code
    links = [{key: value for key, value in asdict(f).items() if key != "code"} for f in found]
    return {"ok": code == 0, "exit_code": code, "links": links}


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
