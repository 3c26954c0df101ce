"""Fixtures for tests with the whole example project on a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mqauth_sandbox import Sandbox
from mqauth_sandbox.oidc import OidcIssuer
from tests.django.site import Site


@pytest.fixture
def site(mqauth_sandbox: Sandbox, mqauth_issuer: OidcIssuer, tmp_path: Path) -> Iterator[Site]:
    """The project on the session's broker; nothing of it runs before a test says so."""
    site = Site(mqauth_sandbox, tmp_path)
    yield site
    site.close()
