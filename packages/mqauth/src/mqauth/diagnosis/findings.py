"""What the links of the chain are called, what each ends with, and what is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mqauth.errors import MQAuthError

EXIT_CODES: dict[str, int] = {
    "options": 2,
    "files": 10,
    "issuer": 11,
    "clock": 12,
    "credential": 13,
    "claims": 14,
    "broker": 20,
    "tls": 21,
    "login": 22,
    "vhost": 23,
    "operations": 24,
    "renewal": 25,
}
"""The links in their order, each with the exit code of a chain that is broken there.

What a provider has of its own, such as AWS credentials and a role, counts as `credential`.
"""

KAFKA_EXIT_CODES: dict[str, int] = {"libraries": 9, "topic": 26}
"""The same for links that only Kafka has: libraries come after options, and each topic is a link
of its own, `topic NAME`, after login."""


class BrokenLinkError(MQAuthError):
    """A link of the chain from configuration to the broker is broken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one link is like.

    Attributes:
        link: Its name.
        status: `ok` or `failed`.
        detail: What was found, or what failed and why.
        remedy: What to do about it.
        seconds: How long it took.
        code: What the command exits with if the chain ends here.
    """

    link: str
    status: str
    detail: str
    remedy: str | None = None
    seconds: float
    code: int = 0


def code_of(link: str) -> int:
    """Return the exit code of a chain that is broken at a link."""
    kind = "topic" if link.startswith("topic ") else link
    return {**EXIT_CODES, **KAFKA_EXIT_CODES}.get(kind, EXIT_CODES["credential"])


def broken(link: str, error: MQAuthError, seconds: float = 0.0) -> Finding:
    """Return the finding of a broken link."""
    return Finding(
        link=link,
        status="failed",
        detail=error.message,
        remedy=error.remedy,
        seconds=seconds,
        code=code_of(link),
    )


def report(found: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings of a walk as JSON types."""
    code = found[-1].code
    links = [{key: value for key, value in asdict(f).items() if key != "code"} for f in found]
    return {"ok": code == 0, "exit_code": code, "links": links}
