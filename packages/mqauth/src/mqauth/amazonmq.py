"""What the host name of an Amazon MQ broker tells."""

from __future__ import annotations

import re

# https://docs.aws.amazon.com/amazon-mq/latest/developer-guide/rabbitmq-iam-setup.html and the
# older names under amazonaws.com; the first label is the broker's id.
_BROKER = re.compile(
    r"(?P<broker>[a-z0-9-]+)\.mq\.(?P<region>[a-z]{2,4}(?:-[a-z]+)+-\d{1,2})"
    r"\.(?:on\.aws|amazonaws\.com(?:\.cn)?)"
)


def region_from_host(host: str) -> str | None:
    """Return the AWS region of an Amazon MQ broker's host name, or None for any other host."""
    match = _BROKER.fullmatch(host.strip().lower().removesuffix("."))
    return match["region"] if match else None


def broker_id_from_host(host: str) -> str | None:
    """Return the id in an Amazon MQ broker's host name, or None for any other host."""
    match = _BROKER.fullmatch(host.strip().lower().removesuffix("."))
    return match["broker"] if match else None
