"""Keeps the lines of a broker's log that concern one virtual host.

Tests share a broker but not a virtual host, and what one leaves behind must not be laid at the
door of the next.
"""

from __future__ import annotations

import re

_PROCESS = re.compile(r"\] (<[\d.]+>) ")
_VHOST = re.compile(r"\bvhost:? '([^']*)'")


def processes_of_others(text: str, vhost: str) -> set[str]:
    """Return the broker's processes that serve a connection to another virtual host."""
    others = set()
    for line in text.splitlines():
        process, named = _PROCESS.search(line), _VHOST.search(line)
        if process and named and named[1] != vhost:
            others.add(process[1])
    return others


def without_others(text: str, others: set[str]) -> str:
    """Return the lines that none of these processes wrote."""
    kept = []
    for line in text.splitlines():
        process = _PROCESS.search(line)
        if process is None or process[1] not in others:
            kept.append(line)
    return "\n".join(kept)
