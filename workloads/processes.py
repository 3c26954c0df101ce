"""Child processes that never outlive the one that started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

REPOSITORY = Path(__file__).resolve().parents[1]

_PR_SET_PDEATHSIG = 1


def die_with_parent(**_: Any) -> None:
    """Have the kernel kill this process when its parent goes; also a Celery signal handler.

    The kernel clears the setting on `fork`, so each process calls this for itself.
    """
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # The parent went before the setting took hold.
        os._exit(1)


def terminate_like_interrupt() -> None:
    """Make SIGTERM unwind this process as Ctrl-C does, so that every `with` block ends.

    Only the first one counts: `timeout` and `make` send a second, which would end the unwinding.
    """

    def unwind(_signal: int, _frame: FrameType | None) -> NoReturn:
        # Not SIG_IGN, which programs that are started from here on would inherit.
        signal.signal(signal.SIGTERM, lambda *_: None)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, unwind)


class Child:
    """A child process in a process group of its own, with its output in a file.

    Args:
        name: For messages and the name of the log file.
        arguments: What follows `python`.
        environment: The whole environment of the child.
        folder: Where `<name>.log` goes, and what it leaves when it is killed.

    Start it from the main thread: the kernel takes the death of the starting thread for the
    parent's.
    """

    def __init__(
        self, name: str, arguments: list[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        """Start the process."""
        self.name = name
        self.log_file = folder / f"{name}.log"
        temporary = folder / "tmp"
        temporary.mkdir(exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environment, "TMPDIR": str(temporary)},
                cwd=REPOSITORY,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id, which is the group's id too."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit status, or None while it runs; negative for a signal."""
        return self._process.poll()

    def close_input(self) -> None:
        """Close the child's standard input, which our children take as `please end`."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def terminate(self) -> None:
        """Ask the process, not its group, to end: Celery's warm shutdown."""
        if self.exit_code is None:
            self._process.terminate()

    def wait(self, seconds: float) -> bool:
        """Wait for the end; return whether it came in time."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """Kill whatever is left of the group and wait for it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.close_input()
        self._process.wait(10)

    def log_tail(self, lines: int = 15) -> str:
        """Return the end of its output."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])
