"""What must not be in the tree, and what the tools of the tree promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

# One character of each stands in brackets, so that this file does not match itself.
MACHINE_PATHS = re.compile(r"/wor[k]/\w|/roo[t]/\.\w|/hom[e]/[a-z]+/|/tm[p]/\w*\.\d|bash_job[s]")
PACKAGE_HOSTS = re.compile(r"pyp[i]\.org|pythonhoste[d]\.org|astra[l]\.sh", re.IGNORECASE)


def output_of(*command: str | Path) -> str:
    """Return what a command prints; it must succeed."""
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    ).stdout


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """Return the files under version control."""
    return [ROOT / name for name in output_of("git", "ls-files", "-z").split("\0") if name]


def lines_with(pattern: re.Pattern[str], files: list[Path]) -> list[str]:
    """Return the places where `pattern` occurs, as `file:line`."""
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        if path.is_file()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_lock_file_is_tracked(tracked: list[Path]) -> None:
    """A uv.lock names download hosts, so it stays out of the tree."""
    assert [path for path in tracked if path.name == "uv.lock"] == []


def test_no_machine_paths(tracked: list[Path]) -> None:
    """Nothing names a folder of the machine it was written on."""
    assert lines_with(MACHINE_PATHS, tracked) == []


def test_no_package_hosts(tracked: list[Path]) -> None:
    """Nothing names the host of a package index: the user's configuration does."""
    assert lines_with(PACKAGE_HOSTS, tracked) == []


def test_help_lists_the_tasks() -> None:
    """`make` alone lists every task, each with a sentence."""
    listed = dict(re.findall(r"^  make (\S+) +(\S.+)$", output_of("make"), re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert listed.keys() == set(phony.group(1).split())
    assert listed.keys() >= {"demo", "test", "lint", "types", "soak", "bench"}


def test_commit_hooks_are_valid() -> None:
    """The commit hooks parse, and fetch nothing: all are local."""
    config = ROOT / ".pre-commit-config.yaml"
    output_of(BIN / "pre-commit", "validate-config", config)
    assert re.findall(r"repo: (\S+)", config.read_text()) == ["local"]


def test_continuous_integration_runs_the_tests() -> None:
    """.ci/run may be executed and calls `make test`."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.search(r"^exec timeout .* make test </dev/null$", script.read_text(), re.MULTILINE)
