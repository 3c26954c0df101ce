"""Makes the mqauth schemes known to Kombu by installation alone.

Kombu has no entry-point group for transports, but it loads the group `kombu.serializers` when
`kombu.serialization` is imported, which Celery always does. Loading this module for that group adds
the schemes to Kombu's aliases. As the group wants a serializer, `SERIALIZER` is one: JSON under a
content type of its own, which nothing selects unless asked for by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kombu.transport import TRANSPORT_ALIASES

SCHEMES = {
    "mqauth": "celery_mqauth.transport:Transport",
    "mqauths": "celery_mqauth.transport:SSLTransport",
    "mqauth-kafka": "celery_mqauth.kafka:Transport",
    "mqauths-kafka": "celery_mqauth.kafka:SSLTransport",
}

SERIALIZER: tuple[Callable[[Any], str], Callable[[Any], Any], str, str] = (
    json.dumps,
    json.loads,
    "application/x-mqauth-json",
    "utf-8",
)


def register_schemes() -> None:
    """Add the mqauth URL schemes to Kombu; harmless when repeated."""
    TRANSPORT_ALIASES.update(SCHEMES)


register_schemes()
