"""What the README shows of credentials, keys and named profiles works as it stands."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from credproc.profiles import load_profile, profile_names
from mqauth_sandbox.pki import Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = [
    re.sub("^    ", "", block, flags=re.MULTILINE).lstrip()
    for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", README, flags=re.MULTILINE)
]
LINES = [
    line.removeprefix("$ ")
    for line in README.splitlines()
    if line.startswith("$ credproc ") and "/etc/pki/" in line
]


def block(start: str) -> str:
    """Return the one indented block that begins so."""
    (found,) = [text for text in BLOCKS if text.startswith(start)]
    return found


@pytest.fixture
def environment(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki, tmp_path: Path
) -> dict[str, str]:
    """The environment of a user with a certificate, `host.pem`, and its key, `host.key`."""
    files = mqauth_pki.issue().write(tmp_path)
    files.certificate.rename(tmp_path / "host.pem")
    assert files.private_key is not None
    files.private_key.rename(tmp_path / "host.key")
    return {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "AWS_CA_BUNDLE": str(mqauth_rolesanywhere.ca_file),
        "CREDPROC_CACHE_DIR": str(tmp_path / "cache"),
        "CREDPROC_ENDPOINT": mqauth_rolesanywhere.url,
    }


def run(line: str, environment: dict[str, str], endpoint: RolesAnywhereEndpoint) -> str:
    """Run a line of the README with this user's files and this account's ARNs in it."""
    ours = line.replace("/etc/pki", environment["HOME"])
    for documented, arn in (
        (r"arn:aws:rolesanywhere:\S+:trust-anchor/ID", endpoint.trust_anchor_arn),
        (r"arn:aws:rolesanywhere:\S+:profile/ID", endpoint.profile_arn),
        (r"arn:aws:iam::\S+:role/app", endpoint.role_arn),
    ):
        ours = re.sub(documented, arn, ours)
    done = subprocess.run(
        shlex.split(ours),
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        executable=Path(sys.executable).with_name("credproc"),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_aws_profile(
    environment: dict[str, str], mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """The line for the AWS config prints credentials."""
    config = configparser.ConfigParser()
    config.read_string(block("[profile onprem]"))
    line = config["profile onprem"]["credential_process"]
    assert '"SecretAccessKey"' in run(line, environment, mqauth_rolesanywhere)


@pytest.mark.parametrize("line", LINES)
def test_lines_about_keys(
    line: str, environment: dict[str, str], mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """What looks at a certificate or key prints what it finds."""
    assert run(line, environment, mqauth_rolesanywhere)


def test_named_profiles(tmp_path: Path) -> None:
    """The file of named profiles is read, and knows the one that the README names."""
    path = tmp_path / "config.toml"
    path.write_text(block("[defaults]"))
    environ = {"CREDPROC_CONFIG": str(path)}
    assert profile_names(environ) == ["onprem"]
    assert load_profile("onprem", environ)["private_key"] == str(tmp_path / "host.key")


def test_exit_codes_are_those_of_the_errors() -> None:
    """The table of exit codes has each code that an error has, and no other."""
    from credproc import errors  # noqa: PLC0415 - its classes are looked through

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.CredprocError)}
    table = README.partition("## Exit codes")[2].partition("## ")[0]
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)}
    assert told == codes | {0, 130}
