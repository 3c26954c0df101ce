"""Runs credproc and AWS's own helper as their users do, side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
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
