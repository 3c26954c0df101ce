"""Kombu's callable password as careful users write it: the thing the product is compared with.

The token is cached and fetched anew when a fifth of its life is left; Kombu asks at every connect
and never in between.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Self

from authlib.integrations.requests_client import OAuth2Session

RENEW_AT = 0.8


def token_password_environment(
    *, token_endpoint: str, client_id: str, client_secret: str, ca_file: str
) -> dict[str, str]:
    """Return the variables that `TokenPassword.from_environment` reads."""
    return {
        "WORKLOAD_TOKEN_ENDPOINT": token_endpoint,
        "WORKLOAD_CLIENT_ID": client_id,
        "WORKLOAD_CLIENT_SECRET": client_secret,
        "WORKLOAD_ISSUER_CA": ca_file,
    }


class TokenPassword:
    """A callable that returns a valid token.

    Args:
        token_endpoint: Where tokens are had.
        client_id: Who asks.
        client_secret: Its secret.
        ca_file: Certificate authority of the endpoint.
    """

    def __init__(
        self, *, token_endpoint: str, client_id: str, client_secret: str, ca_file: str
    ) -> None:
        """Fetch nothing yet."""
        self._endpoint = token_endpoint
        self._session = OAuth2Session(client_id, client_secret)
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = 0.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read what `token_password_environment` returned."""
        return cls(
            token_endpoint=environment["WORKLOAD_TOKEN_ENDPOINT"],
            client_id=environment["WORKLOAD_CLIENT_ID"],
            client_secret=environment["WORKLOAD_CLIENT_SECRET"],
            ca_file=environment["WORKLOAD_ISSUER_CA"],
        )

    def __call__(self) -> str:
        """Return the token at hand, or a new one when its life nears the end."""
        with self._lock:
            if time.time() >= self._renew_at:
                answer = self._session.fetch_token(
                    self._endpoint,
                    grant_type="client_credentials",
                    timeout=10,
                    # Said at each call: on the session, REQUESTS_CA_BUNDLE would win over it.
                    verify=self._ca_file,
                )
                self._token = answer["access_token"]
                self._renew_at = time.time() + RENEW_AT * answer["expires_in"]
            return self._token

    def __repr__(self) -> str:
        """Return a text without the token; Kombu hashes it for its pools."""
        return f"TokenPassword({self._endpoint!r})"
