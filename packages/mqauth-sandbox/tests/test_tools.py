"""The programs beside the brokers: found, prepared, and clear words where they cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mqauth_sandbox import tools
from mqauth_sandbox.command import main
from mqauth_sandbox.errors import NotInstalledError
from mqauth_sandbox.official_helper import (
    HELPER_VARIABLE,
    GoMissingError,
    find_official_helper,
    helper_version,
    prepare_official_helper,
)
from mqauth_sandbox.tools import TOOLS, find_tool, prepare_tool


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with nothing in it, and nobody who names a helper."""
    monkeypatch.setenv("MQAUTH_SANDBOX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(HELPER_VARIABLE, raising=False)
    return tmp_path / "cache"


def executable(path: Path, text: str) -> Path:
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_helper_that_the_environment_names(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper of the user's own is taken as it is, and a wrong path is named."""
    own = executable(tmp_path / "helper", "echo 1.8.2")
    monkeypatch.setenv(HELPER_VARIABLE, str(own))
    assert prepare_official_helper() == own
    assert helper_version(own) == (1, 8, 2)
    monkeypatch.setenv(HELPER_VARIABLE, "/nowhere/helper")
    with pytest.raises(NotInstalledError, match="/nowhere/helper"):
        prepare_official_helper()


def test_no_go(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Go the error says what to install, or which variable to set."""
    monkeypatch.setattr("mqauth_sandbox.official_helper.shutil.which", lambda *_, **__: None)
    with pytest.raises(GoMissingError, match="install Go, or set MQAUTH_SANDBOX_SIGNING_HELPER"):
        prepare_official_helper()
    with pytest.raises(NotInstalledError, match="prepare helper"):
        find_official_helper()


def test_a_module_proxy_that_has_only_an_old_version(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the first version cannot be had the second is built, and what was built is kept."""
    go = executable(
        tmp_path / "bin" / "go",
        f"""
case "$*" in
*download*1.8*) echo '{{"Error": "403 Forbidden"}}'; exit 1 ;;
*download*) echo '{{"Dir": "{tmp_path}"}}' ;;
*) while [ "$1" != -o ]; do shift; done; printf '#!/bin/sh\\necho 1.7.3\\n' > "$2" ;;
esac
""",
    )
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    lines: list[str] = []
    built = prepare_official_helper(lines.append)
    assert helper_version(built) == (1, 7, 3)
    assert [line.split()[0] for line in lines] == ["building", "building", "aws_signing_helper"]
    assert built.stat().st_mode & 0o777 == 0o755
    go.unlink()
    assert prepare_official_helper() == built


def test_a_module_proxy_that_has_none(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the proxy answered is part of the error."""
    go = executable(tmp_path / "bin" / "go", """echo '{"Error": "no route to host"}'; exit 1""")
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    with pytest.raises(GoMissingError, match="no route to host"):
        prepare_official_helper()


def test_no_compiler(empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that fails names what it needs, and leaves nothing that looks like a helper."""
    go = executable(
        tmp_path / "bin" / "go",
        f"""
case "$*" in
*download*) echo '{{"Dir": "{tmp_path}"}}' ;;
*) echo 'exec: "gcc": executable file not found' >&2; exit 1 ;;
esac
""",
    )
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    with pytest.raises(NotInstalledError, match="C compiler"):
        prepare_official_helper()
    with pytest.raises(NotInstalledError, match="not installed"):
        find_official_helper()


def test_prepare_goes_on_where_that_is_allowed(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`prepare --optional` says what cannot be had and succeeds; without it that is an error."""
    monkeypatch.setenv(HELPER_VARIABLE, "/nowhere/helper")
    allowed = CliRunner().invoke(main, ["prepare", "--optional", "helper"])
    assert allowed.exit_code == 0
    assert "/nowhere/helper" in allowed.output
    assert CliRunner().invoke(main, ["prepare", "helper"]).exit_code == 1


def test_tools_that_are_here() -> None:
    """What can be found is a file, and preparing it changes nothing."""
    here = []
    for tool in TOOLS:
        try:
            here.append((tool, find_tool(tool)))
        except NotInstalledError as error:
            assert f"prepare {tool}" in str(error)  # noqa: PT017 - either is right
    for tool, path in here:
        assert path.exists()
        assert prepare_tool(tool) == path


def test_a_stand_in_is_no_aws_cli(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An `aws` that does not run, as version managers leave them, does not count."""
    aws = executable(tmp_path / "bin" / "aws", "exit 127")
    monkeypatch.setenv("PATH", f"{aws.parent}:/usr/bin:/bin")
    with pytest.raises(NotInstalledError, match="prepare awscli"):
        find_tool("awscli")
    executable(aws, "echo aws-cli/1.45.11")
    assert find_tool("awscli") == aws
    assert subprocess.run([aws], check=True, capture_output=True).stdout


def test_shared_memory_of_the_dead_is_removed() -> None:
    """A process that gets the number of a killed one would see the real time."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    stale = tools.SHARED_MEMORY / f"faketime_shm_{gone.pid}"
    alive = tools.SHARED_MEMORY / f"faketime_shm_{os.getpid()}"
    stale.touch()
    alive.touch()
    try:
        tools._remove_what_killed_processes_left()
        assert not stale.exists()
        assert alive.exists()
    finally:
        alive.unlink()
