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
    belong to the chain is left out too: the service refuses it. Of several with one name, as an
    authority has after a renewal, the one that has signed and is valid is taken.
    """
    by_subject: dict[bytes, list[Certificate]] = {}
    for other in {other.der: other for other in others if other.der != leaf.der}.values():
        by_subject.setdefault(other.subject, []).append(other)
    chain: list[Certificate] = []
    last = leaf
    while candidates := by_subject.pop(last.issuer, None):
        found = candidates[0]
        if len(candidates) > 1:
            from credproc.identity.issuers import issuer_among

            found = issuer_among(candidates, last)
        if found.issuer == found.subject:
            break
        chain.append(found)
        last = found
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
