"""The helper's commands that only look: sign-string and read-certificate-data."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Literal

import pytest

from mqauth_sandbox.pki import KeyType, Pki
from tests.credproc.cases import RSA_AND_EC
from tests.credproc.programs import Program

FORMATS = ("json", "text", "bin")


@pytest.mark.parametrize("digest", ["SHA256", "SHA384", "SHA512"])
def test_sign_string(
    digest: Literal["SHA256", "SHA384", "SHA512"],
    credproc: Program,
    helper: Program,
    mqauth_pki: Pki,
    tmp_path: Path,
) -> None:
    """sign-string prints the same in every format, and with RSA the same bytes."""
    files = mqauth_pki.issue("rsa-2048").write(tmp_path)
    common = ["sign-string", *files.arguments(), "--digest", digest]
    for form in FORMATS:
        texts = [binary(program, *common, "--format", form) for program in (helper, credproc)]
        assert texts[0] == texts[1], form


def binary(program: Program, *arguments: str) -> bytes:
    """Run a program whose output need not be text."""
    return subprocess.run(
        [str(program.executable), *arguments],
        env=dict(program.environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=True,
    ).stdout


@pytest.mark.parametrize("key", RSA_AND_EC)
def test_read_certificate_data(
    key: KeyType, credproc: Program, helper: Program, mqauth_pki: Pki, tmp_path: Path
) -> None:
    """read-certificate-data prints the same document."""
    files = mqauth_pki.issue(key).write(tmp_path)
    arguments = ["read-certificate-data", "--certificate", str(files.certificate)]
    theirs, ours = helper(*arguments), credproc(*arguments)
    assert ours.code == 0, ours.stderr
    assert json.loads(ours.stdout) == json.loads(theirs.stdout)
