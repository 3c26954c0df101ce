"""Which confluent-kafka the transports work with."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from mqauth.errors import ConfigurationError

CLIENT = "confluent-kafka"
OLDEST_CLIENT = (2, 13, 0)
"""Before, librdkafka called `oauth_cb` only while a client was polled: the first request was never
signed in, and idle clients ran out of tokens (2.12.2 and older were tried)."""

_INSTALL = 'pip install "celery-mqauth[kafka]"'


def check_client() -> None:
    """Check that a confluent-kafka is installed that renews tokens by itself.

    Raises:
        ConfigurationError: It is missing or too old; names the command that installs it.
    """
    oldest = ".".join(map(str, OLDEST_CLIENT))
    try:
        installed = version(CLIENT)
    except PackageNotFoundError:
        raise ConfigurationError(
            f"{CLIENT} is not installed, which Kafka needs", remedy=_INSTALL
        ) from None
    numbers = [int(part) for part in installed.split(".")[:3] if part.isdigit()]
    if tuple(numbers) < OLDEST_CLIENT:
        raise ConfigurationError(
            f"{CLIENT} {installed} does not renew tokens on idle clients",
            remedy=f"{_INSTALL} brings {oldest} or newer",
        )
