"""Programs that stand in for AWS's own helper, and the options that lead to them."""

from __future__ import annotations

from pathlib import Path

from credproc.options import SessionOptions

BASE = SessionOptions(
    role_arn="arn:aws:iam::123456789012:role/r",
    profile_arn="arn:aws:rolesanywhere:eu-west-1:123456789012:profile/p",
    trust_anchor_arn="arn:aws:rolesanywhere:eu-west-1:123456789012:trust-anchor/t",
)
GOOD = {
    "Version": 1,
    "AccessKeyId": "ASIA1",
    "SecretAccessKey": "secret",
    "SessionToken": "token",
    "Expiration": "2999-01-01T00:00:00Z",
}


def fake(tmp_path: Path, text: str, version: str = "9.9.9") -> str:
    """Return a program that says its version and else does what `text` says."""
    path = tmp_path / "aws_signing_helper"
    path.write_text(f'#!/bin/sh\n[ "$1" = version ] && {{ echo {version}; exit; }}\n{text}\n')
    path.chmod(0o755)
    return str(path)


def with_fake(tmp_path: Path, text: str) -> SessionOptions:
    """Return options that lead to a fake helper."""
    return BASE._replace(helper=fake(tmp_path, text), backend="helper")
