"""The one door to cryptography's key loading, by its shortest way in.

`cryptography.hazmat.primitives.serialization` imports SSH formats and `dataclasses` besides: 30 ms,
a third of a whole run. The functions that it hands out are these, so they are taken from where it
takes them; where a release moves them, the public names still work.
"""

from __future__ import annotations

from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def private_key_loader(*, pem: bool) -> Callable[..., Any]:
    """Return `load_pem_private_key` or `load_der_private_key`."""
    name = "load_pem_private_key" if pem else "load_der_private_key"
    try:
        from cryptography.hazmat.bindings._rust import openssl

        return getattr(openssl.keys, name)  # type: ignore[no-any-return]
    except (ImportError, AttributeError):
        from cryptography.hazmat.primitives import serialization

        return getattr(serialization, name)  # type: ignore[no-any-return]


def load_private_key(data: bytes, password: bytes | None, *, pem: bool) -> Any:
    """Return a private key.

    RSA keys are not validated: for 4096 bits that takes 0.4 s, ten times the rest of a run. It is
    sound because nothing is signed before the public half was compared with the certificate's, and
    because OpenSSL checks each signature against the public half before it gives it away.

    Raises:
        ValueError: It is no key, or the password is wrong.
        TypeError: A password is needed and not given, or given and not needed.
        UnsupportedAlgorithm: The key or its encryption is of a kind cryptography does not know.
    """
    return private_key_loader(pem=pem)(data, password, None, unsafe_skip_rsa_key_validation=True)


def public_key_der(private_key: Any) -> bytes:
    """Return the DER encoding of the public half's SubjectPublicKeyInfo."""
    try:
        from cryptography.hazmat.primitives._serialization import (
            Encoding,
            PublicFormat,
        )
    except ImportError:
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            PublicFormat,
        )
    encoded = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return bytes(encoded)
