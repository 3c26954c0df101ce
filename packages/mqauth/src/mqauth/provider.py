"""What a provider is: the seam between an identity system and rotation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from mqauth.credentials import BrokerCredentials


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One option that a provider takes.

    Args:
        name: Key in the configuration; the environment variable is `MQAUTH_<PROVIDER>_<NAME>`.
        help: One sentence for documentation and error messages.
        required: Whether the provider cannot work without it.
        secret: Whether the value is wrapped in `Secret`; such an option may also be given as
            `<name>_file`, a file that holds it.
        several_lines: Whether the value, if no secret, may have line breaks; it must stay out of
            `Provider.identity` then.
        default: Value where nothing is given.
    """

    name: str
    help: str
    required: bool = False
    secret: bool = False
    several_lines: bool = False
    default: Any = None


@runtime_checkable
class Provider(Protocol):
    """Fetches credentials from one identity system. Third parties register theirs under the
    entry-point group `mqauth.providers`.

    A provider is stateless towards rotation: when to fetch, how often to retry and who shares the
    result is the business of `CredentialSource`.
    """

    name: ClassVar[str]
    """The name users write, such as `oauth2`."""

    options: ClassVar[tuple[Option, ...]]
    """All options it takes; others are refused with the nearest name."""

    shareable: ClassVar[bool]
    """Whether the host cache may hold its credentials; False where fetching is a local read."""

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build a provider from validated options (see `mqauth.config.options.validate`).

        Raises:
            ConfigurationError: Options contradict each other or cannot work.
        """
        ...

    @property
    def identity(self) -> str:
        """Who signs in where, in a few words and without a secret; equal for equal identities."""
        ...

    def fetch(self, *, timeout: float) -> BrokerCredentials:
        """Fetch a new credential within `timeout` seconds.

        Raises:
            IssuerUnavailableError: No useful answer in time; worth trying again.
            IssuerRefusedError: The issuer refuses; trying again changes nothing.
            InvalidCredentialError: The answer is no usable credential.
        """
        ...
