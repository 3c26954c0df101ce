"""The few functions of OpenSSL's libcrypto that sign, called where Python has loaded it already.

Python's own `_hashlib` is linked to libcrypto; through it, `ctypes` finds the very library that
this process uses for TLS, whatever its name and place. `cryptography` brings another OpenSSL, whose
start takes a third of a whole run.

Every function has its prototype, everything allocated is freed, and OpenSSL's queue of errors,
which `_ssl` reads too, is left empty.
"""

from __future__ import annotations

import ctypes

from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

RSA, EC = 6, 408  # EVP_PKEY_RSA and EVP_PKEY_EC of <openssl/evp.h>
OLDEST = 0x10101000  # 1.1.1, which brought EVP_DigestSign
_LONGEST_SIGNATURE = 2048  # 16384 bits of RSA

_Int, _Long, _Size = ctypes.c_int, ctypes.c_long, ctypes.c_size_t
_Pointer, _Bytes = ctypes.c_void_p, ctypes.c_char_p
_Buffer = ctypes.POINTER(ctypes.c_char)
_InitArguments = (_Pointer, _Pointer, _Pointer, _Pointer, _Pointer)
_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "OpenSSL_version_num": (ctypes.c_ulong, ()),
    "ERR_clear_error": (None, ()),
    "d2i_PrivateKey": (_Pointer, (_Int, _Pointer, ctypes.POINTER(_Bytes), _Long)),
    "i2d_PUBKEY": (_Int, (_Pointer, ctypes.POINTER(_Buffer))),
    "EVP_PKEY_free": (None, (_Pointer,)),
    "EVP_get_digestbyname": (_Pointer, (_Bytes,)),
    "EVP_MD_CTX_new": (_Pointer, ()),
    "EVP_MD_CTX_free": (None, (_Pointer,)),
    "EVP_DigestSignInit": (_Int, _InitArguments),
    "EVP_DigestSign": (_Int, (_Pointer, _Buffer, ctypes.POINTER(_Size), _Bytes, _Size)),
    "EVP_DigestVerifyInit": (_Int, _InitArguments),
    "EVP_DigestVerify": (_Int, (_Pointer, _Bytes, _Size, _Bytes, _Size)),
}


class LibcryptoError(Exception):
    """OpenSSL is not here, too old, or cannot do it; the long way finds out why."""


class Library:
    """The functions, with their prototypes.

    Args:
        handle: The shared library.

    Raises:
        LibcryptoError: They are not in it, or it is too old.
    """

    def __init__(self, handle: ctypes.CDLL) -> None:
        """Find the functions."""
        try:
            for name, (result, arguments) in _PROTOTYPES.items():
                function = getattr(handle, name)
                function.restype, function.argtypes = result, arguments
        except AttributeError as error:
            raise LibcryptoError(f"libcrypto has no {error}") from None
        self.call: Any = handle
        if handle.OpenSSL_version_num() < OLDEST:
            raise LibcryptoError("libcrypto is too old")


_library: Library | None = None


def library() -> Library:
    """Return the process's libcrypto.

    Raises:
        LibcryptoError: There is none that can be reached, as where Python contains it.
    """
    global _library  # noqa: PLW0603 - found once
    if _library is None:
        try:
            import _hashlib

            handle = ctypes.CDLL(_hashlib.__file__)
        except (ImportError, AttributeError, OSError) as error:
            raise LibcryptoError(f"libcrypto cannot be reached: {error}") from None
        _library = Library(handle)
    return _library


class LibcryptoKey:
    """A private key in OpenSSL's memory, wiped and freed with this object.

    Args:
        kind: `RSA` or `EC`.
        encoded: PKCS#8, PKCS#1 or SEC 1.

    Raises:
        LibcryptoError: OpenSSL does not take it.
    """

    _key: int | None = None

    def __init__(self, kind: int, encoded: bytes) -> None:
        """Load the key."""
        self._call = library().call
        start = _Bytes(encoded)
        self._key = self._call.d2i_PrivateKey(kind, None, ctypes.byref(start), len(encoded))
        self._check(self._key)

    def __del__(self) -> None:
        if self._key is not None:
            self._call.EVP_PKEY_free(self._key)
            self._key = None

    def public_key(self) -> bytes:
        """Return the public half as the DER encoding of a SubjectPublicKeyInfo."""
        size = self._call.i2d_PUBKEY(self._key, None)
        self._check(size > 0)
        memory = ctypes.create_string_buffer(size)
        end = ctypes.cast(memory, _Buffer)
        self._check(self._call.i2d_PUBKEY(self._key, ctypes.byref(end)) == size)
        return memory.raw

    def sign(self, message: bytes, digest: str) -> bytes:
        """Return a signature that the public half has verified.

        That proves the two halves to belong together, in place of validating the key, and that no
        fault of the hardware has spoilt the signature and given the key away.

        Args:
            message: What to sign.
            digest: The digest by OpenSSL's name, such as `SHA256`.

        Raises:
            LibcryptoError: The key cannot sign, or the signature is wrong.
        """
        algorithm = self._call.EVP_get_digestbyname(digest.encode())
        self._check(algorithm)
        context = self._call.EVP_MD_CTX_new()
        self._check(context)
        try:
            prepared = self._call.EVP_DigestSignInit(context, None, algorithm, None, self._key)
            self._check(prepared == 1)
            memory = ctypes.create_string_buffer(_LONGEST_SIGNATURE)
            size = _Size(len(memory))
            done = self._call.EVP_DigestSign(
                context, memory, ctypes.byref(size), message, len(message)
            )
            self._check(done == 1)
        finally:
            self._call.EVP_MD_CTX_free(context)
        signature = memory.raw[: size.value]
        self._verify(signature, message, algorithm)
        return signature

    def _verify(self, signature: bytes, message: bytes, algorithm: int) -> None:
        context = self._call.EVP_MD_CTX_new()
        self._check(context)
        try:
            prepared = self._call.EVP_DigestVerifyInit(context, None, algorithm, None, self._key)
            self._check(prepared == 1)
            valid = self._call.EVP_DigestVerify(
                context, signature, len(signature), message, len(message)
            )
            self._check(valid == 1)
        finally:
            self._call.EVP_MD_CTX_free(context)

    def _check(self, good: object) -> None:
        """Raise unless `good`, and leave no error behind for others to find."""
        if not good:
            self._call.ERR_clear_error()
            raise LibcryptoError("OpenSSL cannot use the key")
