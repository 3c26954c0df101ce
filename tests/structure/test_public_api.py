"""The public API is what the type-checked file pins: no more, no less."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

each_package = pytest.mark.parametrize(
    "package", ["mqauth", "celery_mqauth", "django_mqauth", "mqauth_sandbox"]
)

PINNED = Path(__file__).resolve().parents[1] / "typing" / "public_api.py"


def pinned_names() -> dict[str, set[str]]:
    """Return the names that the type-checked file imports from each package."""
    imports = [
        node for node in ast.parse(PINNED.read_text()).body if isinstance(node, ast.ImportFrom)
    ]
    return {str(node.module): {alias.name for alias in node.names} for node in imports}


@each_package
def test_exports_are_pinned(package: str) -> None:
    """Each exported name is pinned, and each pinned name is exported."""
    module = importlib.import_module(package)
    assert set(module.__all__) == pinned_names()[package]


@each_package
def test_exports_exist(package: str) -> None:
    """Each exported name is there."""
    module = importlib.import_module(package)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
