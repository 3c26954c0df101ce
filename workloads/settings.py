"""What a run tells its worker and its producer, through their environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Self

Acks = Literal["late", "early"]
Backend = Literal["rpc", "none"]
TransportName = Literal["mqauth", "callable", "plain"]

_SETTINGS = "WORKLOAD_SETTINGS"
_BROKER_URL = "WORKLOAD_BROKER_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the Celery app of a run is configured.

    Args:
        broker_url: Where the broker is; only `plain` has a password in it.
        transport: How the app signs in: `mqauth` by our scheme, `callable` by Kombu's callable
            password (for comparison), `plain` by a password in the URL.
        acks: Acknowledge tasks before (`early`) or after (`late`, prefetch 1) they ran.
        backend: Result backend.
        ledger: Folder of the ledger.
        ca_file: Certificate authority of the broker, or empty without TLS.
    """

    broker_url: str = field(repr=False)
    transport: TransportName
    acks: Acks
    backend: Backend
    ledger: Path
    ca_file: str = ""

    def environment(self) -> dict[str, str]:
        """Return the variables that `from_environment` reads."""
        fields = asdict(self)
        url = fields.pop("broker_url")
        return {_BROKER_URL: url, _SETTINGS: json.dumps(fields, default=str)}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read what `environment` returned.

        Raises:
            KeyError: This process was not started by a run.
        """
        fields = json.loads(environment[_SETTINGS])
        fields["ledger"] = Path(fields["ledger"])
        return cls(broker_url=environment[_BROKER_URL], **fields)
