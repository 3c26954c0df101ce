"""PKCS#12 containers (RFC 7292), the ones of OpenSSL 3 and Java included."""

from __future__ import annotations

from credproc.errors import IdentityError
from credproc.identity.certificate import Certificate, parse
from credproc.identity.passwords import TRIES, Passwords
from credproc.identity.software_key import SoftwareKey
from credproc.secret import Secret


def load_pkcs12(
    content: bytes, path: str, passwords: Passwords
) -> tuple[SoftwareKey | None, list[Certificate]]:
    """Return the key and the certificates of a container, the key's own certificate first.

    Raises:
        IdentityError: It is no PKCS#12, or the password is wrong.
    """
    password = passwords.given()
    if password is not None:
        return _checked(content, path, password)
    for empty in (None, Secret("")):  # the two ways in which containers have no password
        found = _try(content, empty)
        if found is not None:
            return found
    for _ in range(TRIES):
        found = _try(content, passwords.ask(f"the PKCS#12 file {path}"))
        if found is not None:
            return found
    raise _wrong(path)


def _checked(
    content: bytes, path: str, password: Secret
) -> tuple[SoftwareKey | None, list[Certificate]]:
    found = _try(content, password)
    if found is None:
        raise _wrong(path)
    return found


def _wrong(path: str) -> IdentityError:
    return IdentityError(
        f"the file {path} is no PKCS#12 container that the password opens",
        remedy="check the password; see `openssl pkcs12 -in FILE -info -noout`",
    )


def _try(
    content: bytes, password: Secret | None
) -> tuple[SoftwareKey | None, list[Certificate]] | None:
    from cryptography.hazmat.primitives.serialization import (  # 40 ms
        Encoding,
        pkcs12,
    )

    secret = None if password is None else password.reveal().encode()
    try:
        container = pkcs12.load_pkcs12(content, secret)
    except ValueError:
        return None
    own = [container.cert] if container.cert is not None else []
    certificates = [
        parse(each.certificate.public_bytes(Encoding.DER))
        for each in (*own, *container.additional_certs)
    ]
    key = SoftwareKey(container.key) if container.key is not None else None
    return key, certificates
