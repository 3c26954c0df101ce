"""What clients of librdkafka are told: the same for an app, a health check and a diagnosis."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from celery_mqauth.kafka.endpoints import KafkaLink
from celery_mqauth.kafka.token import TokenCallback

_SILENT = 2  # librdkafka's own lines: what matters of them comes to `error_cb`, too


_SAYS_WHOM_TO_TRUST = frozenset({"ssl.ca.location", "ssl.ca.pem", "ssl.ca.certificate.stores"})


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
    # What says where to go and how to sign in is not among the user's: that is refused before.
    settings = {
        "log_level": _SILENT,
        **link.settings,
        **given(options, "kafka_common_config"),
        "oauth_cb": token,
    }
    trusted = ssl.get_default_verify_paths().cafile
    if link.tls and trusted and not _SAYS_WHOM_TO_TRUST & settings.keys():
        # What Python trusts, SSL_CERT_FILE included; librdkafka would look for a file by itself.
        settings["ssl.ca.location"] = trusted
    return settings
