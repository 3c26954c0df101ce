"""What clients of librdkafka are told: the same for an app, a health check and a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery_mqauth.kafka.endpoints import KafkaLink
from celery_mqauth.kafka.token import TokenCallback

_SILENT = 2  # librdkafka's own lines: what matters of them comes to `error_cb`, too


def given(options: Mapping[str, Any] | None, name: str) -> dict[str, Any]:
    """Return the user's settings for a kind of client, such as `kafka_admin_config`."""
    return dict((options or {}).get(name) or {})


def common_settings(
    link: KafkaLink, token: TokenCallback, options: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the settings of all clients.

    Args:
        link: Where to.
        token: What librdkafka gets its token from.
        options: As Celery's `broker_transport_options`.
    """
    return {
        "log_level": _SILENT,
        **given(options, "kafka_common_config"),
        **link.settings,
        "oauth_cb": token,
    }
