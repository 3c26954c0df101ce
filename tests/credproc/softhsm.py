"""Tokens of SoftHSM 2 in a directory: real PKCS#11, without hardware."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mqauth_sandbox.pki import Identity

PIN = "12345678"
_SO_PIN = "87654321"
_LIMIT = 60

# A module reads its configuration when it is loaded, so each token is filled by a process.
_FILL = """
import json, sys
import pkcs11
from pkcs11.util.ec import decode_ec_private_key, decode_ec_public_key
from pkcs11.util.rsa import decode_rsa_private_key
from pkcs11.util.x509 import decode_x509_certificate
order = json.load(sys.stdin)
token = next(t for t in (s.get_token() for s in pkcs11.lib(order["module"]).get_slots(True))
             if t.label == order["token"])
A = pkcs11.Attribute
with token.open(user_pin=order["pin"], rw=True) as session:
    for entry in order["objects"]:
        der, kind = bytes.fromhex(entry["der"]), entry["kind"]
        if kind == "certificate":
            attributes = decode_x509_certificate(der)
            attributes[A.PRIVATE] = entry["private"]
        elif kind == "rsa":
            attributes = decode_rsa_private_key(der)
        else:
            attributes = decode_ec_private_key(der)
        attributes |= {A.TOKEN: True, A.LABEL: entry["label"], A.ID: bytes.fromhex(entry["id"])}
        if kind != "certificate" and entry["each_time"]:
            attributes[A.ALWAYS_AUTHENTICATE] = True
        session.create_object(attributes)
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What goes on a token.

    Args:
        identity: Whose certificate or key.
        label: Label of the object.
        id: Its id.
        certificate: Whether the certificate goes there.
        key: Whether the key does.
        private: Whether the certificate shows only after a login.
        each_time: Whether the key asks for the PIN at each signature.
    """

    identity: Identity
    label: str = "host"
    id: bytes = b"\x01"
    certificate: bool = True
    key: bool = True
    private: bool = False
    each_time: bool = False


class SoftHsm:
    """A directory of tokens.

    Args:
        directory: Where they lie.
        module: SoftHSM's library.

    Attributes:
        environment: What lets a program find them.
    """

    def __init__(self, directory: Path, module: Path) -> None:
        """Begin without any token."""
        self.module = module
        tokens = directory / "tokens"
        tokens.mkdir(parents=True)
        config = directory / "softhsm2.conf"
        config.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\n")
        self.environment = {"SOFTHSM2_CONF": str(config)}

    def add_token(self, label: str, entries: Sequence[Entry]) -> None:
        """Make a token with these objects on it."""
        command = ["softhsm2-util", "--init-token", "--free", "--label", label]
        self._run([*command, "--pin", PIN, "--so-pin", _SO_PIN])
        objects = [item for entry in entries for item in _objects(entry)]
        order = {"module": str(self.module), "token": label, "pin": PIN, "objects": objects}
        self._run([sys.executable, "-c", _FILL], json.dumps(order))

    def _run(self, command: Sequence[str], text: str | None = None) -> None:
        done = subprocess.run(
            command,
            env=self.environment | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            input=text,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def _objects(entry: Entry) -> list[dict[str, object]]:
    common = {"label": entry.label, "id": entry.id.hex(), "each_time": entry.each_time}
    found: list[dict[str, object]] = []
    if entry.certificate:
        der = entry.identity.certificate.public_bytes(Encoding.DER)
        found.append({**common, "kind": "certificate", "der": der.hex(), "private": entry.private})
    if entry.key:
        key = entry.identity.key
        rsa = hasattr(key, "private_numbers") and hasattr(key.private_numbers(), "p")
        der = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        found.append({**common, "kind": "rsa" if rsa else "ec", "der": der.hex()})
    return found
