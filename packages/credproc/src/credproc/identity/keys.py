"""Private keys in files: PKCS#8, PKCS#1, SEC1 and encrypted PKCS#8, as PEM or DER."""

from __future__ import annotations

from credproc.errors import IdentityError
from credproc.identity.loading import load_private_key
from credproc.identity.ml_dsa import is_ml_dsa, with_seed_alone
from credproc.identity.passwords import TRIES, Passwords
from credproc.identity.pem import Block, PemError, blocks
from credproc.identity.software_key import SoftwareKey
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from credproc.secret import Secret

ENCRYPTED = "ENCRYPTED PRIVATE KEY"
LABELS = ("PRIVATE KEY", ENCRYPTED, "EC PRIVATE KEY", "RSA PRIVATE KEY")
TPM_LABEL = "TSS2 PRIVATE KEY"


def find_key(content: bytes, path: str) -> Block | None:
    """Return the block of the private key in a PEM file; None if the file is not PEM.

    Raises:
        IdentityError: The file is PEM and has no key that we can use.
    """
    try:
        found = blocks(content)
    except PemError as error:
        raise IdentityError(f"the private key {path} is damaged: {error}") from None
    if not found:
        return None
    for block in found:
        if block.label in LABELS:
            return block
    labels = ", ".join(dict.fromkeys(block.label for block in found))
    if TPM_LABEL in labels:
        raise in_a_tpm(path)
    raise IdentityError(
        f"the file {path} holds no private key, but {labels}",
        remedy="name the key's file with --private-key",
    )


def in_a_tpm(path: str) -> IdentityError:
    """Return the error for a key that is out of our reach."""
    return IdentityError(
        f"the private key {path} lives in a TPM, where only aws_signing_helper can use it",
        remedy="install that, and use --backend auto or helper",
    )


def load_key(content: bytes, path: str, passwords: Passwords) -> SoftwareKey:
    """Return the private key of a file, asking for a password where it needs one.

    Raises:
        IdentityError: There is no usable key in it, or the password is wrong.
    """
    block = find_key(content, path)
    data = content if block is None else block.text
    encrypted = block is not None and (block.label == ENCRYPTED or block.headers)
    pkcs8 = content if block is None else block.der
    if is_ml_dsa(pkcs8):
        return SoftwareKey(_load_ml_dsa(with_seed_alone(pkcs8, path), path))
    return SoftwareKey(_open(data, path, passwords, pem=block is not None, encrypted=encrypted))


def _open(data: bytes, path: str, passwords: Passwords, *, pem: bool, encrypted: bool) -> Any:
    if not encrypted:
        try:
            return _load(data, None, path, pem=pem)
        except PasswordNeededError:  # DER does not say so in a label
            pass
    what = f"the private key {path}"
    password = passwords.given()
    if password is not None:
        return _load(data, password, path, pem=pem)
    for attempt in range(1, TRIES + 1):
        try:
            return _load(data, passwords.ask(what), path, pem=pem)
        except WrongPasswordError:
            if attempt == TRIES:
                raise
    raise AssertionError


def _load_ml_dsa(pkcs8: bytes, path: str) -> Any:
    try:
        return load_private_key(pkcs8, None, pem=False)
    except Exception as error:
        if type(error).__name__ not in ("ValueError", "UnsupportedAlgorithm"):
            raise
        raise IdentityError(
            f"the private key {path} is an ML-DSA key, which the installed cryptography has not",
            remedy="upgrade cryptography",
        ) from None


class PasswordNeededError(IdentityError):
    """The key is encrypted and no password was tried."""


class WrongPasswordError(IdentityError):
    """The password does not open the key."""


def _load(data: bytes, password: Secret | None, path: str, *, pem: bool) -> Any:
    try:
        return load_private_key(data, password.reveal().encode() if password else None, pem=pem)
    except TypeError:
        raise PasswordNeededError(f"the private key {path} needs a password") from None
    except ValueError:
        if password is None:
            raise IdentityError(
                f"the private key {path} cannot be understood",
                remedy="see `openssl pkey -in FILE -noout -text`; it takes PKCS#8, PKCS#1, SEC1",
            ) from None
        raise WrongPasswordError(
            f"the password does not open the private key {path}",
            remedy="check the password, or the file it is read from",
        ) from None
    except Exception as error:
        # cryptography.exceptions.UnsupportedAlgorithm, whose import is only paid for here.
        if type(error).__name__ != "UnsupportedAlgorithm":
            raise
        raise IdentityError(
            f"the private key {path} or its encryption is of an unknown kind",
            remedy="convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc, or upgrade cryptography",
        ) from None
