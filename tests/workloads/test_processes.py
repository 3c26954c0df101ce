"""No process of a run outlives the run."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.celery.processes import Process, wait_until
from workloads.processes import Child

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 60.0
SLEEPER = """
import os, sys, time
from pathlib import Path
from workloads.processes import die_with_parent
die_with_parent()
ready = Path(sys.argv[1])
ready.with_suffix(".new").write_text(str(os.getpid()))
ready.with_suffix(".new").rename(ready)
time.sleep(100)
"""
PARENT_OF_A_CHILD = f"""
import os, sys, time
from pathlib import Path
from workloads.processes import Child
folder = Path(sys.argv[1])
Child("child", ["-c", {SLEEPER!r}, str(folder / "ready")], os.environ, folder)
time.sleep(100)
"""
PARENT_OF_A_GRANDCHILD = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {SLEEPER!r}, sys.argv[1]])
"""

UNWINDS = """
import sys, time
from pathlib import Path
from workloads.processes import terminate_like_interrupt
terminate_like_interrupt()
folder = Path(sys.argv[1], "folder")
folder.mkdir()
try:
    print("ready", flush=True)
    time.sleep(100)
finally:
    print("unwinding", flush=True)
    sys.stdin.readline()
    folder.rmdir()
"""
LEAVES_A_FOLDER = """
import multiprocessing.util, os, sys, time
from pathlib import Path
Path(sys.argv[1]).write_text(multiprocessing.util.get_temp_dir())
time.sleep(100)
"""
TESTS = """
import time
import pytest

@pytest.fixture
def something(tmp_path):
    yield
    print("torn down", flush=True)

def test_something(something):
    print("begun", flush=True)
    time.sleep(100)
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


def test_only_the_first_sigterm_counts(tmp_path: Path) -> None:
    """`timeout` sends two: the second must not end what the first has begun."""
    command = [sys.executable, "-c", UNWINDS, str(tmp_path)]
    with speaking(command) as (process, said):
        assert said.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert said.readline() == "unwinding\n"
        process.send_signal(signal.SIGTERM)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [Child, Process])
def test_what_a_killed_child_leaves_is_in_its_folder(
    tmp_path: Path, kind: type[Child | Process]
) -> None:
    """A worker that is killed cannot remove multiprocessing's temporary folder."""
    told = tmp_path / "told"
    child = kind("child", ["-c", LEAVES_A_FOLDER, str(told)], os.environ, tmp_path)
    wait_until(lambda: told.exists() and told.read_text())
    (child.kill if isinstance(child, Child) else child.close)()
    left = Path(told.read_text())
    assert left.is_dir()
    assert left.is_relative_to(tmp_path)


def test_a_test_run_that_is_terminated_cleans_up(tmp_path: Path) -> None:
    """A fixture is torn down when its run is told to stop."""
    (tmp_path / "test_it.py").write_text(TESTS)
    pytest_ = [sys.executable, "-m", "pytest", "-s", "-p", "conftest", "-c", os.devnull]
    with speaking([*pytest_, f"--rootdir={tmp_path}", str(tmp_path)]) as (process, said):
        assert any("begun" in line for line in iter(said.readline, ""))
        process.send_signal(signal.SIGTERM)
        assert "torn down" in said.read()


@contextmanager
def speaking(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Start a process that tells how far it is; end its input, and wait for it, at the end."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
            process.communicate(timeout=LIMIT)
        finally:
            process.kill()
