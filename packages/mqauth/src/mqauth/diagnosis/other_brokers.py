"""Brokers that do not speak AMQP: who knows their end of the chain, found by entry point.

What looks at a kind of broker is a class of `OtherBroker`'s shape, under the kind's name in the
group `mqauth.brokers`. Loading it must not need the broker's client library: `libraries` looks
whether that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Protocol

from mqauth.credentials import BrokerCredentials
from mqauth.diagnosis.target import Target, TopicUse
from mqauth.errors import ConfigurationError
from mqauth.links import Link
from mqauth.provider import Provider

GROUP = "mqauth.brokers"

_BY = {"kafka": "celery-mqauth[kafka]"}


class OtherBroker(Protocol):
    """What leads from a credential to what may be done on a broker.

    It is made of a `Target`, the topics that are to be used there, and whether a credential may
    travel in clear; it raises a `ConfigurationError` if what the user wrote cannot work.
    """

    def libraries(self) -> str:
        """Return which client library there is.

        Raises:
            ConfigurationError: It is missing or too old; names the command that installs it.
        """
        ...

    def check_token(self, credentials: BrokerCredentials) -> None:
        """Check that the broker can be signed in to by such a credential.

        Raises:
            ConfigurationError: It is of another kind.
        """
        ...

    def links(self, credentials: BrokerCredentials, provider: Provider) -> Sequence[Link]:
        """Return the links from the credential on, each of which stands on those before it."""
        ...

    def close(self) -> None:
        """Leave."""
        ...


def other_broker(
    target: Target, topics: Sequence[TopicUse], *, insecure: bool
) -> OtherBroker | None:
    """Return what looks at a broker that is no RabbitMQ; None where nobody does.

    Args:
        target: The broker.
        topics: What is to be used there.
        insecure: Whether a credential may travel in clear.

    Raises:
        ConfigurationError: What the user wrote cannot work.
    """
    for point in entry_points(group=GROUP, name=target.kind):
        make: Callable[..., OtherBroker] = point.load()
        return make(target, topics, insecure=insecure)
    return None


def nobody_looks_at(kind: str) -> ConfigurationError:
    """Return the error for a kind of broker that nothing installed knows."""
    return ConfigurationError(
        f"nothing that is installed knows brokers of {kind.capitalize()}",
        remedy=f'pip install "{_BY.get(kind, kind)}"',
    )
