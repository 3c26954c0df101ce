"""One credential, fetched to be looked at and for nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mqauth.config.resolution import resolve
from mqauth.credentials import BrokerCredentials
from mqauth.diagnosis.token_facts import TokenFacts, facts_of
from mqauth.errors import ConfigurationError
from mqauth.rotation.building import parts
from mqauth.rotation.source import CredentialSource
from mqauth.secret import Secret


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """A credential and whose it is.

    Attributes:
        name: The named entry or provider that it was asked of.
        identity: Who signs in.
        credentials: The credential.
    """

    name: str
    identity: str
    credentials: BrokerCredentials

    @property
    def facts(self) -> TokenFacts:
        """What can be told without giving it away."""
        return facts_of(self.credentials, self.identity)

    @property
    def token(self) -> Secret:
        """The token or password itself.

        Raises:
            ConfigurationError: There is none, since a certificate signs in.
        """
        if self.credentials.certificate is not None:
            raise ConfigurationError(
                f"{self.name} signs in by a certificate, so there is no token to print",
                remedy="leave --raw out",
            )
        return self.credentials.password


def fetch_once(
    name: str,
    *,
    explicit: Mapping[str, Any] | None = None,
    derived: Mapping[str, Any] | None = None,
    fresh: bool = False,
) -> Fetched:
    """Fetch a credential; nothing goes on in the background afterwards.

    Args:
        name: A named entry or a provider.
        explicit: As for `mqauth.config.resolution.resolve`.
        derived: As for `mqauth.config.resolution.resolve`.
        fresh: Whether to ask the issuer, whatever this host's cache holds.

    Raises:
        ConfigurationError: An option or a setting cannot work.
        CredentialError: There is no credential to be had.
    """
    given = {**(explicit or {}), **({"cache": False} if fresh else {})}
    source = CredentialSource.from_parts(parts(resolve(name, explicit=given, derived=derived)))
    try:
        credentials = source.get()
        return Fetched(name=name, identity=source.provider.identity, credentials=credentials)
    finally:
        source.close()
