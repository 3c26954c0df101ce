"""Files of the identities that the sandbox's authority issues."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mqauth_sandbox.pki import Container, Pki

CONTAINERS: list[Container] = [
    "pkcs8",
    "traditional",
    "encrypted-pkcs8",
    "pkcs12",
    "pkcs12-openssl",
]


@pytest.mark.parametrize("container", CONTAINERS)
def test_identities_are_written_for_their_owner_only(
    mqauth_pki: Pki, tmp_path: Path, container: Container
) -> None:
    """Every container opens with its password, and nobody else may read it."""
    files = mqauth_pki.issue("rsa-2048", depth=2).write(tmp_path, container)
    written = [path for path in tmp_path.iterdir() if path.is_file()]
    assert written
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in written)
    if container.startswith("pkcs12"):
        show = ["openssl", "pkcs12", "-legacy", "-in", str(files.certificate), "-nodes"]
        read = [*show, "-passin", f"pass:{files.password}"]
    else:
        read = [
            "openssl",
            "pkey",
            "-in",
            str(files.private_key),
            "-passin",
            f"pass:{files.password}",
        ]
    shown = subprocess.run(read, check=True, timeout=30, capture_output=True, text=True).stdout
    assert "PRIVATE KEY" in shown
