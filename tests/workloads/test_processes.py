"""No process of a run outlives the run."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from workloads.processes import Child

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 20.0
SLEEPER = """
import os, sys, time
from pathlib import Path
from workloads.processes import die_with_parent
die_with_parent()
ready = Path(sys.argv[1])
ready.with_suffix(".new").write_text(str(os.getpid()))
ready.with_suffix(".new").rename(ready)
time.sleep(60)
"""
PARENT_OF_A_CHILD = f"""
import os, sys, time
from pathlib import Path
from workloads.processes import Child
folder = Path(sys.argv[1])
Child("child", ["-c", {SLEEPER!r}, str(folder / "ready")], os.environ, folder)
time.sleep(60)
"""
PARENT_OF_A_GRANDCHILD = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {SLEEPER!r}, sys.argv[1]])
"""


def sleeper(ready: Path) -> int:
    """Wait until the sleeper is ready; return a descriptor that is readable once it has ended."""
    deadline = time.monotonic() + LIMIT
    while not ready.exists():
        assert time.monotonic() < deadline, "the sleeper never started"
        time.sleep(0.02)
    return os.pidfd_open(int(ready.read_text()))


def ended(descriptor: int) -> bool:
    """Wait for the end of the descriptor's process; return whether it came in time."""
    try:
        return bool(select.select([descriptor], [], [], LIMIT)[0])
    finally:
        os.close(descriptor)


def test_a_child_dies_with_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL of the run ends its worker and its producer too."""
    command = [sys.executable, "-c", PARENT_OF_A_CHILD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT) as parent:
        child = sleeper(tmp_path / "ready")
        parent.send_signal(signal.SIGKILL)
        assert ended(child)


def test_kill_ends_the_whole_group(tmp_path: Path) -> None:
    """Grandchildren, as a worker's pool has, end with the child."""
    arguments = ["-c", PARENT_OF_A_GRANDCHILD, str(tmp_path / "ready")]
    child = Child("child", arguments, os.environ, tmp_path)
    grandchild = sleeper(tmp_path / "ready")
    child.kill()
    assert ended(grandchild)
    assert child.exit_code == -signal.SIGKILL
