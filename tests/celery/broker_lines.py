"""What a broker's log says about the connections to one virtual host.

Tests share a broker but not a virtual host, and what one leaves behind must not be laid at the
door of the next.
"""

from __future__ import annotations

import re
from collections import Counter

from workloads.broker_log import messages

VANISHED = "client unexpectedly closed TCP connection"
"""How the broker words the end of a process that did not close its connections."""

_PROCESS = re.compile(r"\] (<[\d.]+>) ")
_VHOST = re.compile(r"\bvhost:? '([^']*)'")
_END = re.compile(r"(?:closing|error on) AMQP connection", re.IGNORECASE)
_ACCEPTED = re.compile(r"\] (<[\d.]+>) accepting AMQP connection\b")
_RENEWED = re.compile(r"\bupdated secret, reason: ")


def processes_of_others(text: str, vhost: str) -> set[str]:
    """Return the broker's processes that serve a connection to another virtual host."""
    others = set()
    for line in text.splitlines():
        process, named = _PROCESS.search(line), _VHOST.search(line)
        if process and named and named[1] != vhost:
            others.add(process[1])
    return others


def processes_from_before(text: str) -> set[str]:
    """Return the broker's processes whose connections came before this part of its log.

    A test's last connections may end while the next test is on, before they have named a virtual
    host.
    """
    ended, accepted = set(), set()
    for line in text.splitlines():
        process = _PROCESS.search(line)
        if process and _ACCEPTED.search(line):
            accepted.add(process[1])
        elif process and _END.search(line) and process[1] not in accepted:
            ended.add(process[1])
    return ended


def without_others(text: str, others: set[str]) -> str:
    """Return the lines that none of these processes wrote."""
    kept = []
    for line in text.splitlines():
        process = _PROCESS.search(line)
        if process is None or process[1] not in others:
            kept.append(line)
    return "\n".join(kept)


def unclean_ends(text: str) -> list[str]:
    """Return what the broker wrote about each connection that did not end cleanly."""
    return [
        message.text for message in messages(text) if message.alarming and _END.match(message.text)
    ]


def renewals(text: str) -> int:
    """Return how often the connection that was renewed most was renewed."""
    counted = Counter(
        message.process for message in messages(text) if _RENEWED.search(message.text)
    )
    return max(counted.values(), default=0)
