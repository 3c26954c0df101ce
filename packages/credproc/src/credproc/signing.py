"""Signature Version 4 with an X.509 certificate.

Source: the IAM Roles Anywhere User Guide, "Signing process": SigV4 whose string to sign is signed
by the certificate's key, with the certificate in the headers and its serial number as the
credential.
"""

from __future__ import annotations

import time

from credproc.haste import on_another_cpu
from credproc.identity.algorithms import RSA, sigv4_algorithm
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from credproc.identity.signer import Identity

SERVICE = "rolesanywhere"
_NOTHING: Callable[[], object] = lambda: None  # noqa: E731
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str) -> str:
    """Percent-encode all but RFC 3986's unreserved characters, as SigV4 wants it."""
    return "".join(chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in text.encode())


def query_string(parameters: Iterable[tuple[str, str]]) -> str:
    """Return the canonical query string, which is also what is sent."""
    return "&".join(sorted(f"{quote(name)}={quote(value)}" for name, value in parameters))


def sha256_hex(data: bytes) -> str:
    """Return a SHA-256 digest in hexadecimal."""
    try:
        from _hashlib import openssl_sha256 as sha256  # the one that `hashlib` hands out
    except ImportError:
        from hashlib import sha256
    return sha256(data).hexdigest()


def canonical_request(
    method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
) -> tuple[str, str]:
    """Return the canonical request and the list of signed headers.

    Args:
        method: Such as `POST`.
        path: The path, encoded.
        query: What `query_string` returned.
        headers: Every header to sign, Host included.
        body: The body.
    """
    lines = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    names = sorted(lines)
    signed = ";".join(names)
    canonical = "\n".join(
        [
            method,
            path,
            query,
            *(f"{name}:{lines[name]}" for name in names),
            "",
            signed,
            sha256_hex(body),
        ]
    )
    return canonical, signed


def authorization(
    identity: Identity,
    region: str,
    date: str,
    canonical: str,
    signed_headers: str,
    *,
    beside: Callable[[], object] = _NOTHING,
) -> str:
    """Return the value of the Authorization header.

    Args:
        identity: Who signs.
        region: The region of the scope.
        date: The value of X-Amz-Date.
        canonical: The canonical request.
        signed_headers: The names in it.
        beside: Starts what goes on while the key signs.
    """
    algorithm = sigv4_algorithm(identity.signer.key_algorithm)
    scope = f"{date[:8]}/{region}/{SERVICE}/aws4_request"
    string_to_sign = f"{algorithm}\n{date}\n{scope}\n{sha256_hex(canonical.encode())}"
    signer = identity.signer

    def sign() -> str:
        # Not earlier, where it takes long: OpenSSL signs without the interpreter, which whatever
        # begins here (loading TLS, for one) would keep for milliseconds before that.
        beside()
        return signer.sign(string_to_sign.encode()).hex()

    signature = on_another_cpu(sign) if signer.key_algorithm == RSA else sign()
    return (
        f"{algorithm} Credential={identity.certificate.serial}/{scope}, "
        f"SignedHeaders={signed_headers}, Signature={signature}"
    )


def amz_date(now: float | None = None) -> str:
    """Return a time as X-Amz-Date has it."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


def signed_headers(
    identity: Identity,
    *,
    region: str,
    host: str,
    query: str,
    body: bytes,
    date: str | None = None,
    beside: Callable[[], object] = _NOTHING,
) -> dict[str, str]:
    """Return all headers of a CreateSession request, Host and Authorization included.

    Args:
        identity: Who signs.
        region: The region of the scope.
        host: The value of the Host header.
        query: The query string.
        body: The body.
        date: The value of X-Amz-Date; the present time if None.
        beside: Starts what goes on while the key signs.
    """
    date = date or amz_date()
    headers = {
        "Host": host,
        "Content-Type": "application/json",
        "X-Amz-Date": date,
        "X-Amz-X509": identity.certificate.base64,
    }
    if identity.chain:
        headers["X-Amz-X509-Chain"] = ",".join(each.base64 for each in identity.chain)
    canonical, names = canonical_request("POST", "/sessions", query, headers, body)
    headers["Authorization"] = authorization(
        identity, region, date, canonical, names, beside=beside
    )
    return headers
