"""Options of the `oauth2` provider, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mqauth.config.options import environment_name
from mqauth.config.secret_file import FileSecret
from mqauth.errors import ConfigurationError
from mqauth.provider import Option
from mqauth.providers._ca_file import check_ca_file
from mqauth.providers._urls import check_url
from mqauth.secret import Secret

SECRET_METHODS = ("client_secret_basic", "client_secret_post")
TLS_METHODS = ("tls_client_auth", "self_signed_tls_client_auth")
AUTH_METHODS = (*SECRET_METHODS, "private_key_jwt", *TLS_METHODS, "none")
GRANT_TYPES = ("client_credentials", "password", "refresh_token")
TOKEN_FORMATS = ("jwt", "opaque")
TOKEN_PLACES = ("password", "username")

OPTIONS = (
    Option(name="issuer", help="the issuer's URL, from which the token endpoint is discovered"),
    Option(name="token_endpoint", help="the URL where tokens are fetched, if not discovered"),
    Option(name="client_id", help="the client's name at the issuer; always needed"),
    Option(name="client_secret", secret=True, help="the client's secret"),
    Option(name="auth_method", default=AUTH_METHODS[0], help=" or ".join(AUTH_METHODS)),
    Option(name="private_key", secret=True, help="the PEM text of the key for private_key_jwt"),
    Option(name="private_key_id", help="the kid that the issuer knows this key by"),
    Option(name="signing_algorithm", help="how the key signs, if not as usual for its kind"),
    Option(name="client_certificate_file", help="the PEM file of the certificate for mutual TLS"),
    Option(
        name="client_private_key_file",
        help="the PEM file of its private key; not given, the certificate's file holds it",
    ),
    Option(name="grant_type", default=GRANT_TYPES[0], help=" or ".join(GRANT_TYPES)),
    Option(name="owner_username", help="the user whose token is asked for (grant password)"),
    Option(name="owner_password", secret=True, help="that user's password (grant password)"),
    Option(name="refresh_token", secret=True, help="the refresh token to begin with (that grant)"),
    Option(name="scope", help="scopes to ask for, with blanks between them"),
    Option(name="audience", help="the audience to ask for"),
    Option(name="resource", help="the resource to ask for (RFC 8707)"),
    Option(name="token_format", default=TOKEN_FORMATS[0], help=" or ".join(TOKEN_FORMATS)),
    Option(
        name="token_as",
        default=TOKEN_PLACES[0],
        help="password, or username for brokers with the first UAA plugin",
    ),
    Option(name="ca_file", help="a PEM file of the authorities that sign the issuer's certificate"),
    Option(name="username", default="", help="the user name at login, if the broker wants one"),
    Option(
        name="insecure_issuer",
        default=False,
        help="whether the secret may go over plain HTTP to another host (development only)",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class OAuth2Config:
    """The options of the provider by their names; see `OPTIONS`."""

    client_id: str
    client_secret: Secret | None = None
    issuer: str | None = None
    token_endpoint: str | None = None
    auth_method: str = AUTH_METHODS[0]
    private_key: Secret | None = None
    private_key_id: str | None = None
    signing_algorithm: str | None = None
    client_certificate_file: str | None = None
    client_private_key_file: str | None = None
    grant_type: str = GRANT_TYPES[0]
    owner_username: str | None = None
    owner_password: Secret | None = None
    refresh_token: Secret | None = None
    scope: str | None = None
    audience: str | None = None
    resource: str | None = None
    token_format: str = TOKEN_FORMATS[0]
    token_as: str = TOKEN_PLACES[0]
    ca_file: str | None = None
    username: str = ""
    insecure_issuer: bool = False

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Check validated options against each other.

        Raises:
            ConfigurationError: They cannot work.
            InsecureTransportError: The client's secret would be sent in clear.
        """
        config = cls(**options)
        _one_of("auth_method", config.auth_method, AUTH_METHODS)
        _one_of("grant_type", config.grant_type, GRANT_TYPES)
        _one_of("token_format", config.token_format, TOKEN_FORMATS)
        _one_of("token_as", config.token_as, TOKEN_PLACES)
        config._check_complete()
        for name in ("issuer", "token_endpoint"):
            if (url := getattr(config, name)) is not None:
                check_url(url, f"the option {name}", insecure=config.insecure_issuer)
        check_ca_file(config.ca_file, "oauth2")
        if config.token_as_username and config.username:
            raise ConfigurationError(
                "the options username and token_as=username contradict each other",
                remedy="take one of them out",
            )
        return config

    def _check_complete(self) -> None:
        """Name everything that is missing at once, not one thing a run."""
        # That of the client may be None although its type says otherwise: until here.
        missing = [name for name in self._needed() if getattr(self, name) is None]
        if self.issuer is None and self.token_endpoint is None:
            missing.append("issuer or token_endpoint")
        if missing:
            variables = (
                environment_name("oauth2", name)
                for either in missing
                for name in either.split(" or ")
            )
            raise ConfigurationError(
                f"the provider oauth2 needs the option {' and '.join(missing)} with auth_method "
                f"{self.auth_method} and grant_type {self.grant_type}",
                remedy=f"set them, or {', '.join(variables)}",
            )

    def _needed(self) -> list[str]:
        needed = ["client_id"]
        if self.auth_method in SECRET_METHODS:
            needed.append("client_secret")
        elif self.auth_method == "private_key_jwt":
            needed.append("private_key")
        elif self.mutual_tls:
            needed.append("client_certificate_file")
        if self.grant_type == "password":
            needed += ["owner_username", "owner_password"]
        elif self.grant_type == "refresh_token":
            needed.append("refresh_token")
        elif self.auth_method == "none":
            raise ConfigurationError(
                "the grant client_credentials needs a client that authenticates itself",
                remedy="set auth_method to another one than none",
            )
        return needed

    @property
    def mutual_tls(self) -> bool:
        """Whether the client authenticates itself by a certificate (RFC 8705, section 2)."""
        return self.auth_method in TLS_METHODS

    @property
    def opaque(self) -> bool:
        """Whether only the issuer can read its tokens."""
        return self.token_format == "opaque"  # noqa: S105 - a format, no password

    @property
    def token_as_username(self) -> bool:
        """Whether the broker looks for the token where the user name stands."""
        return self.token_as == "username"  # noqa: S105 - a place, no password

    @property
    def verify(self) -> str | bool:
        """What requests is to verify the issuer's certificate with."""
        return self.ca_file or True

    @property
    def client_certificate(self) -> tuple[Path, Path] | None:
        """Files of the certificate and of its key for mutual TLS, if that is asked for."""
        if not self.mutual_tls or self.client_certificate_file is None:
            return None
        key = self.client_private_key_file or self.client_certificate_file
        return Path(self.client_certificate_file).expanduser(), Path(key).expanduser()

    @property
    def parameters(self) -> dict[str, str]:
        """Parameters of the token request besides those every grant has."""
        asked = {"scope": self.scope, "audience": self.audience, "resource": self.resource}
        return {name: value for name, value in asked.items() if value}

    @property
    def remedies(self) -> dict[str, str]:
        """What to do about codes of refusals whose cause depends on the grant."""
        if self.grant_type != "refresh_token":
            return {}
        token = self.refresh_token
        place = f"the file {token.path}" if isinstance(token, FileSecret) else "refresh_token"
        return {
            "invalid_grant": "the refresh token has run out, was revoked, or was used and its "
            f"successor lost: sign in anew, and put the new one into {place}"
        }

    @property
    def owner(self) -> str:
        """Whose token is asked for, without a secret and different for each; empty: the client's.

        A refresh token says so only to the issuer. It is random and long, so that the first digits
        of its digest tell nothing of it.
        """
        if self.grant_type == "password":
            return f"user {self.owner_username}"
        if self.grant_type != "refresh_token" or self.refresh_token is None:
            return ""
        if isinstance(self.refresh_token, FileSecret):
            return f"refresh token {self.refresh_token.path}"
        digest = hashlib.sha256(self.refresh_token.reveal().encode()).hexdigest()
        return f"refresh token #{digest[:8]}"


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigurationError(
            f"the option {name} of the provider oauth2 is neither {' nor '.join(allowed)}",
            remedy="use one of them",
        )
