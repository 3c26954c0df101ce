"""Under gevent and eventlet a source renews in green threads and never stops the others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mqauth_sandbox.oidc import OidcIssuer

PATCH = {
    "gevent": "import gevent.monkey; gevent.monkey.patch_all()",
    # eventlet says of itself that nobody should choose it any more; those who have, are served.
    "eventlet": "import warnings\n"
    "with warnings.catch_warnings(action='ignore'): import eventlet; eventlet.monkey_patch()",
}
RUN = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_green_threads_share_one_source(
    issuer: OidcIssuer, config: dict[str, Any], tmp_path: Path, library: str
) -> None:
    """Fifty green threads cause one fetch, others run meanwhile, and renewal needs no help."""
    issuer.token_lifetime = 40.0
    issuer.faults.mode, issuer.faults.delay = "slow", 3.0
    script = Path(__file__).with_name("green_process.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{PATCH[library]}\n{RUN}", str(script)],
        input=json.dumps({**config, "renew_at": 0.02, "cache": str(tmp_path / "cache")}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert library in result["threads"]
    assert (result["answers"], result["tokens"]) == (50, 1)
    assert result["beats_while_slow"] >= 5, "a fetch stopped every other green thread"
    assert result["told"]
    assert result["refused"] == 1
    assert result["failures"] == 0
    assert result["ended"], "the green renewal thread outlived its source"
    assert issuer.requests <= result["rotations"] + 2
