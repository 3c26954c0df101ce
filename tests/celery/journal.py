"""What the processes of a test record about themselves, outside the product under test.

Every record is one datagram to the test process, so it is there even if its writer is killed right
after, and the test can wait for it instead of looking again and again.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.celery.variables import JOURNAL

_LARGEST = 65536


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One thing that happened.

    Args:
        kind: What, such as `start`, `end`, `sent`, `publish_error`, `worker_ready`.
        pid: The process where it happened.
        at: When, as `time.time()` counts.
        id: The task concerned, if any.
        facts: Whatever else there is to say.
    """

    kind: str
    pid: int
    at: float
    id: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def note(kind: str, id: str = "", **facts: Any) -> None:  # noqa: A002 - as in Record
    """Send a record to the journal that this process's environment names."""
    record = {"kind": kind, "pid": os.getpid(), "at": time.time(), "id": id, "facts": facts}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outgoing:
        outgoing.sendto(json.dumps(record).encode(), os.environ[JOURNAL])


class Journal:
    """Receives the records of all processes of a test."""

    def __init__(self) -> None:
        """Listen from now on."""
        # A socket's path may have 107 bytes; pytest's folders are longer at times.
        self._folder = Path(tempfile.mkdtemp(prefix="journal-"))
        self.path = self._folder / "socket"
        self._incoming = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._incoming.bind(str(self.path))
        self._changed = threading.Condition(threading.RLock())
        self._records: list[Record] = []
        self._thread = threading.Thread(target=self._receive, name="journal", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outgoing:
            outgoing.sendto(b"", str(self.path))
        self._thread.join(5)
        self._incoming.close()
        shutil.rmtree(self._folder)

    def records(self, *kinds: str) -> list[Record]:
        """Return the records of these kinds so far; all if none is named."""
        with self._changed:
            return [record for record in self._records if not kinds or record.kind in kinds]

    def ids(self, kind: str) -> Counter[str]:
        """Return how often each task has a record of this kind."""
        return Counter(record.id for record in self.records(kind))

    def wait(self, condition: Callable[[Journal], Any], timeout: float = 30.0) -> bool:
        """Wait until `condition(self)` holds; False if it does not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(condition(self)), timeout)

    def wait_for(self, kind: str, count: int = 1, timeout: float = 30.0) -> list[Record]:
        """Wait for so many records of a kind and return them.

        Raises:
            AssertionError: There were not enough in time.
        """
        arrived = self.wait(lambda journal: len(journal.records(kind)) >= count, timeout)
        found = self.records(kind)
        assert arrived, f"{len(found)} of {count} records {kind!r} after {timeout:g} s"
        return found

    def wait_for_ends(self, ids: Iterable[str], timeout: float = 30.0) -> None:
        """Wait until each of these tasks has ended.

        Raises:
            AssertionError: Some did not in time.
        """
        wanted = set(ids)
        self.wait(lambda journal: wanted <= journal.ids("end").keys(), timeout)
        missing = wanted - self.ids("end").keys()
        assert not missing, f"{len(missing)} of {len(wanted)} tasks did not end in {timeout:g} s"

    def not_exactly_once(self) -> dict[str, str]:
        """Return each task sent or started whose starts and ends are not one each."""
        starts, ends = self.ids("start"), self.ids("end")
        return {
            task: f"{starts[task]} starts, {ends[task]} ends"
            for task in self.ids("sent") | starts
            if (starts[task], ends[task]) != (1, 1)
        }

    def _receive(self) -> None:
        while data := self._incoming.recv(_LARGEST):
            with self._changed:
                self._records.append(Record(**json.loads(data)))
                self._changed.notify_all()
