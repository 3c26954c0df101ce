"""Post-quantum keys in the form that OpenSSL 3.5 writes, which is the one the helper reads."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mqauth_sandbox.official_helper import helper_version
from mqauth_sandbox.pki import Identity, KeyType, Pki, can_make
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from tests.credproc.programs import Program

SEED = bytes.fromhex("8020")  # [0], 32 bytes: how cryptography writes the seed
EXPANDED: dict[KeyType, int] = {"ml-dsa-44": 2560, "ml-dsa-65": 4032, "ml-dsa-87": 4896}
SINCE = (1, 8)


def both_forms(identity: Identity, size: int) -> str:
    """Return a key with its seed and its expanded form.

    The expanded half is not the right one: it follows from the seed, and no reader may need it.
    """
    der = identity.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    start = der.index(SEED) + len(SEED)
    seed, algorithm = der[start : start + 32], der[5:18]
    halves = element(0x30, element(0x04, seed) + element(0x04, bytes(size)))
    pkcs8 = element(0x30, bytes.fromhex("020100") + algorithm + element(0x04, halves))
    text = base64.encodebytes(pkcs8).decode()
    return f"-----BEGIN PRIVATE KEY-----\n{text}-----END PRIVATE KEY-----\n"


def element(tag: int, content: bytes) -> bytes:
    """Return the DER of one element."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    return bytes([tag, 0x82]) + size.to_bytes(2, "big") + content


@pytest.mark.skipif(not can_make("ml-dsa-65"), reason="this cryptography has no ML-DSA")
@pytest.mark.parametrize("key", EXPANDED)
def test_seed_and_expanded_key(
    key: KeyType,
    credproc: Program,
    helper: Program,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    tmp_path: Path,
) -> None:
    """Both programs open a session with the key, the helper from 1.8 on."""
    pki = Pki()
    mqauth_rolesanywhere.trust(pki.root)
    identity = pki.issue(key, depth=2)
    files = identity.write(tmp_path)
    assert files.private_key
    files.private_key.write_text(both_forms(identity, EXPANDED[key]))
    arguments = ["credential-process", *mqauth_rolesanywhere.arguments(), *files.arguments()]
    assert credproc(*arguments).credentials
    if helper_version(helper.executable) >= SINCE:
        assert helper(*arguments).credentials
