"""What a start without a cached answer loads: every module is a part of its time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cryptography
import pytest

import credproc
from mqauth_sandbox.pki import Container, KeyType, Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint

SLOW = {
    *("argparse", "collections", "contextlib", "cryptography", "ctypes", "dataclasses", "datetime"),
    *("enum", "functools", "hashlib", "inspect", "json", "logging", "pathlib", "re", "site"),
    *("socket", "ssl", "subprocess", "tempfile", "threading", "typing", "urllib"),
}
"""Modules of which each takes 2 to 60 ms to import."""

# As the launcher starts it.
START = """
import sys
sys.path[:0] = sys.argv[1:3]
before = set(sys.modules)
from credproc.cli import run
code = run(sys.argv[3:])
print(*sorted(name for name in set(sys.modules) - before), file=sys.stderr)
sys.exit(code)
"""


def modules_of_a_start(endpoint: RolesAnywhereEndpoint, words: list[str], folder: Path) -> set[str]:
    """Return the modules that a start with an empty cache loads."""
    (folder / "cache").mkdir(mode=0o700)
    places = [Path(credproc.__path__[0]).parent, Path(cryptography.__file__).parent.parent]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", START, *map(str, places), *endpoint.arguments(), *words],
        env={"AWS_CA_BUNDLE": str(endpoint.ca_file), "CREDPROC_CACHE_DIR": f"{folder}/cache"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "AccessKeyId" in done.stdout
    return set(done.stderr.split())


@pytest.mark.parametrize("container", ["pkcs8", "traditional"])
@pytest.mark.parametrize("kind", ["ec-p256", "rsa-2048"])
def test_nothing_slow_is_loaded(
    kind: KeyType,
    container: Container,
    mqauth_pki: Pki,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    tmp_path: Path,
) -> None:
    """A plain key's session is had without cryptography and the slow parts of Python."""
    files = mqauth_pki.issue(kind, depth=2).write(tmp_path, container)
    loaded = modules_of_a_start(mqauth_rolesanywhere, files.arguments(), tmp_path)
    assert not SLOW & loaded
    assert "credproc.identity.libcrypto" in loaded


def test_the_long_way_loads_more(
    mqauth_pki: Pki, mqauth_rolesanywhere: RolesAnywhereEndpoint, tmp_path: Path
) -> None:
    """The same with an encrypted key loads cryptography: the test above can tell."""
    files = mqauth_pki.issue("ec-p256").write(tmp_path, "encrypted-pkcs8", password="horse")
    (tmp_path / "password").write_text("horse\n")
    words = [*files.arguments(), "--key-password-file", str(tmp_path / "password")]
    loaded = modules_of_a_start(mqauth_rolesanywhere, words, tmp_path)
    assert {"cryptography", "typing", "re"} <= loaded
    assert "credproc.identity.libcrypto" not in loaded
