"""The system check that signs in: only when it is asked for, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from check_settings import check
from mqauth.shared import forget_shared_sources
from mqauth_sandbox import Sandbox


def test_live_check_runs_by_tag_only(site: Sandbox) -> None:
    """Nobody is asked for a credential unless the tag is named."""
    before = site.issuer.fetches
    check()
    assert site.issuer.fetches == before
    assert check(tags=["mqauth_live"]) == "System check identified no issues (0 silenced).\n"
    assert site.issuer.fetches == before + 1


def test_live_check_takes_what_the_host_has(
    site: Sandbox,
    use: Callable[..., None],
    alias: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """As the README says, a wrong secret shows only without the credential that the host holds."""
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(site.issuer.client_secret)
    use(MQAUTH={"default": alias(client_secret_file=str(secret))})
    monkeypatch.setenv("MQAUTH_CACHE", str(tmp_path / "cache"))
    check(tags=["mqauth_live"])
    secret.write_text("wrong")
    forget_shared_sources()
    assert "mqauth.E026" not in check(tags=["mqauth_live"])
    monkeypatch.setenv("MQAUTH_CACHE", "off")
    forget_shared_sources()
    assert "mqauth.E026" in check(tags=["mqauth_live"])


def test_live_check_tells_of_the_issuer(site: Sandbox) -> None:
    """An issuer that is down is an error of the live check, with its remedy."""
    with site.issuer.faults.during("error500"):
        said = check(tags=["mqauth_live"])
    assert "mqauth.E026" in said
    assert "mqauth_doctor" in said


def test_live_check_tells_what_it_did_not_try(
    site: Sandbox, use: Callable[..., None], alias: Callable[..., dict[str, Any]]
) -> None:
    """An alias that cannot work was not tried, which is no success; the others are."""
    use(MQAUTH={"default": alias(), "other": {**alias(), "BROKER": "rabbit.example.com"}})
    said = check(tags=["mqauth_live"])
    assert "(mqauth.E026) MQAUTH['other'] was not tried" in said
    assert "begin it with amqps://" in said.lower()
    assert said.count("(mqauth.") == 1
    use(MQAUTH=[alias()])
    assert "(mqauth.E026) MQAUTH was not tried" in check(tags=["mqauth_live"])


def test_live_check_tells_of_the_broker(
    site: Sandbox, use: Callable[..., None], alias: Callable[..., dict[str, Any]]
) -> None:
    """A broker that is not there is an error of the live check."""
    use(MQAUTH={"default": alias(port=1)})
    assert "mqauth.E027" in check(tags=["mqauth_live"])
