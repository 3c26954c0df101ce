"""What the tests of aws-iam share: providers that ask an STS endpoint which verifies signatures."""

from __future__ import annotations

import pytest

from mqauth_sandbox.sts import StsEndpoint
from mqauth_sandbox.tls import CertificateFiles
from packages.mqauth.tests.aws_iam.building import Build, build


@pytest.fixture
def caller(
    sts: StsEndpoint, certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> Build:
    """Build providers in an environment that holds the user's long-term key."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", sts.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", sts.secret_access_key)
    known = {"region": sts.region, "endpoint_url": sts.url, "ca_file": certificates.ca_file}
    return lambda **options: build(**{**known, **options})
