"""Checks the signature of a `CreateSession` request: Signature Version 4 made with X.509 keys.

Written from the specification alone, so that it shares no mistake with any signer.

Source: IAM Roles Anywhere User Guide, "Signing process".
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from mqauth_sandbox.http import Request
from mqauth_sandbox.rolesanywhere_errors import RolesAnywhereError, denied

RSA_ALGORITHM = "AWS4-X509-RSA-SHA256"
ECDSA_ALGORITHM = "AWS4-X509-ECDSA-SHA256"
ML_DSA_ALGORITHM = "AWS4-X509-MLDSA"

_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_TOLERANCE = timedelta(minutes=5)
_PARAMETERS = ("Credential", "SignedHeaders", "Signature")
_ALWAYS_SIGNED = ("host", "x-amz-date", "x-amz-x509")
_SERVICE = "rolesanywhere"
_TERMINATOR = "aws4_request"


@dataclass(frozen=True, kw_only=True, slots=True)
class Authorization:
    """What an `Authorization` header says.

    Args:
        algorithm: Such as `AWS4-X509-RSA-SHA256`.
        serial: Serial number of the certificate, in decimal.
        scope: `date/region/rolesanywhere/aws4_request`.
        signed_headers: Names of the signed headers, as they came.
        signature: Hexadecimal signature.
    """

    algorithm: str
    serial: str
    scope: str
    signed_headers: tuple[str, ...]
    signature: str = field(repr=False)


def parse_authorization(header: str | None) -> Authorization:
    """Return the parts of the header.

    Raises:
        RolesAnywhereError: It is missing, or not of the form that the service asks for.
    """
    if not header:
        raise RolesAnywhereError(
            "MissingAuthenticationTokenException", "Missing Authentication Token", 403
        )
    algorithm, _, rest = header.partition(" ")
    if algorithm not in (RSA_ALGORITHM, ECDSA_ALGORITHM, ML_DSA_ALGORITHM):
        raise _incomplete(f"Unsupported algorithm: {algorithm[:32]}")
    pairs = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    missing = [name for name in _PARAMETERS if not pairs.get(name)]
    if missing:
        raise _incomplete(f"Authorization header requires {', '.join(missing)}")
    serial, _, scope = pairs["Credential"].partition("/")
    if scope.count("/") != 3:
        raise _incomplete("Credential must have exactly 5 slash-delimited elements")
    return Authorization(
        algorithm=algorithm,
        serial=serial,
        scope=scope,
        signed_headers=tuple(pairs["SignedHeaders"].split(";")),
        signature=pairs["Signature"],
    )


def check_signed_headers(authorization: Authorization, headers: Message) -> None:
    """Check that all headers that matter are signed, and their list is in canonical order.

    Raises:
        RolesAnywhereError: A header is not signed that has to be.
    """
    signed = authorization.signed_headers
    if list(signed) != sorted({name.lower() for name in signed}):
        raise _incomplete("SignedHeaders must be in lower case, sorted and without repetition")
    present = {name.lower() for name in headers}
    wanted = {name for name in present if name.startswith("x-amz-") or name == "content-type"}
    unsigned = sorted((wanted | set(_ALWAYS_SIGNED)) - set(signed))
    if unsigned:
        raise denied(f"These headers must be signed: {', '.join(unsigned)}")
    absent = sorted(set(signed) - present)
    if absent:
        raise denied(f"Signed headers are missing in the request: {', '.join(absent)}")


def check_scope(authorization: Authorization, date: str | None, region: str, now: float) -> None:
    """Check the time of the request and the scope of its signature.

    Raises:
        RolesAnywhereError: It is older or newer than five minutes, or for another place.
    """
    if date is None or not re.fullmatch(r"\d{8}T\d{6}Z", date):
        raise _incomplete("X-Amz-Date must be in ISO-8601 basic format")
    try:
        signed_at = datetime.strptime(date, _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise _incomplete("X-Amz-Date must be in ISO-8601 basic format") from None
    here = datetime.fromtimestamp(now, UTC)
    if abs(signed_at - here) > _TOLERANCE:
        tense = "expired" if signed_at < here else "not yet current"
        raise denied(
            f"Signature {tense}: {date} is more than 5 minutes off {here.strftime(_TIME_FORMAT)}"
        )
    day, scoped_region, service, terminator = authorization.scope.split("/")
    if day != date[:8]:
        raise denied(f"Credential scope is for {day[:8]}, X-Amz-Date says {date[:8]}")
    if scoped_region != region:
        raise denied(f"Credential should be scoped to a valid region, not '{scoped_region[:32]}'")
    if (service, terminator) != (_SERVICE, _TERMINATOR):
        raise denied(f"Credential should be scoped to {_SERVICE}/{_TERMINATOR}")


def canonical_request(request: Request, signed_headers: tuple[str, ...]) -> str:
    """Return the canonical form of what the client sent."""
    headers = "".join(
        f"{name}:{','.join(_trimmed(value) for value in request.headers.get_all(name, []))}\n"
        for name in signed_headers
    )
    return "\n".join(
        (
            request.method,
            request.path or "/",
            _canonical_query(request.query),
            headers,
            ";".join(signed_headers),
            hashlib.sha256(request.body).hexdigest(),
        )
    )


def string_to_sign(authorization: Authorization, date: str, canonical: str) -> str:
    """Return what the key signs."""
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return f"{authorization.algorithm}\n{date}\n{authorization.scope}\n{digest}"


def check_signature(
    authorization: Authorization, certificate: x509.Certificate, to_sign: str
) -> None:
    """Check that the certificate's key made the signature, in the algorithm that goes with it.

    Raises:
        RolesAnywhereError: It did not.
    """
    if authorization.serial != str(certificate.serial_number):
        raise denied("Credential does not name the certificate's serial number")
    if not re.fullmatch(r"(?:[0-9a-f]{2})+", authorization.signature):
        raise _incomplete("Signature must be in lower case hexadecimal")
    signature, data = bytes.fromhex(authorization.signature), to_sign.encode()
    key = certificate.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey) and authorization.algorithm == RSA_ALGORITHM:
            key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        elif (
            isinstance(key, ec.EllipticCurvePublicKey)
            and authorization.algorithm == ECDSA_ALGORITHM
        ):
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        elif type(key).__name__.startswith("MLDSA") and authorization.algorithm == ML_DSA_ALGORITHM:
            # Named by its class: which releases of cryptography have it, only the newest know.
            key.verify(signature, data)  # type: ignore[call-arg, union-attr]
        else:
            raise denied("The algorithm does not go with the certificate's key")
    except InvalidSignature:
        raise denied(
            "The request signature we calculated does not match the signature you provided"
        ) from None


def _canonical_query(query: str) -> str:
    pairs = (part.partition("=")[::2] for part in query.split("&") if part)
    encoded = sorted((_encoded(name), _encoded(value)) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


def _encoded(text: str) -> str:
    return quote(unquote(text), safe="-_.~")


def _trimmed(value: str) -> str:
    return " ".join(value.split())


def _incomplete(message: str) -> RolesAnywhereError:
    return RolesAnywhereError("IncompleteSignatureException", message, 400)
