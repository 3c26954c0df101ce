"""Keys that sign the sandbox's tokens, and their public half as a JSON Web Key Set."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

Algorithm = Literal["RS256", "ES384", "HS256"]
"""Signature algorithms of RFC 7518 that the issuers use."""

_Key = RSAKey | ECKey | OctKey


class SigningKeys:
    """One signing key per algorithm, and all keys that ever signed.

    Keys live in memory only, and are made when they are first needed. Older keys stay in the set,
    so tokens they signed still verify.

    Args:
        algorithms: Algorithms to have keys for.
    """

    def __init__(self, algorithms: Sequence[Algorithm] = ("RS256",)) -> None:
        """Have no key yet."""
        self._lock = threading.Lock()
        self._algorithms = tuple(algorithms)
        self._current: dict[Algorithm, _Key] = {}
        self._public: list[dict[str, Any]] = []

    def rotate(self) -> None:
        """Sign with new keys from now on; the old ones stay in `jwks`."""
        self.jwks()
        with self._lock:
            self._current.clear()

    def sign(self, claims: Mapping[str, Any], algorithm: Algorithm = "RS256") -> str:
        """Return a signed JWT (RFC 7519) with exactly these claims and the key's `kid`."""
        with self._lock:
            key = self._key(algorithm)
        header = {"alg": algorithm, "kid": key.kid}
        return jwt.encode(header, dict(claims), key, algorithms=[algorithm])

    def jwks(self) -> dict[str, Any]:
        """Return all public keys, oldest first, as a JSON Web Key Set (RFC 7517)."""
        with self._lock:
            for algorithm in self._algorithms:
                self._key(algorithm)
            return {"keys": [dict(key) for key in self._public]}

    def verification_key(self, algorithm: Algorithm) -> tuple[str, dict[str, str] | str]:
        """Return id and key to verify with: a public key in PEM, or a symmetric one as a JWK."""
        with self._lock:
            key = self._key(algorithm)
        if isinstance(key, OctKey):
            members = key.as_dict(private=True)
            return str(key.kid), {"kty": "oct", "k": str(members["k"])}
        return str(key.kid), key.as_pem(private=False).decode()

    def _key(self, algorithm: Algorithm) -> _Key:
        if algorithm not in self._current:
            key = _generate(algorithm)
            key.ensure_kid()
            self._current[algorithm] = key
            if not isinstance(key, OctKey):
                self._public.append({**key.as_dict(private=False), "use": "sig", "alg": algorithm})
        return self._current[algorithm]


def _generate(algorithm: Algorithm) -> _Key:
    if algorithm == "HS256":
        return OctKey.generate_key(256)
    if algorithm == "RS256":
        return RSAKey.generate_key(2048)
    return ECKey.generate_key("P-384")
