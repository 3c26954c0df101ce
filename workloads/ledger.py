"""The tasks' own record of what happened to them, kept outside the product under test.

Every process appends to a file of its own with one `write` per event, so an event is in the
kernel's hands before the task goes on and survives a SIGKILL of its writer. One line is one JSON
array: time, event, kind, task id, value, detail.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class What(StrEnum):
    """What can happen to a task, and to the processes around it."""

    SENT = "sent"
    PUBLISH_ERROR = "publish_error"
    START = "start"
    END = "end"
    RESULT = "result"
    RESULT_MISSING = "result_missing"
    WORKER_READY = "worker_ready"
    SCHEDULE_END = "schedule_end"
    PRODUCER_DONE = "producer_done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the ledger.

    Args:
        time: When, as `time.time()` counts.
        what: What happened.
        kind: `short` or `long` for tasks, else empty.
        task_id: The task, else empty.
        value: Milliseconds for `SENT` (how long publishing took), else 0.
        detail: Class of the error, where there was one.
    """

    time: float
    what: What
    kind: str = ""
    task_id: str = ""
    value: float = 0.0
    detail: str = ""


class LedgerError(Exception):
    """A ledger file holds a line that no writer of ours wrote."""


class LedgerWriter:
    """Appends events to this process's own file; safe from threads and across forks.

    Args:
        directory: Where the ledger's files are; must exist.
    """

    def __init__(self, directory: Path) -> None:
        """Open nothing yet: the first event of each process does."""
        self._directory = directory
        self._pid = 0
        self._descriptor = -1
        self._opening = threading.Lock()

    def record(
        self, what: What, kind: str = "", task_id: str = "", value: float = 0.0, detail: str = ""
    ) -> None:
        """Append one event, stamped now."""
        row = [round(time.time(), 6), what.value, kind, task_id, round(value, 3), detail]
        os.write(self._file(), json.dumps(row, separators=(",", ":")).encode() + b"\n")

    def _file(self) -> int:
        pid = os.getpid()
        if pid != self._pid:
            with self._opening:
                if pid != self._pid:
                    self._descriptor = self._open(pid)
                    self._pid = pid
        return self._descriptor

    def _open(self, pid: int) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._directory / f"{pid}.events", flags, 0o600)


class LedgerReader:
    """Reads what was appended since the last look, over all files of a ledger.

    Args:
        directory: Where the ledger's files are.
    """

    def __init__(self, directory: Path) -> None:
        """Start at the beginning of every file."""
        self._directory = directory
        self._offsets: dict[Path, int] = {}

    def poll(self) -> list[Event]:
        """Return the events that were added since the last call.

        Raises:
            LedgerError: A complete line cannot be read.
        """
        return [
            event
            for path in sorted(self._directory.glob("*.events"))
            for event in self._read_new(path)
        ]

    def _read_new(self, path: Path) -> Iterator[Event]:
        offset = self._offsets.get(path, 0)
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
        # A line still without its end belongs to the next look.
        complete = data[: data.rfind(b"\n") + 1]
        self._offsets[path] = offset + len(complete)
        for line in complete.splitlines():
            yield _parse(line, path)


def read_ledger(directory: Path) -> list[Event]:
    """Return every event of a ledger, in order of time.

    Raises:
        LedgerError: A line cannot be read; counting around it could hide a loss.
    """
    return sorted(LedgerReader(directory).poll(), key=lambda event: event.time)


def _parse(line: bytes, path: Path) -> Event:
    try:
        when, what, kind, task_id, value, detail = json.loads(line)
        return Event(
            time=float(when),
            what=What(what),
            kind=str(kind),
            task_id=str(task_id),
            value=float(value),
            detail=str(detail),
        )
    except (ValueError, TypeError) as error:
        raise LedgerError(f"{path.name}: cannot read the line {line[:80]!r}: {error}") from error
