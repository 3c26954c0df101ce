"""The README's examples, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


def test_the_script_runs(tmp_path: Path) -> None:
    """The example of the context manager runs to its end and shows the broker's URL."""
    script = tmp_path / "script.py"
    script.write_text(next(block for block in BLOCKS if "with Sandbox(" in block))
    ended = subprocess.run(
        [sys.executable, "-W", "error", script],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("mqauth://oauth2@localhost:")


def test_the_fixtures_work_in_a_project_of_its_own(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The example with fixtures passes where nothing but the installed plugin provides them."""
    (tmp_path / "test_example.py").write_text(
        next(block for block in BLOCKS if "def test_" in block)
    )
    which = str(request.config.getoption("--mqauth-broker"))
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", tmp_path],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"MQAUTH_SANDBOX_BROKER": which},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 passed" in ended.stdout
