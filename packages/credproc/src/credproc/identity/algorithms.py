"""The algorithms that Roles Anywhere knows, by object identifier."""

from __future__ import annotations

RSA = "1.2.840.113549.1.1.1"
EC = "1.2.840.10045.2.1"
ML_DSA = {
    "2.16.840.1.101.3.4.3.17": "ML-DSA-44",
    "2.16.840.1.101.3.4.3.18": "ML-DSA-65",
    "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}

SIGV4_RSA = "AWS4-X509-RSA-SHA256"
SIGV4_EC = "AWS4-X509-ECDSA-SHA256"
SIGV4_ML_DSA = "AWS4-X509-MLDSA"

WEAK_SIGNATURES = {
    "1.2.840.113549.1.1.2": "MD2",
    "1.2.840.113549.1.1.4": "MD5",
    "1.2.840.113549.1.1.5": "SHA-1",
    "1.3.14.3.2.29": "SHA-1",
    "1.2.840.10045.4.1": "SHA-1",
    "1.2.840.10040.4.3": "SHA-1",
}


def sigv4_algorithm(key_algorithm: str) -> str | None:
    """Return the name of the signing algorithm for a public key's algorithm, if there is one."""
    if key_algorithm == RSA:
        return SIGV4_RSA
    if key_algorithm == EC:
        return SIGV4_EC
    return SIGV4_ML_DSA if key_algorithm in ML_DSA else None


def key_type(key_algorithm: str) -> str:
    """Return the key's type as read-certificate-data prints it."""
    if key_algorithm in (RSA, EC):
        return "RSA" if key_algorithm == RSA else "EC"
    return ML_DSA.get(key_algorithm, "")
