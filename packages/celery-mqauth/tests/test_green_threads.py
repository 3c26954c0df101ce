"""Under gevent and eventlet a connection is renewed among green threads as among others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mqauth_sandbox import OidcIssuer, Sandbox

SCENARIO = Path(__file__).with_name("green_scenario.py")


@pytest.mark.parametrize("sandbox", ["4"], indirect=True)
@pytest.mark.parametrize(("library", "tls"), [("gevent", True), ("eventlet", False)])
def test_green_threads_share_renewed_connections(
    *,
    sandbox: Sandbox,
    issuer: OidcIssuer,
    auth: dict[str, Any],
    queue: str,
    library: str,
    tls: bool,
) -> None:
    """Publishers with confirms and a consumer lose nothing over five renewals."""
    issuer.token_lifetime = 10  # on a machine that may stand still for seconds
    settings = {f"MQAUTH_OAUTH2_{name.upper()}": value for name, value in auth.items()}
    url = sandbox.broker_tls_url if tls else sandbox.broker_url
    done = subprocess.run(
        [sys.executable, str(SCENARIO), library, url, str(sandbox.ca_file), queue],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "errors": [],
        "rotated": True,
        "outlived_the_first": True,
        "connected": [True] * 6,
        "lost": 0,
        "worked": True,
        "green": True,
    }
