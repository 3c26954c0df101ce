"""The `oauth2` provider: access tokens of an OAuth 2.0 authorization server (RFC 6749).

Options:

- `issuer`: the OpenID Connect issuer; its token endpoint is discovered
- `token_endpoint`: where tokens are fetched; with it nothing is discovered
- `client_id`: who asks
- `auth_method`: how it proves that: `client_secret_basic` (the default) or `client_secret_post`
  with `client_secret`; `private_key_jwt` (RFC 7523) with `private_key`, its `private_key_id` and
  `signing_algorithm`; `tls_client_auth` or `self_signed_tls_client_auth` (RFC 8705) with
  `client_certificate_file` and `client_private_key_file`; `none`
- `grant_type`: `client_credentials` (the default), `password` with `owner_username` and
  `owner_password`, or `refresh_token` with `refresh_token`
- `scope`, `audience`, `resource`: what the token is to be good for
- `token_format`: `jwt` (the default), or `opaque` for tokens that only the issuer can read
- `token_as`: `password` (the default), or `username` for brokers with the first UAA plugin
- `ca_file`: certificate authorities that sign the issuer's certificate
- `username`: the user name at login; usually empty, since the broker reads it from the token
- `insecure_issuer`: allow plain HTTP to an issuer on another host, for development

Proxies are taken from `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from mqauth.config.extras import require
from mqauth.credentials import BrokerCredentials
from mqauth.errors import MQAuthError
from mqauth.provider import Option
from mqauth.providers._deadline import BoundedCalls, Deadline
from mqauth.providers._oauth2_config import OPTIONS, OAuth2Config
from mqauth.providers._oauth2_refresh import RefreshTokens

if TYPE_CHECKING:
    from mqauth.providers._oauth2_client import OAuth2Client


class OAuth2Provider:
    """Fetches access tokens from an OAuth 2.0 authorization server.

    Args:
        config: The checked options.
    """

    name: ClassVar[str] = "oauth2"
    options: ClassVar[tuple[Option, ...]] = OPTIONS
    shareable: ClassVar[bool] = True

    def __init__(self, config: OAuth2Config) -> None:
        """Keep the options; nothing is asked yet."""
        self._config = config
        self._calls = BoundedCalls(f"the issuer of {config.client_id}")
        self._endpoint = config.token_endpoint
        self._refresh_tokens: RefreshTokens | None = None
        if config.grant_type == "refresh_token" and config.refresh_token is not None:
            self._refresh_tokens = RefreshTokens(config.refresh_token)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build the provider from validated options.

        Raises:
            ConfigurationError: They contradict each other, or Authlib is not installed.
            InsecureTransportError: The client's secret would be sent in clear.
        """
        require("authlib", "requests")
        return cls(OAuth2Config.from_options(options))

    @property
    def identity(self) -> str:
        """The client, the issuer, and what is asked for."""
        config = self._config
        asked = "".join(f" {name} {value}" for name, value in config.parameters.items())
        owner = f" for {config.owner}" if config.owner else ""
        user = f" as {config.username}" if config.username else ""
        place = " as user name" if config.token_as_username else ""
        return f"oauth2 client {config.client_id} of {self._where}{owner}{asked}{user}{place}"

    @property
    def _where(self) -> str:
        return self._config.token_endpoint or str(self._config.issuer)

    def prepare(self) -> None:
        """Load Authlib and requests, which take longer than everything else."""
        importlib.import_module("mqauth.providers._oauth2_client")

    def fetch(self, *, timeout: float) -> BrokerCredentials:
        """Fetch a token.

        Raises:
            IssuerUnavailableError: The issuer did not answer usefully in time.
            IssuerRefusedError: It refuses this client or this request.
            InvalidCredentialError: Its answer holds no usable token.
            ConfigurationError: It is not the issuer it was configured to be, or the file of the
                client's secret cannot be read.
        """
        client = self._client()
        deadline = Deadline(timeout)
        return self._calls.run(deadline, lambda: self._fetch(client, deadline))

    def _fetch(self, client: OAuth2Client, deadline: Deadline) -> BrokerCredentials:
        try:
            if self._endpoint is None:
                self._endpoint = client.discover(deadline)
            return client.fetch(
                self._endpoint,
                deadline,
                provider=self.name,
                refresh_tokens=self._refresh_tokens,
            )
        except MQAuthError:
            # The issuer may have moved: a discovered endpoint is not trusted after a failure.
            self._endpoint = self._config.token_endpoint
            raise

    def _client(self) -> OAuth2Client:
        # A process that takes its credential from the host's cache never gets here, and Authlib
        # and requests take longer to load than everything else.
        from mqauth.providers._oauth2_client import OAuth2Client  # noqa: PLC0415

        return OAuth2Client(self._config)
