"""Signs with a key that cryptography holds in memory."""

from __future__ import annotations

from credproc.errors import IdentityError
from credproc.identity import algorithms, der
from credproc.identity.loading import public_key_der
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


class SoftwareKey:
    """A private key in memory.

    Args:
        key: One of cryptography's private keys.

    Raises:
        IdentityError: The service knows no signature of this kind.
    """

    def __init__(self, key: Any) -> None:
        """Keep the key."""
        self._key = key
        self._public = public_key_der(key)
        algorithm = der.read(der.read(self._public).content).children()[0]
        self.key_algorithm = der.oid(algorithm)
        if algorithms.sigv4_algorithm(self.key_algorithm) is None:
            raise IdentityError(
                f"the private key's algorithm {self.key_algorithm} is not one of Roles Anywhere",
                remedy="use an RSA, EC (P-256, P-384, P-521) or ML-DSA key",
            )

    def public_key(self) -> bytes:
        """Return the public half as the DER encoding of a SubjectPublicKeyInfo."""
        return self._public

    def sign(self, message: bytes, digest: str = "SHA256") -> bytes:
        """Return the signature of `message`."""
        if self.key_algorithm in algorithms.ML_DSA:
            return bytes(self._key.sign(message))
        from cryptography.hazmat.primitives import hashes  # loaded while connecting

        algorithm = getattr(hashes, digest)()
        if self.key_algorithm == algorithms.RSA:
            from cryptography.hazmat.primitives.asymmetric import padding

            return bytes(self._key.sign(message, padding.PKCS1v15(), algorithm))
        return bytes(self._key.sign(message, ecdsa(algorithm)))


def ecdsa(algorithm: Any) -> Any:
    """Return cryptography's `ECDSA(algorithm)`.

    Its constructor imports every cipher there is (12 ms) to find out whether signatures can be
    deterministic, which nobody asked for; so that answer is given here.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    class Ecdsa(ec.ECDSA):
        def __init__(self) -> None:
            """Leave the parent's constructor out."""

        algorithm = property(lambda _: digest)
        deterministic_signing = property(lambda _: False)

    digest = algorithm
    return Ecdsa()
