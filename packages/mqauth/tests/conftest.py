"""Fixtures that the core's tests share: local issuers, as the sandbox offers them."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.sts import StsEndpoint
from mqauth_sandbox.tls import CertificateFiles, create_certificates

RENEWAL_ENDS_WITHIN = 60.0
"""Seconds: a thread that was told to end may be fetching from an issuer that hangs."""


def _renewals() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("mqauth-renewal")}


@pytest.fixture(scope="module", autouse=True)
def _no_renewal_outlives_a_module() -> Iterator[None]:
    """A source that a test leaves open renews on, asks issuers that are gone, and logs that."""
    before = _renewals()
    yield
    end = time.monotonic() + RENEWAL_ENDS_WITHIN
    while (left := _renewals() - before) and time.monotonic() < end:
        gc.collect()  # a source that nobody refers to ends its thread
        next(iter(left)).join(1.0)
    names = sorted(thread.name for thread in left)
    assert not names, f"sources of this module's tests were not closed: {', '.join(names)}"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """A throwaway authority and its certificate for localhost."""
    return create_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def issuer(certificates: CertificateFiles) -> Iterator[OidcIssuer]:
    """An OpenID Connect issuer that listens."""
    with OidcIssuer(
        certificate=certificates.certificate_file, private_key=certificates.key_file
    ) as running:
        yield running


@pytest.fixture
def sts(certificates: CertificateFiles) -> Iterator[StsEndpoint]:
    """An STS endpoint that listens."""
    with StsEndpoint(
        certificate=certificates.certificate_file, private_key=certificates.key_file
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing in the developer's environment or home directory may decide a test."""
    for name in list(os.environ):
        if name.startswith(("MQAUTH_", "AWS_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
