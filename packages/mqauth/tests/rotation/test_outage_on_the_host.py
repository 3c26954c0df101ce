"""Processes of one host that renewed at different moments before their issuer went out of order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mqauth import CredentialSource
from mqauth.errors import IssuerUnavailableError
from mqauth.rotation.cache import HostCache, private_directory

if TYPE_CHECKING:
    from packages.mqauth.tests.rotation.conftest import Listener, ScriptedProvider


def test_a_due_credential_of_the_host_replaces_one_that_ends_sooner(
    scripted: type[ScriptedProvider],
    source_of: Callable[..., CredentialSource],
    new_listener: type[Listener],
    tmp_path: Path,
) -> None:
    """In an outage, connections get the host's longest lasting credential, due or not."""
    cache = HostCache(private_directory(tmp_path / "cache"), "0123456789abcdef")
    ours = scripted.credentials(lifetime=100.0, age=70.0)
    longer = scripted.credentials(lifetime=100.0, age=50.0)
    source = source_of(scripted(ours, IssuerUnavailableError("the issuer is down")), cache=cache)
    listener = new_listener()
    assert source.get() == ours
    source.attach(listener)
    cache.store(longer)
    assert listener.wait_for() == [longer]
    assert not ours.expired()
    assert source.get() == longer
