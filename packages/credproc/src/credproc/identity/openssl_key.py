"""The short way to a signer: plain keys, signed for by the OpenSSL that is loaded for TLS anyway.

It never reports anything: on any doubt the long way (`identity.keys`, by `cryptography`) decides,
and its errors are the ones that users see.
"""

from __future__ import annotations

from credproc.identity import algorithms
from credproc.identity.plain_key import PlainKey, find_plain_key
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from credproc.identity.libcrypto import LibcryptoKey
    from credproc.identity.signer import Signer


class OpensslKey:
    """Signs by libcrypto.

    Args:
        key: The key.
        plain: What it was read from.
        long_way: Loads the same key by `cryptography`.
    """

    def __init__(self, key: LibcryptoKey, plain: PlainKey, long_way: Callable[[], Signer]) -> None:
        """Keep the key."""
        self._key = key
        self._public = plain.public
        self._long_way = long_way
        self.key_algorithm = plain.algorithm

    def public_key(self) -> bytes:
        """Return the public half as the DER encoding of a SubjectPublicKeyInfo."""
        return self._public

    def sign(self, message: bytes, digest: str = "SHA256") -> bytes:
        """Return the signature of `message`."""
        from credproc.identity.libcrypto import LibcryptoError

        try:
            return self._key.sign(message, digest)
        except LibcryptoError:
            return self._long_way().sign(message, digest)


def load_openssl_key(content: bytes, long_way: Callable[[], Signer]) -> OpensslKey | None:
    """Return a signer for the private key of a file; None if the long way has to be taken.

    Args:
        content: The file.
        long_way: Loads the same key by `cryptography`, should this one turn out not to sign.
    """
    plain = find_plain_key(content)
    if plain is None:
        return None
    try:
        from credproc.identity.libcrypto import EC, RSA, LibcryptoError, LibcryptoKey
    except ImportError:  # a Python without ctypes
        return None
    try:
        key = LibcryptoKey(RSA if plain.algorithm == algorithms.RSA else EC, plain.der)
        return OpensslKey(key, plain, long_way)
    except LibcryptoError:
        return None
