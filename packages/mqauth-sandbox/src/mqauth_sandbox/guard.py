"""Runs one node and sees to it that nothing of it outlives the sandbox, whatever happens to that.

A script of its own, started by path with the standard library only, so that it is up at once:

    guard.py OWNER_PID REMOVE_DIRECTORY COMMAND...

It ends the node and removes the directory when the process OWNER_PID is gone, which a `finally`
in that process cannot do after SIGKILL, and which the kernel's parent-death signal alone does too
early: that fires when the *thread* that started the child ends.

SIGTERM asks the node to shut down in order; SIGQUIT ends it at once. The exit status is the
node's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_REMOVAL_ATTEMPTS = 20


def main(owner: int, directory: Path, command: list[str]) -> int:
    """Run `command` until it ends, is told to, or its owner is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Whatever the node leaves behind (epmd makes itself a daemon) becomes our child, not init's.
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        owner_fd = os.pidfd_open(owner)
    except ProcessLookupError:
        return 1
    wakeup, signalled = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(signalled)
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    node = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        # Single-threaded here, so this holds for the life of this process, SIGKILL included.
        preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),  # noqa: PLW1509
    )
    while node.poll() is None:
        ready, _, _ = select.select([owner_fd, wakeup], [], [])
        numbers = os.read(wakeup, 64) if wakeup in ready else b""
        if owner_fd in ready or signal.SIGQUIT in numbers:
            node.kill()
            node.wait()
        elif signal.SIGTERM in numbers:
            _ask_to_stop(node.pid)
    owner_is_gone = bool(select.select([owner_fd], [], [], 0)[0])
    _end_descendants()
    if owner_is_gone:
        _remove(directory)
    return node.returncode


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    return []


def _ask_to_stop(pid: int) -> None:
    # `unshare` does not pass signals on: there the node is its child.
    name = Path(f"/proc/{pid}/comm").read_text().strip()
    for target in _children(pid) if name == "unshare" else [pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(target, signal.SIGTERM)


def _end_descendants() -> None:
    """Kill and reap what is left, level by level: orphans come to us as their parents end."""
    while True:
        for child in _children(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _remove(directory: Path) -> None:
    for _ in range(_REMOVAL_ATTEMPTS):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
