"""What the host name of an Amazon MSK broker tells."""

from __future__ import annotations

import re

# Provisioned, `b-1.name.abc123.c2.kafka.REGION.amazonaws.com` (`b-1-public` from outside), and
# serverless, `boot-abc.c2.kafka-serverless.REGION.amazonaws.com`; see "Get the bootstrap brokers"
# in the Amazon MSK developer guide.
_BROKER = re.compile(
    r"(?:[a-z0-9-]+\.)+kafka(?:-serverless)?\.(?P<region>[a-z]{2,4}(?:-[a-z]+)+-\d{1,2})"
    r"\.amazonaws\.com(?:\.cn)?"
)


def region_from_host(host: str) -> str | None:
    """Return the AWS region of an Amazon MSK broker's host name, or None for any other host.

    Args:
        host: The name; of several with commas between them, the first that tells it counts.
    """
    for name in host.lower().split(","):
        match = _BROKER.fullmatch(name.strip().removesuffix("."))
        if match:
            return match["region"]
    return None
