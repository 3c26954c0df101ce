"""What signs: the seam between key formats and everything else."""

from __future__ import annotations

from credproc.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Protocol

    from credproc.identity.certificate import Certificate
else:
    Protocol = object


class Signer(Protocol):
    """A private key, wherever it lives."""

    key_algorithm: str
    """The object identifier of the key's algorithm, dotted; see `identity.algorithms`."""

    def public_key(self) -> bytes:
        """Return the public half as the DER encoding of a SubjectPublicKeyInfo."""

    def sign(self, message: bytes, digest: str = "SHA256") -> bytes:
        """Return the signature of `message`: RSA PKCS#1 v1.5, ECDSA in DER, or ML-DSA.

        Args:
            message: What to sign, not hashed yet.
            digest: `SHA256`, `SHA384` or `SHA512`; ML-DSA has its own.

        Raises:
            IdentityError: The key cannot sign.
        """


class Identity(NamedTuple):
    """A certificate, the certificates between it and the trust anchor, and what signs for it."""

    certificate: Certificate
    chain: tuple[Certificate, ...]
    signer: Signer
