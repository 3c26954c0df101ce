"""One source per identity and process, whoever names it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mqauth import ConfigurationError, CredentialSource
from mqauth.shared import forget_shared_sources, shared_source, shared_sources
from mqauth_sandbox.oidc import OidcIssuer


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    """Begin and end without shared sources."""
    forget_shared_sources()
    yield
    forget_shared_sources()


@pytest.fixture
def options(config: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the provider `oauth2` for the issuer."""
    return {key: value for key, value in config.items() if key != "provider"}


def test_equal_configurations_mean_one_source(issuer: OidcIssuer, options: dict[str, Any]) -> None:
    """However many connections name an identity, and on however many threads, it is one source."""
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(shared_source, "oauth2", explicit=dict(options)) for _ in range(64)]
        found = {id(future.result().source) for future in asked}
    assert len(found) == 1
    (source,) = shared_sources()
    assert id(source) in found
    source.get()
    assert shared_source("oauth2", explicit=options).source.current is source.current
    assert issuer.fetches == 1


@pytest.mark.parametrize(
    "change",
    [{"client_secret": "another"}, {"scope": "rabbitmq.read:*/*"}, {"renew_at": 0.4}],
)
def test_different_configurations_mean_different_sources(
    options: dict[str, Any], change: dict[str, Any]
) -> None:
    """Whatever differs, be it only the secret or a setting, keeps sources apart."""
    one = shared_source("oauth2", explicit=options).source
    other = shared_source("oauth2", explicit={**options, **change}).source
    assert one is not other
    assert len(shared_sources()) == 2


def test_the_way_of_writing_a_configuration_does_not_matter(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options from the environment and options passed in mean the same source."""
    given = shared_source("oauth2", explicit=options).source
    for key in ("client_id", "client_secret", "token_endpoint", "ca_file"):
        monkeypatch.setenv(f"MQAUTH_OAUTH2_{key.upper()}", options[key])
    monkeypatch.setenv("MQAUTH_CACHE", "off")
    assert shared_source("oauth2").source is given


def test_insecure_belongs_to_the_way_not_to_the_identity(options: dict[str, Any]) -> None:
    """Whether a credential may travel in clear is told beside the source."""
    assert shared_source("oauth2", explicit=options).insecure is False
    assert shared_source("oauth2", explicit={**options, "insecure": True}).insecure is True


def test_a_configuration_that_cannot_work_leaves_nothing_behind(options: dict[str, Any]) -> None:
    """A failed attempt neither registers a source nor blocks the next one."""
    with pytest.raises(ConfigurationError):
        shared_source("oauth2", explicit={**options, "auth_method": "by_pigeon"})
    assert shared_sources() == []
    assert isinstance(shared_source("oauth2", explicit=options).source, CredentialSource)


def test_forgotten_sources_are_closed_and_made_anew(options: dict[str, Any]) -> None:
    """After a change of settings the old source's thread ends and a new source takes over."""
    old = shared_source("oauth2", explicit=options).source
    old.get()
    thread = old._thread
    assert thread is not None
    forget_shared_sources()
    thread.join(30)
    assert not thread.is_alive()
    assert shared_sources() == []
    assert shared_source("oauth2", explicit=options).source is not old


def test_nothing_secret_shows_in_the_registry(options: dict[str, Any], tmp_path: Path) -> None:
    """Secrets take part in comparing configurations, but not in any text."""
    canary = "canary-of-the-registry"
    secret_file = tmp_path / "secret"
    secret_file.write_text(canary)
    by_file = {**options, "client_secret": None, "client_secret_file": str(secret_file)}
    found = [
        shared_source("oauth2", explicit=options | {"client_secret": canary}),
        shared_source("oauth2", explicit=by_file),
    ]
    from mqauth.shared import _registry  # noqa: PLC0415 - the one look behind the curtain

    for text in (repr(found), repr(_registry.sources), str(vars(_registry))):
        assert canary not in text
