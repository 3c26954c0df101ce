"""Fetches under gevent and eventlet: other green threads go on meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.sts import StsEndpoint
from mqauth_sandbox.tls import CertificateFiles

PATCH = {
    "gevent": "import gevent.monkey; gevent.monkey.patch_all(); from gevent import spawn, sleep",
    "eventlet": "import eventlet; eventlet.monkey_patch(); from eventlet import spawn, sleep",
}

PROGRAM = """
import json, sys
from mqauth.config.resolution import resolve
from mqauth.config.registry import provider_class

name, options = json.load(sys.stdin)
provider = provider_class(name).from_options(resolve(name, explicit=options).options)
provider.fetch(timeout=20)  # loads the libraries
ticks = []

def tick():
    while True:
        sleep(0.02)
        ticks.append(1)

spawn(tick)
credentials = provider.fetch(timeout=20)
print(json.dumps({"ticks": len(ticks), "remaining": credentials.remaining()}))
"""


def run(library: str, name: str, options: dict[str, Any], **environ: str) -> dict[str, float]:
    """Fetch in a process whose standard library the green library has replaced."""
    done = subprocess.run(
        [sys.executable, "-c", PATCH[library] + PROGRAM],
        input=json.dumps([name, options]),
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("library", sorted(PATCH))
def test_oauth2_lets_others_run(
    issuer: OidcIssuer, certificates: CertificateFiles, library: str
) -> None:
    """While a slow issuer thinks, the process does its other work."""
    issuer.faults.mode, issuer.faults.delay = "slow", 2.5
    options = {
        "token_endpoint": issuer.token_endpoint,
        "client_id": issuer.client_id,
        "client_secret": issuer.client_secret,
        "ca_file": str(certificates.ca_file),
    }
    answer = run(library, "oauth2", options)
    assert answer["ticks"] >= 10
    assert answer["remaining"] > 0


@pytest.mark.parametrize("library", sorted(PATCH))
def test_aws_iam_lets_others_run(
    sts: StsEndpoint, certificates: CertificateFiles, library: str
) -> None:
    """While a slow STS thinks, the process does its other work."""
    sts.faults.mode, sts.faults.delay = "slow", 2.5
    options = {
        "endpoint_url": sts.url,
        "region": sts.region,
        "ca_file": str(certificates.ca_file),
    }
    answer = run(
        library,
        "aws-iam",
        options,
        AWS_ACCESS_KEY_ID=sts.access_key_id,
        AWS_SECRET_ACCESS_KEY=sts.secret_access_key,
        AWS_EC2_METADATA_DISABLED="true",
    )
    assert answer["ticks"] >= 10
    assert answer["remaining"] > 0
