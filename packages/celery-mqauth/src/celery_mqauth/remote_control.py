"""`celery inspect mqauth`: what each worker knows about its credentials."""

from __future__ import annotations

from typing import Any

from celery.worker.control import inspect_command

from mqauth.shared import shared_sources


@inspect_command()
def mqauth(state: Any) -> dict[str, Any]:
    """State of the broker credentials: provider, expiry, rotations, failures; no secrets."""
    del state
    return {"sources": [source.status().as_dict() for source in shared_sources()]}
