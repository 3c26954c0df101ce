"""A process with open connections forks: each goes on with connections of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mqauth_sandbox import OidcIssuer, Sandbox

SCENARIO = Path(__file__).with_name("fork_scenario.py")


@pytest.mark.parametrize(("tls", "way"), [(False, "os"), (True, "billiard")])
def test_a_child_leaves_its_parents_connections_alone(
    *,
    sandbox: Sandbox,
    issuer: OidcIssuer,
    auth: dict[str, Any],
    queue: str,
    depth: Callable[[str], int],
    eventually: Callable[..., None],
    tls: bool,
    way: str,
) -> None:
    """The child writes nothing to inherited sockets, connects by itself, and both are renewed."""
    issuer.token_lifetime = 12
    settings = {f"MQAUTH_OAUTH2_{name.upper()}": value for name, value in auth.items()}
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", str(SCENARIO)),
            sandbox.broker_tls_url if tls else sandbox.broker_url,
            *(str(sandbox.ca_file), queue, way),
        ],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "child_listeners_at_start": 0,
        "child_on_parents_connection": "the connection belongs to the process that this one was "
        "forked from",
        "child_has_its_own": True,
        "child_renewed": True,
        "parent_keeps_its_connections": True,
        "parent_pooled_works": True,
        "parent_renewed": True,
    }
    eventually(lambda: depth(queue) == 4, "all messages of both")
