"""The state of this process and of the cache that it shares with others on this host."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django_mqauth import conf
from django_mqauth.sources import existing
from django_mqauth.status.permissions import of_credentials
from django_mqauth.workers.replies import SourceReport, source_report
from mqauth.errors import ConfigurationError
from mqauth.history import history
from mqauth.rotation.source import CredentialSource
from mqauth.shared import shared_sources


def report() -> dict[str, Any]:
    """Return the state as JSON types; asks nobody, and fetches nothing."""
    return {
        "now": datetime.now(UTC).isoformat(),
        "process": {"pid": os.getpid(), "host": platform.node()},
        "identities": [*_identities()],
    }


def source_state(source: CredentialSource) -> SourceReport:
    """Return the report of one source."""
    recent = [each.as_dict() for each in history.of(source.provider.identity)]
    return source_report(source.status().as_dict(), {source.provider.identity: recent})


def _identities() -> Iterator[dict[str, Any]]:
    left = list(shared_sources())
    for name in _names():
        try:
            alias = conf.alias(name)
        except ConfigurationError as error:
            yield _entry(name, problem=error.message, remedy=error.remedy)
            continue
        source = existing(alias)
        if source in left:
            left.remove(source)
        yield _entry(name, brokers=[str(broker) for broker in alias.brokers], source=source)
    for source in left:
        yield _entry(None, source=source)


def _names() -> list[str]:
    try:
        return [str(name) for name in conf.raw_aliases()]
    except ConfigurationError:
        return []


def _entry(
    alias: str | None,
    *,
    brokers: list[str] | None = None,
    source: CredentialSource | None = None,
    problem: str | None = None,
    remedy: str | None = None,
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "alias": alias,
        "brokers": brokers or [],
        "problem": problem,
        "remedy": remedy,
        "source": None,
        "permissions": [],
        "host": None,
    }
    if source is not None:
        current, shared = source.current, source.on_host()
        entry["source"] = _as_dict(source_state(source))
        if current is not None:
            entry["permissions"] = of_credentials(current, source.provider.identity)
        entry["host"] = {
            "shares": source.shares,
            "remaining": shared.remaining() if shared and shared.expires_at else None,
            "same": bool(shared and current and shared.password == current.password),
        }
    return entry


def _as_dict(state: SourceReport) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    return asdict(state)
