"""Signs with a private key that never leaves its PKCS#11 token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from credproc.errors import IdentityError
from credproc.identity import algorithms, der
from credproc.identity.pkcs11_session import at_a_time
from credproc.secret import Secret

_DIGEST_INFO = {
    "SHA256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "SHA384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "SHA512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""What PKCS#1 v1.5 puts before a digest (RFC 8017, 9.2)."""


class Pkcs11Key:
    """A private key on a token.

    Args:
        key: The key object of the session that this process is logged in with.
        public_key: DER encoding of the SubjectPublicKeyInfo that the key's signatures must fit.
        own_pin: Gives the PIN for a key that asks for one at each signature.
    """

    def __init__(self, key: Any, public_key: bytes, own_pin: Callable[[], Secret]) -> None:
        """Keep the key."""
        self._key = key
        self._public = public_key
        self._own_pin = own_pin
        self.key_algorithm = der.oid(der.read(der.read(public_key).content).children()[0])

    def public_key(self) -> bytes:
        """Return the public half as the DER encoding of a SubjectPublicKeyInfo."""
        return self._public

    def sign(self, message: bytes, digest: str = "SHA256") -> bytes:
        """Return the signature of `message`.

        Raises:
            IdentityError: The token does not sign, or with another key than the certificate's.
        """
        import hashlib

        import pkcs11

        hashed = hashlib.new(digest, message).digest()
        try:
            if self.key_algorithm == algorithms.RSA:
                # The raw mechanism, which every token has: not all can hash.
                data, mechanism = _DIGEST_INFO[digest] + hashed, pkcs11.Mechanism.RSA_PKCS
                signature = self._sign(data, mechanism)
            else:
                signature = _ecdsa_der(self._sign(hashed, pkcs11.Mechanism.ECDSA))
        except pkcs11.PKCS11Error as error:
            raise refusal(error, "the token does not sign") from None
        self._verify(signature, message, digest)
        return signature

    def ask_ahead(self) -> None:
        """Ask now for the PIN that the key wants at each signature, and not again."""
        import pkcs11

        with at_a_time():
            asks = self._asks_each_time(pkcs11)
        if asks:
            pin = self._own_pin()
            self._own_pin = lambda: pin

    def _sign(self, data: bytes, mechanism: Any) -> bytes:
        import pkcs11

        arguments: dict[str, Any] = {"mechanism": mechanism}
        with at_a_time():
            asks = self._asks_each_time(pkcs11)
        if asks:
            arguments["pin"] = self._own_pin().reveal()
        with at_a_time():
            return bytes(self._key.sign(data, **arguments))

    def _asks_each_time(self, pkcs11: Any) -> bool:
        try:
            return bool(self._key[pkcs11.Attribute.ALWAYS_AUTHENTICATE])
        except pkcs11.PKCS11Error:  # tokens without that attribute have no such keys
            return False

    def _verify(self, signature: bytes, message: bytes, digest: str) -> None:
        """Check the signature: tokens do not always tell which public key is a private key's."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding
        from cryptography.hazmat.primitives.serialization import (
            load_der_public_key,
        )

        public: Any = load_der_public_key(self._public)
        algorithm = getattr(hashes, digest)()
        try:
            if self.key_algorithm == algorithms.RSA:
                public.verify(signature, message, padding.PKCS1v15(), algorithm)
            else:
                public.verify(signature, message, ec.ECDSA(algorithm))
        except InvalidSignature:
            raise IdentityError(
                "the token's private key does not belong to the certificate",
                remedy="name the key with --private-key 'pkcs11:...;id=...'",
            ) from None


def refusal(error: Exception, what: str) -> IdentityError:
    """Return what a token's error means to the user.

    Args:
        error: One of python-pkcs11's.
        what: What failed.
    """
    name = type(error).__name__
    causes = {
        "PinIncorrect": (
            "its PIN is wrong",
            "correct it before you try again: tokens lock after a few wrong ones",
        ),
        "PinLocked": ("its PIN is locked", "unlock the token with its administrator's PIN"),
        "PinExpired": ("its PIN has expired", "set a new one"),
        "PinInvalid": ("its PIN has characters that it does not take", "correct it"),
        "PinLenRange": ("its PIN is too short or too long", "correct it"),
        "UserPinNotInitialized": ("it has no user PIN yet", "initialize the token"),
        "UserNotLoggedIn": (
            "it wants a PIN first",
            "give it with ?pin-source=FILE in the URI or --key-password-file",
        ),
        "MechanismInvalid": ("it cannot make such signatures", "use an RSA or EC key"),
        "TokenNotPresent": ("it is not there", "plug it in"),
        "DeviceRemoved": ("it was removed", "plug it in"),
    }
    cause, remedy = causes.get(
        name, (f"it answers {name}", "see the documentation of its PKCS#11 module")
    )
    return IdentityError(f"{what}: {cause}", remedy=remedy)


def _ecdsa_der(raw: bytes) -> bytes:
    """Return the DER form of an ECDSA signature that PKCS#11 gives as two numbers in a row."""
    half = len(raw) // 2
    body = _der_integer(raw[:half]) + _der_integer(raw[half:])
    length = bytes([len(body)]) if len(body) < 0x80 else bytes([0x81, len(body)])
    return bytes([der.SEQUENCE]) + length + body


def _der_integer(big_endian: bytes) -> bytes:
    value = big_endian.lstrip(b"\x00") or b"\x00"
    if value[0] & 0x80:
        value = b"\x00" + value
    return bytes([der.INTEGER, len(value)]) + value
