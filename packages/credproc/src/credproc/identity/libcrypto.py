"""The few functions of OpenSSL's libcrypto that sign, called where Python has loaded it already.

Python's own `_hashlib` is linked to libcrypto; through it, the dynamic linker finds the very
library that this process uses for TLS, whatever its name and place. `cryptography` brings another
OpenSSL, whose start takes a third of a whole run.

`_ctypes` is the part of `ctypes` that calls; the rest of it takes longer to import than a key takes
to load and sign. Every function has its prototype, everything allocated is freed, and OpenSSL's
queue of errors, which `_ssl` reads too, is left empty.
"""

from __future__ import annotations

import _ctypes

from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

RSA, EC = 6, 408  # EVP_PKEY_RSA and EVP_PKEY_EC of <openssl/evp.h>
OLDEST = 0x10101000  # 1.1.1, which brought EVP_DigestSign
LONGEST_SIGNATURE = 2048  # 16384 bits of RSA


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg] # noqa: SLF001
    _type_ = "i"


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg] # noqa: SLF001
    _type_ = "l"


class _Size(_ctypes._SimpleCData):  # type: ignore[type-arg] # noqa: SLF001
    _type_ = "L"  # as long as size_t on every Linux


class _Pointer(_ctypes._SimpleCData):  # type: ignore[type-arg] # noqa: SLF001
    _type_ = "P"


class _Bytes(_ctypes._SimpleCData):  # type: ignore[type-arg] # noqa: SLF001
    _type_ = "z"


class _Byte(_ctypes._SimpleCData):  # type: ignore[type-arg] # noqa: SLF001
    _type_ = "c"


class _Function(_ctypes.CFuncPtr):
    """A function that is over before another thread could make use of the interpreter."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI
    _restype_ = _Int


class _LongFunction(_ctypes.CFuncPtr):
    """A function that lets go of the interpreter while it works."""

    _flags_ = _ctypes.FUNCFLAG_CDECL
    _restype_ = _Int


class LibcryptoError(Exception):
    """OpenSSL is not here, too old, or cannot do it; the long way finds out why."""


class Library:
    """The functions, by their names in OpenSSL's manual.

    Args:
        path: The shared library, or one that is linked to it.

    Raises:
        LibcryptoError: They are not in it, or it is too old.
    """

    def __init__(self, path: str) -> None:
        """Find the functions."""
        try:
            self._handle = _ctypes.dlopen(path, 0)
            self.version = self._find("OpenSSL_version_num", _Size)
            self.clear_error = self._find("ERR_clear_error", None)
            self.d2i_private_key = self._find(
                "d2i_PrivateKey", _Pointer, _Int, _Pointer, _Pointer, _Long
            )
            self.pkey_free = self._find("EVP_PKEY_free", None, _Pointer)
            self.digest_by_name = self._find("EVP_get_digestbyname", _Pointer, _Pointer)
            self.context_new = self._find("EVP_MD_CTX_new", _Pointer)
            self.context_free = self._find("EVP_MD_CTX_free", None, _Pointer)
            self.sign_init = self._find("EVP_DigestSignInit", _Int, *[_Pointer] * 5)
            self.sign = self._find(
                "EVP_DigestSign", _Int, *[_Pointer] * 4, _Size, kind=_LongFunction
            )
            self.verify_init = self._find("EVP_DigestVerifyInit", _Int, *[_Pointer] * 5)
            self.verify = self._find(
                "EVP_DigestVerify", _Int, _Pointer, _Pointer, _Size, _Pointer, _Size
            )
        except OSError as error:
            raise LibcryptoError(f"libcrypto cannot be used: {error}") from None
        if self.version() < OLDEST:
            raise LibcryptoError("libcrypto is too old")

    def _find(
        self, name: str, result: Any, *arguments: Any, kind: type[_ctypes.CFuncPtr] = _Function
    ) -> Callable[..., Any]:
        function = kind(_ctypes.dlsym(self._handle, name))
        function.restype, function.argtypes = result, arguments
        return function


_found: list[Library] = []


def library() -> Library:
    """Return the process's libcrypto.

    Raises:
        LibcryptoError: There is none that can be reached, as where Python contains it.
    """
    if not _found:
        try:
            import _hashlib

            path = _hashlib.__file__
        except (ImportError, AttributeError):
            raise LibcryptoError("Python contains its libcrypto, or has none") from None
        _found.append(Library(path))
    return _found[0]


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
        self._library = library()
        start = _Bytes(encoded)  # no copy; OpenSSL moves this pointer over what it has read
        self._key = self._library.d2i_private_key(kind, None, _ctypes.byref(start), len(encoded))
        self._check(self._key)

    def __del__(self) -> None:
        if self._key is not None:
            self._library.pkey_free(self._key)
            self._key = None

    def sign(self, message: bytes, digest: str) -> bytes:
        """Return a signature that the key's public half has verified.

        That proves the two halves to belong together, in place of validating the key, and that no
        fault of the hardware has spoilt the signature and given the key away.

        Args:
            message: What to sign.
            digest: The digest by OpenSSL's name, such as `SHA256`.

        Raises:
            LibcryptoError: The key cannot sign, or the signature is wrong.
        """
        crypto = self._library
        algorithm = crypto.digest_by_name(digest.encode())
        self._check(algorithm)
        memory = (_Byte * LONGEST_SIGNATURE)()
        size = _Size(LONGEST_SIGNATURE)
        self._use(
            crypto.sign_init,
            algorithm,
            lambda context: crypto.sign(
                context, memory, _ctypes.byref(size), message, len(message)
            ),
        )
        signature = bytes(memory)[: size.value]
        self._use(
            crypto.verify_init,
            algorithm,
            lambda context: crypto.verify(
                context, signature, len(signature), message, len(message)
            ),
        )
        return signature

    def _use(self, prepare: Callable[..., int], algorithm: int, work: Callable[[int], int]) -> None:
        """Do something with the key, in a context that is freed afterwards."""
        context = self._library.context_new()
        self._check(context)
        try:
            self._check(prepare(context, None, algorithm, None, self._key) == 1)
            self._check(work(context) == 1)
        finally:
            self._library.context_free(context)

    def _check(self, good: object) -> None:
        """Raise unless `good`, and leave no error behind for others to find."""
        if not good:
            self._library.clear_error()
            raise LibcryptoError("OpenSSL cannot use the key")
