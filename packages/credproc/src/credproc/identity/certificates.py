"""Certificates in files, PEM or DER, and the order in which the service wants a chain."""

from __future__ import annotations

from credproc.errors import IdentityError
from credproc.identity import der, pem
from credproc.identity.certificate import Certificate, parse
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LABELS = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")


def read_certificates(content: bytes, path: str, what: str = "certificate") -> list[Certificate]:
    """Return the certificates of a PEM or DER file, in the file's order; none if it is neither.

    Raises:
        IdentityError: A certificate in it is damaged.
    """
    try:
        found = pem.blocks(content)
        if found:
            return [parse(block.der) for block in found if block.label in LABELS]
        return [parse(content)] if content[:1] == b"\x30" else []
    except pem.PemError as error:
        raise IdentityError(f"the {what} {path} is damaged: {error}") from None
    except (der.DerError, IndexError, ValueError):
        if content[:1] == b"\x30":
            return []
        raise IdentityError(
            f"the {what} {path} is damaged: it is PEM, but what is in it is no certificate",
            remedy="see `openssl x509 -in FILE -noout -text`",
        ) from None


def order_chain(leaf: Certificate, others: Iterable[Certificate]) -> tuple[Certificate, ...]:
    """Return the certificates that lead up from `leaf`, each followed by its issuer.

    A self-signed one ends the chain and is left out: it is the trust anchor's. What does not
    belong to the chain is left out too: the service refuses it.
    """
    by_subject: dict[bytes, Certificate] = {}
    for other in others:
        if other.der != leaf.der:
            by_subject.setdefault(other.subject, other)
    chain: list[Certificate] = []
    issuer = leaf.issuer
    while (found := by_subject.pop(issuer, None)) is not None:
        if found.issuer == found.subject:
            break
        chain.append(found)
        issuer = found.issuer
    return tuple(chain)


def end_entity(certificates: Sequence[Certificate]) -> Certificate:
    """Return the one that is no authority and issued none of the others; else the first."""
    issuers = {certificate.issuer for certificate in certificates}
    for certificate in certificates:
        if not certificate.is_ca and (
            certificate.subject not in issuers or certificate.subject == certificate.issuer
        ):
            return certificate
    return certificates[0]
