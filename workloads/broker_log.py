"""What the broker's own log says about how connections ended.

RabbitMQ 3.10 and 4.3 write one header per line, `time [level] <process> text`, where the process is
the connection's reader; a message of several lines repeats the header. A clean end is one line
`[info] closing AMQP connection`. Every other end has a line at `warning` or `error`, alone or
before that one:

- `closing AMQP connection ...` with the reason on the next line (`client unexpectedly closed TCP
  connection`, `missed heartbeats from client`, ...) where the client vanished, or on the same line
  (`credential has expired`, 4.3) where its time was up;
- `Error on AMQP connection ...`, again with the reason (`connection_forced: ...`, `PLAIN login
  refused`, ...) where the broker ended it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

_LINE = re.compile(
    r"^(?P<time>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d+(?:Z|[+-]\d\d:\d\d))"
    r" \[(?P<level>\w+)\] (?P<process><[\d.]+>) (?P<text>.*)$"
)
_UNCLEAN = re.compile(r"^(?:[Cc]losing AMQP connection|Error on AMQP connection)\b")
_FORCED = re.compile(r"^Closing AMQP connection\b")
_CHANNEL_ERROR = re.compile(r"^Channel error on connection\b")
_SECRET_UPDATED = re.compile(r"\bupdated secret, reason: ")
_ACCEPTED = re.compile(r"^accepting AMQP connection\b")
_CLOSED = re.compile(r"^closing AMQP connection\b")

SAMPLES = 3
_REASONS = (
    ("credential expired", "credential_expired"),
    ("credential has expired", "credential_expired"),
    ("client unexpectedly closed tcp connection", "client_vanished"),
    ("missed heartbeats", "missed_heartbeats"),
    ("login refused", "login_refused"),
    ("connection_closed_abruptly", "client_vanished"),
    ("connection_forced", "connection_forced"),
    ("not_allowed", "not_allowed"),
    ("access_refused", "access_refused"),
    ("handshake_timeout", "handshake_timeout"),
    ("bad_header", "bad_header"),
    ("frame_too_large", "frame_too_large"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMessage:
    """One message of the log, its lines joined.

    Args:
        time: When the broker wrote it, as `time.time()` counts.
        level: `info`, `warning`, `error`, ...
        process: The Erlang process that wrote it; for a connection's messages, its reader.
        text: The message without its header.
    """

    time: float
    level: str
    process: str
    text: str

    @property
    def alarming(self) -> bool:
        """Whether the broker thought it worth a warning."""
        return self.level not in {"debug", "info", "notice"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRecord:
    """What happened to AMQP connections between two moments.

    Args:
        opened: Connections accepted.
        closed: Connections that their client closed cleanly.
        dropped: Connections that ended in any other way, per reason; one whose end the log does
            not mention at all counts as `no_end_logged`.
        samples: What the broker wrote about the first few of these.
        channel_errors: Channels that the broker closed on an error, per reason.
        secret_updates: Successful `connection.update-secret` per connection.
    """

    opened: int = 0
    closed: int = 0
    samples: tuple[str, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    channel_errors: Counter[str] = field(default_factory=Counter)
    secret_updates: Counter[str] = field(default_factory=Counter)

    @property
    def rotations(self) -> int:
        """How often the connection that was renewed most was renewed."""
        return max(self.secret_updates.values(), default=0)


def messages(text: str) -> Iterator[LogMessage]:
    """Split a log into its messages; lines in no known form are continuations."""
    current: LogMessage | None = None
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            if current is not None:
                current = _joined(current, line)
            continue
        new = LogMessage(
            time=datetime.fromisoformat(found["time"]).timestamp(),
            level=found["level"],
            process=found["process"],
            text=found["text"],
        )
        if current is not None and _continues(current, new):
            current = _joined(current, new.text)
            continue
        if current is not None:
            yield current
        current = new
    if current is not None:
        yield current


def _continues(current: LogMessage, new: LogMessage) -> bool:
    same_header = (current.time, current.level, current.process) == (
        new.time,
        new.level,
        new.process,
    )
    return same_header and not _UNCLEAN.match(new.text)


def _joined(message: LogMessage, line: str) -> LogMessage:
    return LogMessage(
        time=message.time,
        level=message.level,
        process=message.process,
        text=f"{message.text}\n{line}",
    )


def examine(text: str, *, begin: float, end: float, complete: bool = True) -> BrokerRecord:
    """Return what the broker wrote about AMQP connections from `begin` to `end`.

    Args:
        text: The broker's log from its start on.
        begin: Start of the window, as `time.time()` counts.
        end: End of the window; take it before clients are told to stop.
        complete: Whether all clients had gone when the broker wrote the last of this log, so that
            every connection must have an end in it.
    """
    opened: dict[str, float] = {}
    clean: dict[str, float] = {}
    unclean: dict[str, LogMessage] = {}
    channel_errors: Counter[str] = Counter()
    secret_updates: Counter[str] = Counter()
    for message in messages(text):
        inside = begin <= message.time <= end
        if message.alarming and _UNCLEAN.match(message.text):
            # A connection may have several such lines: the first names the cause.
            unclean.setdefault(message.process, message)
        elif _ACCEPTED.match(message.text):
            opened[message.process] = message.time
        elif _CLOSED.match(message.text):
            clean[message.process] = message.time
        elif inside and message.alarming and _CHANNEL_ERROR.match(message.text):
            channel_errors[reason_of(message.text)] += 1
        elif inside and _SECRET_UPDATED.search(message.text):
            secret_updates[message.process] += 1
    ends = {process: moment for process, moment in clean.items() if process not in unclean}
    drops = [message for message in unclean.values() if begin <= message.time <= end]
    dropped = Counter(reason_of(message.text) for message in drops)
    silent = [
        process
        for process, moment in opened.items()
        if moment <= end and process not in clean and process not in unclean
    ]
    if complete and silent:
        dropped["no_end_logged"] = len(silent)
    return BrokerRecord(
        opened=_count_inside(opened, begin, end),
        closed=_count_inside(ends, begin, end),
        dropped=dropped,
        samples=tuple(message.text for message in drops[:SAMPLES]),
        channel_errors=channel_errors,
        secret_updates=secret_updates,
    )


def _count_inside(moments: Mapping[str, float], begin: float, end: float) -> int:
    return sum(begin <= moment <= end for moment in moments.values())


def updates(text: str) -> list[float]:
    """Return when the broker took a new secret, on any connection."""
    return [message.time for message in messages(text) if _SECRET_UPDATED.search(message.text)]


def reason_of(text: str) -> str:
    """Return a short name for why a connection or channel ended."""
    lowered = text.lower()
    for words, name in _REASONS:
        if words in lowered:
            return name
    # 4.3 writes the words of whoever closed it from outside, an operator for instance.
    return "connection_forced" if _FORCED.match(text) else "other"
