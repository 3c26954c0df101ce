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
    answer: dict[str, float] = finished(library, PROGRAM, [name, options], **environ)
    return answer


def finished(library: str, program: str, told: Any, **environ: str) -> Any:
    """Run a program there that reads JSON, and return what it prints as such."""
    done = subprocess.run(
        [sys.executable, "-c", f"{PATCH[library]}\n{program}"],
        input=json.dumps(told),
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


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


COMMAND = """
import json, sys
from mqauth import CredentialSource, forks

forks.LONGEST_DELAY = 1000.0
source = CredentialSource.from_config({**json.load(sys.stdin), "cache": False})
for _ in range(3):
    source.invalidate(source.get())
print(json.dumps({"fetches": source.status().fetches}))
"""


@pytest.mark.parametrize("library", sorted(PATCH))
def test_a_program_starts_in_the_midst_of_a_fetch(library: str) -> None:
    """Green libraries start it by a fork, which does not wait for the very fetch that starts it."""
    program = "import json, uuid; print(json.dumps(dict(password=str(uuid.uuid4()))))"
    options = {"provider": "command", "command": [sys.executable, "-c", program]}
    answer = finished(library, COMMAND, options)
    assert answer == {"fetches": 3}


NATIVE = """
import json, sys, threading
from mqauth import threads

assert run_natively(lambda: threads.begin(lambda: 7, "native").result(20)) == 7
print(json.dumps({"made": threads.begin(lambda: 8, "green").result(20)}))
"""
RUN_NATIVELY = {
    "gevent": "import gevent; run_natively = gevent.get_hub().threadpool.apply\n",
    "eventlet": "import eventlet.tpool; run_natively = eventlet.tpool.execute\n",
}


@pytest.mark.parametrize("library", sorted(PATCH))
def test_green_threads_serve_no_thread_but_their_own(library: str) -> None:
    """One that a real thread has started runs only while that one does."""
    assert finished(library, RUN_NATIVELY[library] + NATIVE, {}) == {"made": 8}
