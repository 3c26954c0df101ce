"""One fetch for the host: what one process has fetched or refused serves the others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from mqauth import BrokerCredentials, CredentialSource, IssuerUnavailableError
from mqauth.rotation.cache import HostCache
from mqauth_sandbox.oidc import OidcIssuer
from packages.mqauth.tests.rotation.waiting import PATIENCE, WideMargin

if TYPE_CHECKING:
    from packages.mqauth.tests.rotation.conftest import Process, ScriptedProvider


def test_twenty_processes_fetch_once_per_rotation(
    issuer: OidcIssuer, start_process: Callable[..., Process]
) -> None:
    """Twenty processes that start together and live over rotations cost one fetch for each."""
    issuer.token_lifetime = 40.0
    processes = [start_process() for _ in range(20)]
    for process in processes:
        process.ask("status")
    for process in processes:
        process.tell("get")
    first = [process.answer()["token"] for process in processes]
    assert len(set(first)) == issuer.requests == 1
    for process in processes:
        process.tell("wait", rotations=2)
    states = [process.answer() for process in processes]
    assert min(state["rotations"] for state in states) >= 2
    assert [state["failures"] for state in states] == [0] * 20
    times = [request.at for request in issuer.token_requests]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    # Renewal is due after a fifth of the life, counted from before the request was sent. A second
    # fetch for the same rotation would follow at once.
    assert min(gaps) > 0.1 * issuer.token_lifetime, gaps
    assert issuer.requests == issuer.fetches


def test_without_the_cache_every_process_fetches(
    issuer: OidcIssuer, start_process: Callable[..., Process], directory: Path
) -> None:
    """Switched off, in the configuration or the environment, nothing is shared or written."""
    processes = [
        start_process(cache=False),
        start_process(cache="off"),
        start_process({"MQAUTH_CACHE": "off"}, cache=None),
    ]
    tokens = {process.ask("get")["token"] for process in processes}
    assert len(tokens) == issuer.fetches == 3
    assert not directory.exists()


def test_identities_do_not_share(
    issuer: OidcIssuer, make_source: Callable[..., CredentialSource], directory: Path
) -> None:
    """Another scope is another credential; another spelling of the secret's place is not."""
    scope = issuer.scopes[0]
    all_scopes = make_source(cache=str(directory)).get()
    one_scope = make_source(cache=str(directory), scope=scope).get()
    assert one_scope.password != all_scopes.password
    secret_file = directory / "client-secret"
    secret_file.write_text(issuer.client_secret)
    by_file = make_source(
        cache=str(directory), client_secret=None, client_secret_file=str(secret_file)
    )
    assert by_file.get() == all_scopes
    assert issuer.fetches == 2


def test_a_process_that_starts_during_an_outage_uses_the_hosts_credential(
    issuer: OidcIssuer, start_process: Callable[..., Process]
) -> None:
    """What another process fetched before the issuer began to hang is at hand at once."""
    present = start_process().ask("get")["token"]
    issuer.faults.mode = "hang"
    assert start_process().ask("get")["token"] == present
    assert issuer.requests == 1


def test_a_due_credential_of_the_host_is_used_while_its_renewal_hangs(
    scripted: type[ScriptedProvider],
    source_of: Callable[..., CredentialSource],
    host_cache: HostCache,
) -> None:
    """Who has nothing takes what the host has, and renews it in the background."""
    due = scripted.credentials(lifetime=100.0, age=60.0)
    host_cache.store(due)
    asked, answer = threading.Event(), threading.Event()

    def hang(timeout: float) -> BrokerCredentials:
        asked.set()
        answer.wait(PATIENCE)
        return scripted.credentials()

    source = source_of(scripted(hang), cache=host_cache)
    assert source.get() == due
    assert asked.wait(PATIENCE)
    assert source.get() == due
    answer.set()


def test_the_hosts_credential_serves_to_its_last_moment(
    scripted: type[ScriptedProvider],
    source_of: Callable[..., CredentialSource],
    host_cache: HostCache,
) -> None:
    """Too close to its end to sign in with by choice, it still is better than nothing."""
    nearly_over = scripted.credentials(lifetime=100.0, age=80.0)
    host_cache.store(nearly_over)
    provider = scripted(IssuerUnavailableError("the issuer is down"))
    source = source_of(provider, policy=WideMargin(), cache=host_cache)
    source.close()  # no thread tries again before this test has counted
    assert source.get() == nearly_over
    assert provider.fetches == source.status().failures == 1


def test_a_rejection_reaches_other_processes_and_spares_newer_credentials(
    issuer: OidcIssuer, start_process: Callable[..., Process]
) -> None:
    """One process replaces what the broker refused; the others take its replacement."""
    first, second, third = start_process(), start_process(), start_process()
    old = first.ask("get")["token"]
    assert second.ask("get")["token"] == old
    first.ask("invalidate")
    new = first.ask("get")["token"]
    assert new != old
    second.ask("invalidate")
    assert second.ask("get")["token"] == new
    assert third.ask("get")["token"] == new
    assert issuer.fetches == 2


def test_a_rejected_credential_is_not_taken_back_from_the_cache(
    issuer: OidcIssuer, shared: CredentialSource, directory: Path
) -> None:
    """Should the rejected one stand in the cache again, this process still knows better."""
    rejected = shared.get()
    shared.invalidate(rejected)
    assert not list(directory.glob("*.json"))
    assert shared._cache is not None
    shared._cache.store(rejected)
    assert shared.get().password != rejected.password
    assert issuer.fetches == 2
