"""Who may import whom, as written in monorepo.toml and as it happens when the code runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FRAMEWORKS = {"amqp", "billiard", "celery", "django", "eventlet", "gevent", "kombu"}
CLIENTS = {"authlib", "boto3", "botocore", "requests"}


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that are loaded once a fresh interpreter ran `statement`."""
    program = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    return {name.partition(".")[0] for name in json.loads(answer.stdout)}


def test_import_contracts_hold() -> None:
    """Every import in the packages keeps the contracts of monorepo.toml."""
    # A process of its own: import-linter switches all loggers off that are there before it.
    program = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run(
        [program, "--no-cache", "--config", ROOT / "monorepo.toml"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_core_loads_no_framework_and_no_client() -> None:
    """Importing the core loads neither a framework nor any identity system's client."""
    assert not loaded_by("import mqauth") & (FRAMEWORKS | CLIENTS)


def test_integration_loads_no_client() -> None:
    """Importing the Celery integration loads no identity system's client."""
    loaded = loaded_by("import celery_mqauth")
    assert not loaded & CLIENTS
    assert "mqauth_sandbox" not in loaded
