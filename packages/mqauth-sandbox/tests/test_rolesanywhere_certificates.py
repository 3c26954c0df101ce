"""The Roles Anywhere endpoint trusts no certificate and no chain that the service would not."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from mqauth_sandbox.pki import Identity, Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from rolesanywhere_calls import Call, refusal


def test_refuses_a_chain_out_of_order(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki
) -> None:
    """Intermediates count in the order given."""
    identity = mqauth_pki.issue(depth=3)
    _, _, message = refusal(Call(identity, mqauth_rolesanywhere, reverse_chain=True))
    assert message == "Untrusted signing certificate"


YESTERDAY = datetime.now(UTC) - timedelta(days=1)
TOMORROW = datetime.now(UTC) + timedelta(days=1)
UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"not_before": YESTERDAY - timedelta(days=1), "not_after": YESTERDAY}, "expired"),
    "early": ({"not_before": TOMORROW}, "not yet valid"),
    "ca": ({"ca": True}, "CA"),
    "usage": ({"key_usage": ("key_encipherment",)}, "digitalSignature"),
    "no-usage": ({"key_usage": ()}, "digitalSignature"),
    "large": ({"padding": 17000}, "16384 bytes"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_refuses_unfit_certificates(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki, case: str
) -> None:
    """A certificate that may not sign is refused although its signature is right."""
    arguments, reason = UNFIT[case]
    _, _, message = refusal(Call(mqauth_pki.issue(**arguments), mqauth_rolesanywhere))
    assert reason in message


@pytest.mark.parametrize(("digest", "extensions"), [("-sha1", True), ("-sha256", False)])
def test_refuses_sha1_and_version_1(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, tmp_path: Path, digest: str, extensions: Any
) -> None:
    """Certificates of older days, which only OpenSSL's command still makes, are insufficient."""
    pki = Pki("rsa-2048")
    mqauth_rolesanywhere.trust(pki.root)
    identity = pki.issue("rsa-2048")
    old = reissue(pki, identity, tmp_path, digest, extensions=extensions)
    _, _, message = refusal(Call(replace(identity, certificate=old), mqauth_rolesanywhere))
    assert message.startswith("Untrusted certificate. Insufficient certificate")


def reissue(
    pki: Pki, identity: Identity, folder: Path, digest: str, *, extensions: bool
) -> x509.Certificate:
    """Let openssl certify an identity's key again."""
    files = identity.write(folder)
    root = replace(identity, certificate=pki.root, key=pki._key).write(folder)
    assert files.private_key
    assert root.private_key
    config = folder / "extensions"
    config.write_text("basicConstraints=CA:false\nkeyUsage=digitalSignature\n")
    request, made = folder / "request.pem", folder / "old.pem"
    openssl = ["openssl", "req", "-new", "-key", str(files.private_key), "-subj", "/CN=old"]
    subprocess.run([*openssl, "-out", str(request)], check=True, timeout=30)
    sign = ["openssl", "x509", "-req", "-in", str(request), digest, "-CA", str(root.certificate)]
    sign += ["-CAkey", str(root.private_key), "-set_serial", "77", "-out", str(made)]
    sign += ["-extfile", str(config)] if extensions else []
    subprocess.run(sign, check=True, timeout=30, capture_output=True)
    return x509.load_pem_x509_certificate(made.read_bytes())


def test_refuses_authorities_that_are_none(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki
) -> None:
    """An end-entity certificate cannot issue others, whatever it signed."""
    middle = mqauth_pki.issue("ec-p256", key_usage=("digital_signature", "key_cert_sign"))
    below = Pki("ec-p256")
    below._key, below._name = middle.key, middle.certificate.subject
    leaf = replace(below.issue(), chain=[middle.certificate])
    assert refusal(Call(leaf, mqauth_rolesanywhere))[2] == "Untrusted signing certificate"


def test_unknown_authority_and_empty_anchor(call: Call) -> None:
    """Nobody is trusted without an anchor, nor below another one of the same name."""
    for anchors in ((), (Pki().root,)):
        call.endpoint.trust(*anchors)
        assert refusal(call)[2] == "Untrusted signing certificate"
