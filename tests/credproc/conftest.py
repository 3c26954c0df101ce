"""What the tests of credproc against a strict service and the official helper share."""

from __future__ import annotations

from pathlib import Path

import pytest

from mqauth_sandbox.errors import NotInstalledError
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from mqauth_sandbox.tools import Tool, prepare_tool
from tests.credproc.programs import CREDPROC, Program, environment


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home directory."""
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def credproc(home: Path, mqauth_rolesanywhere: RolesAnywhereEndpoint) -> Program:
    """Ours, with an empty cache."""
    return Program(executable=CREDPROC, environment=environment(home, mqauth_rolesanywhere.ca_file))


@pytest.fixture
def helper(
    home: Path, mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_official_helper: Path
) -> Program:
    """AWS's own."""
    return Program(
        executable=mqauth_official_helper,
        environment=environment(home, mqauth_rolesanywhere.ca_file),
    )


def tool(name: Tool) -> Path:
    """Return a tool, installing it where that is allowed; skip the test where it is not."""
    try:
        return prepare_tool(name)
    except NotInstalledError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def softhsm_module() -> Path:
    """The library of SoftHSM 2."""
    return tool("softhsm")


@pytest.fixture(scope="session")
def faketime() -> Path:
    """The library of libfaketime."""
    return tool("faketime")


@pytest.fixture(scope="session")
def aws_cli() -> Path:
    """The AWS CLI."""
    return tool("awscli")
