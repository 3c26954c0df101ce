"""Processes that a test starts, listens to, and never leaves behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.celery.journal import Journal

REPOSITORY = Path(__file__).resolve().parents[2]
APP = "tests.celery.sample_app"
START_LIMIT = 60.0
STOP_LIMIT = 40.0


class Process:
    """A child in a process group of its own whose output is read as it comes.

    Args:
        name: For messages and the name of the file that keeps the output.
        arguments: What follows `python`.
        environment: Its whole environment.
        folder: Where `<name>.log` goes, and what it leaves when it is killed: `close` does not
            ask, and multiprocessing, for one, removes its temporary folder only at a good end.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        """Start it."""
        self.name = name
        self.log_file = folder / f"{name}.log"
        temporary = folder / "tmp"
        temporary.mkdir(exist_ok=True)
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environment, "TMPDIR": str(temporary)},
            cwd=REPOSITORY,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, name=f"read-{name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its id, which is its group's id too."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit status, or None while it runs; negative for a signal."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """All it has written so far, with its children."""
        with self._changed:
            return "".join(self._lines)

    def lines_with(self, *texts: str) -> list[str]:
        """Return the lines so far that contain all of `texts`."""
        return [line for line in self.output.splitlines() if all(text in line for text in texts)]

    def wait_for_line(self, *texts: str, timeout: float = 30.0) -> str:
        """Wait for a line that contains all of `texts` and return the first.

        Raises:
            AssertionError: None came in time.
        """

        def there() -> bool:
            return bool(self.lines_with(*texts))

        with self._changed:
            found = self._changed.wait_for(there, timeout)
        assert found, f"{self.name} wrote nothing like {texts} in {timeout:g} s:\n{self.tail()}"
        return self.lines_with(*texts)[0]

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone, as `kill` does."""
        self._process.send_signal(number)

    def send_to_group(self, number: signal.Signals) -> None:
        """Send a signal to the process and all of its children."""
        os.killpg(self.pid, number)

    def close_input(self) -> None:
        """Close its standard input, which our producer takes as `please end`."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def wait(self, timeout: float = STOP_LIMIT) -> int:
        """Wait for the end and return the exit status.

        Raises:
            AssertionError: It goes on after `timeout` seconds.
        """
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} still runs after {timeout:g} s:\n{self.tail()}"
            ) from None
        self._reader.join(5)
        return status

    def close(self) -> None:
        """Kill whatever is left of the group."""
        with contextlib.suppress(ProcessLookupError):
            self.send_to_group(signal.SIGKILL)
        self.close_input()
        self._process.wait(10)
        self._reader.join(5)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def tail(self, lines: int = 25) -> str:
        """Return the end of its output."""
        return "\n".join(self.output.splitlines()[-lines:])

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self.log_file.open("a") as log, contextlib.suppress(ValueError):
            for line in self._process.stdout:
                log.write(line)
                log.flush()
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()


class Worker(Process):
    """A Celery worker.

    Args:
        journal: Where it says that it is ready.
        options: What follows `celery worker`.
        **process: See `Process`.
    """

    def __init__(self, *, journal: Journal, options: Sequence[str], **process: Any) -> None:
        """Start it; `wait_until_ready` waits for it."""
        self._journal = journal
        super().__init__(arguments=["-m", "celery", "-A", APP, "worker", *options], **process)

    def wait_until_ready(self, timeout: float = START_LIMIT) -> None:
        """Wait until it consumes.

        Raises:
            AssertionError: It ended, or was not ready in time.
        """
        self._journal.wait(lambda _: self.ready or self.exit_code is not None, timeout)
        assert self.ready, f"{self.name} did not start:\n{self.tail()}"

    @property
    def ready(self) -> bool:
        """Whether it has said that it consumes."""
        return any(record.pid == self.pid for record in self._journal.records("worker_ready"))

    def stop(self, timeout: float = STOP_LIMIT) -> int:
        """Shut it down as operators do, warmly, and return the exit status."""
        if self.exit_code is None:
            self.send(signal.SIGTERM)
        return self.wait(timeout)


class Producer(Process):
    """A process that publishes tasks until it is told to stop.

    Args:
        journal: Where it says what it published.
        options: What follows the name of its module.
        **process: See `Process`.
    """

    def __init__(self, *, journal: Journal, options: Sequence[str], **process: Any) -> None:
        """Start it."""
        self._journal = journal
        super().__init__(arguments=["-m", "tests.celery.sample_producer", *options], **process)

    def stop(self, timeout: float = STOP_LIMIT) -> None:
        """Let it collect its results; the process and its connections stay until `close`.

        Raises:
            AssertionError: It failed or did not come to its end in time.
        """
        self.close_input()
        self._journal.wait(lambda _: self.done or self.exit_code is not None, timeout)
        assert self.done, f"{self.name} did not end well:\n{self.tail()}"

    @property
    def done(self) -> bool:
        """Whether it has published and collected everything."""
        return any(record.pid == self.pid for record in self._journal.records("producer_done"))


def wait_until(condition: Callable[[], Any], timeout: float = 30.0, what: str = "") -> None:
    """Look every 50 ms until `condition` holds, for things that announce nothing by themselves.

    Raises:
        AssertionError: It did not hold in time.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not after {timeout:g} s: {what or condition}"
        time.sleep(0.05)
