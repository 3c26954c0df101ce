"""Runs credproc and AWS's own helper as their users do, side by side."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CREDPROC = Path(sys.executable).with_name("credproc")
TIME_LIMIT = 30.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a program did.

    Args:
        code: Its exit code.
        stdout: What it printed.
        stderr: What it said.
    """

    code: int
    stdout: str
    stderr: str

    @property
    def credentials(self) -> dict[str, Any]:
        """The JSON that it printed, which must be all that it printed."""
        assert self.code == 0, self.stderr
        document: dict[str, Any] = json.loads(self.stdout)
        return document


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program with the environment of a user who has nothing else.

    Args:
        executable: The program.
        environment: All of its environment.
    """

    executable: Path
    environment: Mapping[str, str]

    def __call__(
        self, *arguments: str, env: Mapping[str, str] | None = None, limit: float = TIME_LIMIT
    ) -> Outcome:
        """Run it to its end.

        Args:
            *arguments: Its arguments.
            env: Variables to add.
            limit: Seconds until it counts as hanging.
        """
        done = subprocess.run(
            [str(self.executable), *arguments],
            env={**self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
            start_new_session=True,  # no terminal: nothing may ask for a password
        )
        return Outcome(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start it and return its process."""
        return subprocess.Popen(
            [str(self.executable), *arguments],
            env={**self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def environment(home: Path, ca_file: Path) -> dict[str, str]:
    """Return the environment of a user with an empty home who trusts the sandbox's authority."""
    config = home / ".aws-config"
    config.touch()
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "CREDPROC_CACHE_DIR": str(home / "cache"),
        "AWS_CA_BUNDLE": str(ca_file),
        "AWS_CONFIG_FILE": str(config),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


_ON_A_TERMINAL = """
import os, sys
os.close(os.open(sys.argv[1], os.O_RDWR))  # a session's leader gets it as its terminal
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def at_a_prompt(
    program: Program, arguments: Sequence[str]
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a program on a terminal of its own, up to its prompt; yield it and the terminal."""
    terminal, theirs = pty.openpty()
    words = [os.ttyname(theirs), str(program.executable), *arguments]
    process = subprocess.Popen(
        [sys.executable, "-c", _ON_A_TERMINAL, *words],
        env=dict(program.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        shown = b""
        while b"Password of " not in shown:
            assert select.select([terminal], [], [], 20.0)[0], shown
            shown += os.read(terminal, 4096)
        yield process, terminal
    finally:
        with process:
            process.kill()
        os.close(theirs)
        os.close(terminal)
