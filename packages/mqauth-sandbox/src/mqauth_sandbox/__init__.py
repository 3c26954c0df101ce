"""A local world for broker credentials: real brokers, issuers that verify, faults on demand.

`Sandbox` composes everything; each part can be used alone too. Names are loaded when first used,
since the pytest plugin makes every test run of an environment import this package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mqauth_sandbox.account import AwsAccount
    from mqauth_sandbox.alibaba_sts import AlibabaSts
    from mqauth_sandbox.apsaramq import ApsaraMqAuth
    from mqauth_sandbox.broker import Broker
    from mqauth_sandbox.errors import BrokerError, NotInstalledError, SandboxError
    from mqauth_sandbox.faults import FaultMode, Faults
    from mqauth_sandbox.kafka.broker import KafkaBroker
    from mqauth_sandbox.kafka.sandbox import KafkaSandbox
    from mqauth_sandbox.oidc import OidcIssuer
    from mqauth_sandbox.pki import Identity, IdentityFiles, Pki
    from mqauth_sandbox.proxy import TcpProxy
    from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
    from mqauth_sandbox.sandbox import (
        AWS_EXAMPLE_ALIAS_SCOPES,
        CELERY_ALIAS_SCOPES,
        BrokerAuth,
        Sandbox,
    )
    from mqauth_sandbox.sts import StsEndpoint

__all__ = [
    "AWS_EXAMPLE_ALIAS_SCOPES",
    "CELERY_ALIAS_SCOPES",
    "AlibabaSts",
    "ApsaraMqAuth",
    "AwsAccount",
    "Broker",
    "BrokerAuth",
    "BrokerError",
    "FaultMode",
    "Faults",
    "Identity",
    "IdentityFiles",
    "KafkaBroker",
    "KafkaSandbox",
    "NotInstalledError",
    "OidcIssuer",
    "Pki",
    "RolesAnywhereEndpoint",
    "Sandbox",
    "SandboxError",
    "StsEndpoint",
    "TcpProxy",
]

_MODULES = {
    "account": ("AwsAccount",),
    "alibaba_sts": ("AlibabaSts",),
    "apsaramq": ("ApsaraMqAuth",),
    "broker": ("Broker",),
    "errors": ("BrokerError", "NotInstalledError", "SandboxError"),
    "faults": ("FaultMode", "Faults"),
    "kafka.broker": ("KafkaBroker",),
    "kafka.sandbox": ("KafkaSandbox",),
    "oidc": ("OidcIssuer",),
    "pki": ("Identity", "IdentityFiles", "Pki"),
    "proxy": ("TcpProxy",),
    "rolesanywhere": ("RolesAnywhereEndpoint",),
    "sandbox": ("AWS_EXAMPLE_ALIAS_SCOPES", "CELERY_ALIAS_SCOPES", "BrokerAuth", "Sandbox"),
    "sts": ("StsEndpoint",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
