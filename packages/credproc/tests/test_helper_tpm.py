"""A key in a TPM: swtpm, a TPM in software, spoken to by AWS's own helper through our wrapper.

The helper opens what TPM_DEVICE names, and a socket there as a TPM simulator's. So no device and no
kernel module is needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from credproc.diagnosis.walk import LINKS, walk
from credproc.errors import HelperError, IdentityError
from credproc.obtain import obtain
from credproc.options import SessionOptions
from credproc.secret import Secret
from mqauth_sandbox.errors import NotInstalledError
from mqauth_sandbox.pki import Pki, pem
from mqauth_sandbox.rabbitmq.system import install_package
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint

LIMIT = 30.0
SIGNING = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"
PARENT, OPEN, LOCKED = "0x81000001", "0x81000002", "0x81000003"
PASSWORD = "tpm-horse"
PROGRAMS = {"swtpm": "swtpm", "tpm2_create": "tpm2-tools", "tpm2_encodeobject": "tpm2-tools"}


@dataclass(frozen=True, kw_only=True)
class Tpm:
    """A TPM in software, with its state in a directory."""

    directory: Path

    @property
    def socket(self) -> Path:
        """What TPM_DEVICE names."""
        return self.directory / "tpm"

    def __call__(self, program: str, *arguments: str) -> None:
        """Run one of tpm2-tools in the directory; it leaves nothing in the TPM's memory."""
        environ = os.environ | {"TPM2TOOLS_TCTI": f"swtpm:path={self.socket}"}
        for command in ([program, *arguments], ["tpm2_flushcontext", "-t"]):
            subprocess.run(
                command,
                cwd=self.directory,
                env=environ,
                check=True,
                capture_output=True,
                timeout=LIMIT,
            )

    def certify(self, pki: Pki, public: str) -> Path:
        """Have a certificate issued for a public key in the directory and return its file."""
        path = self.directory / f"{public}.cert.pem"
        key = _PublicHalf(load_pem_public_key((self.directory / public).read_bytes()))
        path.write_bytes(pem(pki.issue(own_key=key).certificate))
        return path


class _PublicHalf:
    """Stands for a private key that never leaves the TPM, where a certificate is issued."""

    def __init__(self, key: Any) -> None:
        self._key = key

    def public_key(self) -> Any:
        return self._key


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tpm]:
    """A TPM with two signing keys at handles, one with a password, and one key in a file."""
    try:
        for program, package in PROGRAMS.items():
            if shutil.which(program) is None:
                install_package(package, lambda _: None, otherwise=f"install {package}")
    except NotInstalledError as error:
        pytest.skip(str(error))
    directory = tmp_path_factory.mktemp("tpm")
    (directory / "state").mkdir()
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", "dir=state"]
    command += ["--server", "type=unixio,path=tpm", "--ctrl", "type=unixio,path=tpm.ctrl"]
    command += ["--flags", "not-need-init,startup-clear"]
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + LIMIT
        while not (directory / "tpm").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        tpm = Tpm(directory=directory)
        tpm("tpm2_createprimary", "-C", "o", "-G", "ecc", "-c", "primary.ctx")
        tpm("tpm2_evictcontrol", "-C", "o", "-c", "primary.ctx", PARENT)
        for name, handle, password in (("open", OPEN, []), ("locked", LOCKED, ["-p", PASSWORD])):
            halves = ["-u", f"{name}.pub", "-r", f"{name}.priv"]
            kind = ["-G", "ecc256", "-a", SIGNING]
            tpm("tpm2_create", "-C", PARENT, *kind, *halves, *password)
            tpm("tpm2_load", "-C", PARENT, *halves, "-c", f"{name}.ctx")
            tpm("tpm2_evictcontrol", "-C", "o", "-c", f"{name}.ctx", handle)
            tpm("tpm2_readpublic", "-c", handle, "-f", "pem", "-o", name)
        tpm(
            "tpm2_encodeobject", "-C", PARENT, "-u", "open.pub", "-r", "open.priv", "-o", "open.tss"
        )
        yield tpm
    finally:
        process.terminate()
        process.wait(LIMIT)


@pytest.fixture
def options(
    tpm: Tpm,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    mqauth_official_helper: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> SessionOptions:
    """A session for keys in the TPM, with the backend left to choose itself."""
    monkeypatch.setenv("TPM_DEVICE", str(tpm.socket))
    return SessionOptions(
        role_arn=mqauth_rolesanywhere.role_arn,
        profile_arn=mqauth_rolesanywhere.profile_arn,
        trust_anchor_arn=mqauth_rolesanywhere.trust_anchor_arn,
        endpoint=mqauth_rolesanywhere.url,
        ca_bundle=str(mqauth_rolesanywhere.ca_file),
        helper=str(mqauth_official_helper),
        no_cache=True,
        max_attempts=1,
    )


def test_a_key_without_password(options: SessionOptions, tpm: Tpm, mqauth_pki: Pki) -> None:
    """A key at a handle signs, and nobody has to say which backend to use."""
    certificate = str(tpm.certify(mqauth_pki, "open"))
    chosen = options._replace(
        certificate=certificate, private_key=f"handle:{OPEN}", no_tpm_key_password=True
    )
    assert obtain(chosen).access_key_id.startswith("ASIA")


@pytest.mark.parametrize("by_file", [False, True])
def test_a_key_with_password(
    options: SessionOptions,
    tpm: Tpm,
    mqauth_pki: Pki,
    tmp_path: Path,
    by_file: bool,  # noqa: FBT001
) -> None:
    """Its password is typed on the helper's terminal, from the environment or a file."""
    certificate = str(tpm.certify(mqauth_pki, "locked"))
    chosen = options._replace(certificate=certificate, private_key=f"handle:{LOCKED}")
    if by_file:
        path = tmp_path / "password"
        path.write_text(PASSWORD)
        chosen = chosen._replace(key_password_file=str(path))
    else:
        chosen = chosen._replace(tpm_key_password=Secret(PASSWORD))
    assert obtain(chosen).access_key_id.startswith("ASIA")


def test_a_wrong_password(options: SessionOptions, tpm: Tpm, mqauth_pki: Pki) -> None:
    """The TPM's refusal is told as such, with a warning of its lock, and without the password."""
    certificate = str(tpm.certify(mqauth_pki, "locked"))
    chosen = options._replace(
        certificate=certificate,
        private_key=f"handle:{LOCKED}",
        tpm_key_password=Secret("wr0ng-horse"),
    )
    with pytest.raises(IdentityError, match=r"TPM refuses the password") as caught:
        obtain(chosen)
    assert "wr0ng-horse" not in str(caught.value)


def test_a_key_in_a_file(options: SessionOptions, tpm: Tpm, mqauth_pki: Pki) -> None:
    """A TSS2 PRIVATE KEY file is known by its content, and the TPM that it is of signs."""
    chosen = options._replace(
        certificate=str(tpm.certify(mqauth_pki, "open")),
        private_key=str(tpm.directory / "open.tss"),
        no_tpm_key_password=True,
    )
    assert obtain(chosen).access_key_id.startswith("ASIA")


def test_a_handle_with_nothing_behind(options: SessionOptions, tpm: Tpm, mqauth_pki: Pki) -> None:
    """An empty handle is an error in one line, not a crash."""
    certificate = str(tpm.certify(mqauth_pki, "open"))
    chosen = options._replace(
        certificate=certificate, private_key="handle:0x81000009", no_tpm_key_password=True
    )
    with pytest.raises((HelperError, IdentityError), match="aws_signing_helper"):
        obtain(chosen)


def test_doctor_knows_the_tpm(options: SessionOptions, tpm: Tpm, mqauth_pki: Pki) -> None:
    """The walk names the helper as what signs, and goes on to a session."""
    certificate = str(tpm.certify(mqauth_pki, "open"))
    outcomes = list(
        walk(
            options._replace(
                certificate=certificate, private_key=f"handle:{OPEN}", no_tpm_key_password=True
            )
        )
    )
    found = {outcome.finding.link: outcome.finding for outcome in outcomes}
    assert [outcome.exit_code for outcome in outcomes] == [0] * len(LINKS)
    assert found["key"].detail.startswith("the key is in a TPM; ")
