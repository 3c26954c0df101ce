"""How a client proves who it is (RFC 6749, 2.3; RFC 7523, 2.2; RFC 8705, 2)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Literal
from urllib.parse import quote_plus

from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT, private_key_jwt_sign
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mqauth.errors import ConfigurationError
from mqauth.providers._oauth2_config import OAuth2Config
from mqauth.providers._x509 import read_client_certificate
from mqauth.secret import Secret

ASSERTION_LIFE = 60
"""Seconds that a signed assertion lives; it is used at once, and only once."""
_KINDS: Mapping[str, Literal["RSA", "EC"]] = {"RS": "RSA", "ES": "EC"}
_LEAST_RSA_BITS = 2048
"""RFC 7518, sections 3.3 and 3.5; libraries that sign with fewer only warn, on the terminal."""
_RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_EC_ALGORITHMS: Mapping[str, str] = {
    "secp256r1": "ES256",
    "secp384r1": "ES384",
    "secp521r1": "ES512",
}


class ClientAuthentication:
    """The client's proof for one token request.

    Args:
        config: The checked options of the provider.

    Attributes:
        secrets: What must not come back in an error text.

    Raises:
        ConfigurationError: The secret, key or certificate cannot be used.
        CredentialError: The client certificate is not there, or cannot be used now.
    """

    def __init__(self, config: OAuth2Config) -> None:
        """Read the secret, key or certificate as it is at this moment."""
        self._config = config
        self._secret = _revealed(config.client_secret)
        self._key = _revealed(config.private_key) if self._signs else None
        self._algorithm = ""
        if self._key is not None:
            self._algorithm = _algorithm(self._key, config.signing_algorithm)
        self.secrets = self._spoken()

    @property
    def _signs(self) -> bool:
        return self._config.auth_method == "private_key_jwt"

    def session(self) -> OAuth2Session:
        """Return a session that authenticates the client."""
        config = self._config
        client_id, secret = self._identification()
        # With mutual TLS the request only names the client, as one without any proof does.
        method = "none" if config.mutual_tls else config.auth_method
        session = OAuth2Session(
            client_id=client_id, client_secret=secret, token_endpoint_auth_method=method
        )
        if self._key is not None:
            session.register_client_auth_method(_Assertion(config, self._key, self._algorithm))
        if config.client_certificate is not None:
            certificate, key = config.client_certificate
            read_client_certificate(certificate, key)
            session.cert = (str(certificate), str(key))
        return session

    def _identification(self) -> tuple[str, str | None]:
        """Return id and secret as they are sent; Authlib leaves RFC 6749's 2.3.1 to its caller."""
        secret = self._secret.reveal() if self._secret else None
        if self._config.auth_method == "client_secret_basic":
            return quote_plus(self._config.client_id), quote_plus(secret or "")
        return self._config.client_id, secret

    def _spoken(self) -> tuple[Secret, ...]:
        if self._secret is None:
            return ()
        client_id, sent = self._identification()
        pairs = (f"{client_id}:{sent}", f"{self._config.client_id}:{self._secret.reveal()}")
        encoded = (Secret(base64.b64encode(pair.encode()).decode()) for pair in pairs)
        return self._secret, Secret(sent or ""), *encoded


class _Assertion(PrivateKeyJWT):  # type: ignore[misc]  # Authlib has no types
    """Authlib's, with a key of any kind, its id, and a short life."""

    def __init__(self, config: OAuth2Config, key: Secret, algorithm: str) -> None:
        super().__init__(alg=algorithm)
        self._config = config
        self._key = key

    def sign(self, auth: Any, token_endpoint: str) -> str:
        key_id = self._config.private_key_id
        signed: str | bytes = private_key_jwt_sign(
            _key_for_authlib(self._key),
            client_id=self._config.client_id,
            token_endpoint=token_endpoint,
            alg=self.alg,
            header={"kid": key_id} if key_id else None,
            expires_in=ASSERTION_LIFE,
        )
        return signed.decode() if isinstance(signed, bytes) else signed


def _revealed(secret: Secret | None) -> Secret | None:
    """Return a secret as it is now; a `FileSecret` would be read again at every use."""
    return None if secret is None else Secret(secret.reveal())


def _key_for_authlib(key: Secret) -> Any:
    """Return a key as this release of Authlib wants it: newer ones leave JOSE to joserfc."""
    if find_spec("authlib._joserfc_helpers") is None:
        return key.reveal()
    from joserfc import jwk  # noqa: PLC0415 - older releases of Authlib do without

    possible = _algorithms_or_reason(key)
    kind = _KINDS[possible[0][:2]]
    return jwk.import_key(key.reveal(), kind)


def _algorithm(key: Secret, wanted: str | None) -> str:
    possible = _algorithms_or_reason(key)
    if isinstance(possible, str):
        raise ConfigurationError(
            f"the option private_key of the provider oauth2 cannot be used: {possible}",
            remedy="give an unencrypted private key in PEM, EC or RSA of at least "
            f"{_LEAST_RSA_BITS} bits, and have the issuer know its public half",
        )
    if wanted is not None and wanted not in possible:
        raise ConfigurationError(
            "the option signing_algorithm of the provider oauth2 does not fit its private_key",
            remedy=f"leave it out, or use {' or '.join(possible)}",
        )
    return wanted or possible[0]


def _algorithms_or_reason(key: Secret) -> tuple[str, ...] | str:
    # Returned, not raised: a traceback that shows variables must not show the key.
    try:
        loaded = load_pem_private_key(key.reveal().encode(), password=None)
    except TypeError:
        return "it is encrypted"
    except (ValueError, UnsupportedAlgorithm):
        return "it is no private key in PEM"
    if isinstance(loaded, rsa.RSAPrivateKey):
        if loaded.key_size < _LEAST_RSA_BITS:
            return f"it has {loaded.key_size} bits, and RSA keys must have {_LEAST_RSA_BITS}"
        return _RSA_ALGORITHMS
    if isinstance(loaded, ec.EllipticCurvePrivateKey) and loaded.curve.name in _EC_ALGORITHMS:
        return (_EC_ALGORITHMS[loaded.curve.name],)
    return "no JWT can be signed by a key of its kind"
