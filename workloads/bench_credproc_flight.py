"""Many processes that want one session: how long they wait for the one that fetches it.

Tests use these functions too, to see that everybody is answered by one call; how long that takes is
measured here alone.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint

TOGETHER = Path(__file__).with_name("bench_credproc_together.py")
LIMIT = 60.0


@dataclass(frozen=True, kw_only=True)
class Start:
    """What became of one of many processes.

    Args:
        code: Its exit code.
        begun: When it began, in seconds by the monotonic clock.
        ended: When it had its answer.
        key_id: The access key's id that it was given.
    """

    code: int
    begun: float
    ended: float
    key_id: str | None

    @property
    def took(self) -> float:
        """How long it waited for its answer."""
        return self.ended - self.begun


@dataclass(frozen=True, kw_only=True)
class Takeover:
    """What became of those who waited for one that was killed.

    Args:
        delay: Seconds from its death until all of them were answered.
        codes: Their exit codes.
        outputs: What they printed.
        said: What they wrote to standard error.
        holder: The exit code of the one that was killed.
    """

    delay: float
    codes: tuple[int, ...]
    outputs: tuple[str, ...]
    said: tuple[str, ...]
    holder: int


def start_together(
    python: Path | str, environment: Mapping[str, str], arguments: Sequence[str], many: int
) -> list[Start]:
    """Let many processes run one command at once.

    Args:
        python: An interpreter that has credproc.
        environment: Their environment.
        arguments: The command line.
        many: How many.
    """
    done = subprocess.run(
        [str(python), "-P", str(TOGETHER), str(many), *arguments],
        env=dict(environment),
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        Start(code=code, begun=begun, ended=ended, key_id=key) for code, begun, ended, key in rows
    ]


def longest_wait_beyond(starts: Sequence[Start]) -> float:
    """Return how many seconds longer than the call itself the last one waited.

    The one that made the call is the first that has its answer.
    """
    call = min(starts, key=lambda start: start.ended).took
    return max(start.took for start in starts) - call


def kill_the_holder(
    program: Path,
    environment: Mapping[str, str],
    arguments: Sequence[str],
    endpoint: RolesAnywhereEndpoint,
    waiting: int,
) -> Takeover:
    """Kill the process that fetches, with SIGKILL in the middle of its call, while others wait.

    Args:
        program: credproc.
        environment: The processes' environment.
        arguments: The command line.
        endpoint: The service that it leads to.
        waiting: How many wait.
    """

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(program), *arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    before = endpoint.requests
    with endpoint.faults.during("hang"):
        holder = start()
        if not endpoint.wait_for_requests(before + 1, timeout=LIMIT):
            holder.kill()
            raise TimeoutError("credproc asked the service for nothing")
        waiters = [start() for _ in range(waiting)]
        for waiter in waiters:
            wait_until_asleep(waiter)
    holder.kill()
    killed = time.monotonic()
    answers = [waiter.communicate(timeout=LIMIT) for waiter in waiters]
    delay = time.monotonic() - killed
    holder.communicate()
    return Takeover(
        delay=delay,
        codes=tuple(waiter.returncode for waiter in waiters),
        outputs=tuple(output for output, _ in answers),
        said=tuple(said for _, said in answers),
        holder=holder.returncode,
    )


def wait_until_asleep(process: subprocess.Popen[str]) -> None:
    """Wait until a process sleeps between two looks at what the holder does.

    The kernel tells where a process is; where it does not, three seconds are enough to get there.
    """
    place = Path(f"/proc/{process.pid}/wchan")
    deadline = time.monotonic() + 3
    while "nanosleep" not in place.read_text() and time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"credproc did not wait: {process.communicate()}")
        time.sleep(0.005)
