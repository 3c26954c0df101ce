"""The commands of the README do what it says."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from credproc.parser import build_parser
from mqauth_sandbox.pki import IdentityFiles, Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint

README = Path(__file__).resolve().parents[1] / "README.md"
LINES = [
    line.removeprefix("$ ")
    for line in README.read_text(encoding="utf-8").splitlines()
    if line.startswith("$ credproc ")
]
COMMANDS = [line.partition("#")[0].strip() for line in LINES]
ENDING = [
    command
    for command in COMMANDS
    # What runs until it is told to stop is run by test_serve_command.py.
    if not command.startswith("credproc serve")
    and not (command.startswith("credproc update") and "--once" not in command)
    and not command.startswith("credproc --")
]


@pytest.mark.parametrize("line", LINES)
def test_the_command_exists(line: str) -> None:
    """The parser takes every documented line."""
    words = shlex.split(line, comments=True)[1:]
    if ">" in words:
        del words[words.index(">") :]
    parser, names = build_parser()
    if words[0] not in names:
        words.insert(0, "credential-process")
    assert callable(parser.parse_args(words).run)


@pytest.fixture
def files(mqauth_pki: Pki, tmp_path: Path) -> IdentityFiles:
    """What the README's paths of a host's certificate and key stand for."""
    return mqauth_pki.issue("ec-p256").write(tmp_path)


@pytest.fixture
def environment(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, files: IdentityFiles, tmp_path: Path
) -> dict[str, str]:
    """A home with the entry `onprem` that the README uses."""
    words = [*mqauth_rolesanywhere.arguments(), *files.arguments()]
    pairs = zip(words[::2], words[1::2], strict=True)
    entries = [f'{name.removeprefix("--")} = "{value}"' for name, value in pairs]
    path = tmp_path / ".config" / "credproc" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(["[profiles.onprem]", *entries]))
    (tmp_path / ".local/share/bash-completion/completions").mkdir(parents=True)
    return {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "AWS_CA_BUNDLE": str(mqauth_rolesanywhere.ca_file),
        "CREDPROC_CACHE_DIR": str(tmp_path / "cache"),
    }


@pytest.mark.parametrize("command", ENDING)
def test_the_command_works(command: str, environment: dict[str, str], files: IdentityFiles) -> None:
    """Every documented line that ends by itself ends well, typed into a shell as it stands."""
    command = command.replace("/etc/pki/host.key", str(files.private_key))
    command = command.replace("/etc/pki/host.pem", str(files.certificate))
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
