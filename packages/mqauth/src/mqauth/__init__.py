"""Short-lived broker credentials that rotate without anybody noticing.

`CredentialSource.from_config` builds a source from a mapping, `CredentialSource.get` returns the
present credential, `subscribe` tells of every renewal and failure.
"""

from mqauth.credentials import BrokerCredentials
from mqauth.errors import (
    ConfigurationError,
    CredentialError,
    CredentialExpiredError,
    InsecureTransportError,
    InvalidCredentialError,
    IssuerRefusedError,
    IssuerUnavailableError,
    ManagementError,
    ManagementRefusedError,
    ManagementUnavailableError,
    MQAuthError,
    UnknownProviderError,
)
from mqauth.events import (
    CredentialEvent,
    CredentialExpiring,
    CredentialFetched,
    CredentialRenewed,
    RenewalFailed,
    subscribe,
)
from mqauth.provider import Option, Provider
from mqauth.rotation.freshness import Freshness, RotationPolicy
from mqauth.rotation.source import CredentialSource
from mqauth.rotation.status import SourceStatus
from mqauth.secret import Secret

__all__ = [
    "BrokerCredentials",
    "ConfigurationError",
    "CredentialError",
    "CredentialEvent",
    "CredentialExpiredError",
    "CredentialExpiring",
    "CredentialFetched",
    "CredentialRenewed",
    "CredentialSource",
    "Freshness",
    "InsecureTransportError",
    "InvalidCredentialError",
    "IssuerRefusedError",
    "IssuerUnavailableError",
    "MQAuthError",
    "ManagementError",
    "ManagementRefusedError",
    "ManagementUnavailableError",
    "Option",
    "Provider",
    "RenewalFailed",
    "RotationPolicy",
    "Secret",
    "SourceStatus",
    "UnknownProviderError",
    "subscribe",
]
