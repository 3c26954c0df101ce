"""Where Kafka cannot be had, its tests are skipped with the reason, and none fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = (
    "packages/celery-mqauth/tests/test_kafka.py",
    "packages/celery-mqauth/tests/test_kafka_permissions.py",
    "packages/django-mqauth/tests/test_kafka.py",
    "packages/mqauth-sandbox/tests/test_kafka.py",
    "tests/celery/test_msk.py",
    "tests/workloads/test_kafka_soak.py",
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("missing", ["Java", "jars"])
def test_tests_that_need_kafka_are_skipped(missing: str, tmp_path: Path) -> None:
    """Without Java, or without the jars, pytest ends well and says what to do."""
    environment = {**os.environ, "MQAUTH_SANDBOX_CACHE": str(tmp_path)}
    words = "Apache Kafka is not installed"
    if missing == "Java":
        environment |= {"PATH": str(tmp_path), "JAVA_HOME": ""}
        words = "Java is not installed, which Kafka needs"
    else:
        java = tmp_path / "bin" / "java"
        java.parent.mkdir()
        java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\n")
        java.chmod(0o755)
        environment["JAVA_HOME"] = str(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *TESTS],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
    for path in TESTS:
        assert re.search(rf"SKIPPED.* {path}:.*{words}.*prepare kafka", ran.stdout), ran.stdout
    assert not re.search(r"\d+ (failed|error)", ran.stdout)
