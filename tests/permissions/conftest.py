"""Brokers that permissions are tried on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mqauth_sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox_3() -> Iterator[Sandbox]:
    """A sandbox on RabbitMQ 3.10."""
    with Sandbox(broker="3", token_lifetime=900.0) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def sandbox_4() -> Iterator[Sandbox]:
    """A sandbox on RabbitMQ 4.3."""
    with Sandbox(broker="4", token_lifetime=900.0) as sandbox:
        yield sandbox


@pytest.fixture(params=["3", "4"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    """A sandbox on each of the brokers."""
    found: Sandbox = request.getfixturevalue(f"sandbox_{request.param}")
    return found
