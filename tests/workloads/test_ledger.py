"""The ledger keeps every event, and says so when it cannot be read."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workloads.ledger import LedgerError, LedgerReader, LedgerWriter, What, read_ledger

ROOT = Path(__file__).resolve().parents[2]
WRITE_AND_BE_KILLED = """
import os, signal, sys
from pathlib import Path
from workloads.ledger import LedgerWriter, What
ledger = LedgerWriter(Path(sys.argv[1]))
for number in range(500):
    ledger.record(What.START, "short", str(number))
os.kill(os.getpid(), signal.SIGKILL)
"""
WRITE_FROM_A_FORK = """
import os, sys
from pathlib import Path
from workloads.ledger import LedgerWriter, What
ledger = LedgerWriter(Path(sys.argv[1]))
ledger.record(What.START, "short", "parent")
if os.fork() == 0:
    ledger.record(What.START, "short", "child")
    os._exit(0)
os.wait()
"""


def run(code: str, directory: Path) -> int:
    """Run `code` in a Python of its own; return its exit status."""
    command = [sys.executable, "-c", code, str(directory)]
    return subprocess.run(command, cwd=ROOT, check=False, timeout=30).returncode


def test_an_event_reads_as_it_was_written(tmp_path: Path) -> None:
    """What one process records, another reads with every field."""
    LedgerWriter(tmp_path).record(What.SENT, "long", "id-1", 1.25, "detail")
    (event,) = read_ledger(tmp_path)
    assert (event.what, event.kind, event.task_id) == (What.SENT, "long", "id-1")
    assert (event.value, event.detail) == (1.25, "detail")


def test_nothing_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    """A SIGKILL right after an event leaves that event and all before it in the ledger."""
    assert run(WRITE_AND_BE_KILLED, tmp_path) == -signal.SIGKILL
    assert [event.task_id for event in read_ledger(tmp_path)] == [str(n) for n in range(500)]


def test_a_forked_process_writes_a_file_of_its_own(tmp_path: Path) -> None:
    """Parent and child record into different files, so neither can tear the other's lines."""
    assert run(WRITE_FROM_A_FORK, tmp_path) == 0
    assert {event.task_id for event in read_ledger(tmp_path)} == {"parent", "child"}
    assert len(list(tmp_path.glob("*.events"))) == 2


def test_a_reader_continues_where_it_stopped(tmp_path: Path) -> None:
    """Each look returns only what was added since the last one."""
    writer, reader = LedgerWriter(tmp_path), LedgerReader(tmp_path)
    writer.record(What.START, "short", "one")
    assert [event.task_id for event in reader.poll()] == ["one"]
    assert reader.poll() == []
    writer.record(What.END, "short", "one")
    assert [event.what for event in reader.poll()] == [What.END]


def test_an_unfinished_line_waits_for_its_end(tmp_path: Path) -> None:
    """A line is read once it is complete, not in halves."""
    path = tmp_path / "1.events"
    path.write_text('[1.0,"start","short",')
    reader = LedgerReader(tmp_path)
    assert reader.poll() == []
    path.write_text('[1.0,"start","short","one",0,""]\n')
    assert [event.task_id for event in reader.poll()] == ["one"]


@pytest.mark.parametrize("line", ["garbage", "[1.0]", '[1.0,"vanished","short","one",0,""]'])
def test_a_line_that_cannot_be_read_is_an_error(tmp_path: Path, line: str) -> None:
    """Reading never skips over what it does not understand: a loss could hide there."""
    (tmp_path / "1.events").write_text(line + "\n")
    with pytest.raises(LedgerError, match=r"1\.events"):
        read_ledger(tmp_path)
