"""Options of the `oauth2` provider, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mqauth.errors import ConfigurationError
from mqauth.provider import Option
from mqauth.providers._urls import check_url
from mqauth.secret import Secret

AUTH_METHODS = ("client_secret_basic", "client_secret_post")
TOKEN_FORMATS = ("jwt", "opaque")

OPTIONS = (
    Option(name="issuer", help="the issuer's URL, from which the token endpoint is discovered"),
    Option(name="token_endpoint", help="the URL where tokens are fetched, if not discovered"),
    Option(name="client_id", required=True, help="the client's name at the issuer"),
    Option(name="client_secret", required=True, secret=True, help="the client's secret"),
    Option(name="scope", help="scopes to ask for, with blanks between them"),
    Option(name="audience", help="the audience to ask for"),
    Option(name="resource", help="the resource to ask for (RFC 8707)"),
    Option(name="auth_method", default=AUTH_METHODS[0], help=" or ".join(AUTH_METHODS)),
    Option(name="token_format", default=TOKEN_FORMATS[0], help=" or ".join(TOKEN_FORMATS)),
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
    client_secret: Secret
    issuer: str | None = None
    token_endpoint: str | None = None
    scope: str | None = None
    audience: str | None = None
    resource: str | None = None
    auth_method: str = AUTH_METHODS[0]
    token_format: str = TOKEN_FORMATS[0]
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
        if config.issuer is None and config.token_endpoint is None:
            raise ConfigurationError(
                "the provider oauth2 needs the option issuer or token_endpoint",
                remedy="set one of them, or MQAUTH_OAUTH2_ISSUER or MQAUTH_OAUTH2_TOKEN_ENDPOINT",
            )
        for name in ("issuer", "token_endpoint"):
            if (url := getattr(config, name)) is not None:
                check_url(url, f"the option {name}", insecure=config.insecure_issuer)
        _one_of("auth_method", config.auth_method, AUTH_METHODS)
        _one_of("token_format", config.token_format, TOKEN_FORMATS)
        if config.ca_file is not None and not Path(config.ca_file).is_file():
            raise ConfigurationError(
                f"the ca_file {config.ca_file} is no file", remedy="name a file of certificates"
            )
        return config

    @property
    def opaque(self) -> bool:
        """Whether only the issuer can read its tokens."""
        return self.token_format == "opaque"  # noqa: S105 - a format, no password

    @property
    def verify(self) -> str | bool:
        """What requests is to verify the issuer's certificate with."""
        return self.ca_file or True

    @property
    def parameters(self) -> dict[str, str]:
        """Parameters of the token request besides those every grant has."""
        asked = {"scope": self.scope, "audience": self.audience, "resource": self.resource}
        return {name: value for name, value in asked.items() if value}


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigurationError(
            f"the option {name} of the provider oauth2 is neither {' nor '.join(allowed)}",
            remedy="use one of them",
        )
