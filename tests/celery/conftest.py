"""Fixtures for tests with real workers on a real broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mqauth_sandbox import Sandbox
from mqauth_sandbox.oidc import OidcIssuer
from tests.celery.world import World


@pytest.fixture
def world(mqauth_sandbox: Sandbox, mqauth_issuer: OidcIssuer, tmp_path: Path) -> Iterator[World]:
    """A virtual host, a cache and processes of the test's own on the session's broker."""
    world = World(mqauth_sandbox, tmp_path)
    yield world
    world.close()


@pytest.fixture(scope="session")
def oldest_sandbox() -> Iterator[Sandbox]:
    """A sandbox with the oldest RabbitMQ that we support, started when first asked for."""
    with Sandbox(broker="3") as sandbox:
        yield sandbox


@pytest.fixture
def world_on(
    request: pytest.FixtureRequest, mqauth_issuer: OidcIssuer, tmp_path: Path
) -> Iterator[Callable[[str], World]]:
    """Make a world on the session's broker (`"default"`) or on the oldest (`"3"`)."""
    worlds = []

    def make(which: str) -> World:
        fixture = "oldest_sandbox" if which == "3" else "mqauth_sandbox"
        world = World(request.getfixturevalue(fixture), tmp_path)
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        world.close()
