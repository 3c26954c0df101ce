"""Many processes at once: one session for all, and nobody hangs on a holder that died."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from credproc.cache import SessionCache
from credproc.credentials import SessionCredentials
from credproc.errors import (
    AnswerError,
    CredprocError,
    HelperError,
    IdentityError,
    RefusedError,
    UnavailableError,
)
from credproc.single_flight import SingleFlight
from mqauth_sandbox.pki import Container, Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from tests.credproc.programs import Program, at_a_prompt
from workloads.bench_credproc_flight import kill_the_holder, start_together

MANY = 64
CALL_TAKES = 1.0


@pytest.fixture
def arguments(
    mqauth_pki: Pki, mqauth_rolesanywhere: RolesAnywhereEndpoint, tmp_path: Path
) -> list[str]:
    """A good command line."""
    files = mqauth_pki.issue("ec-p256").write(tmp_path)
    return ["credential-process", *mqauth_rolesanywhere.arguments(), *files.arguments()]


def test_64_waiters_open_one_session(
    credproc: Program, arguments: list[str], mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """64 at the very same moment make one call, and all of them have its answer."""
    before = mqauth_rolesanywhere.requests
    with mqauth_rolesanywhere.faults.during("slow", delay=CALL_TAKES):
        starts = start_together(sys.executable, credproc.environment, arguments, MANY)
    assert len(starts) == MANY
    assert {start.code for start in starts} == {0}
    assert len({start.key_id for start in starts}) == 1
    assert mqauth_rolesanywhere.requests == before + 1


def test_64_real_starts_open_one_session(
    credproc: Program, arguments: list[str], mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """The same with 64 commands started one after the other as fast as it goes."""
    before = mqauth_rolesanywhere.requests
    with mqauth_rolesanywhere.faults.during("slow", delay=CALL_TAKES):
        processes = [credproc.start(*arguments) for _ in range(MANY)]
        outputs = [process.communicate(timeout=60) for process in processes]
    assert {process.returncode for process in processes} == {0}, outputs
    assert len({output for output, _ in outputs}) == 1
    assert mqauth_rolesanywhere.requests == before + 1


def test_a_killed_holder_is_replaced(
    credproc: Program, arguments: list[str], mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """When the one who fetches is killed with SIGKILL, one of those who wait takes over."""
    before = mqauth_rolesanywhere.requests
    takeover = kill_the_holder(
        credproc.executable, credproc.environment, arguments, mqauth_rolesanywhere, waiting=4
    )
    assert set(takeover.codes) == {0}, takeover.said
    assert len(set(takeover.outputs)) == 1
    assert mqauth_rolesanywhere.requests == before + 2
    assert takeover.holder == -signal.SIGKILL


@pytest.mark.parametrize("kind", ["encrypted-pkcs8", "pkcs12"])
def test_a_prompt_keeps_nobody_waiting(
    credproc: Program,
    mqauth_pki: Pki,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    tmp_path: Path,
    kind: Container,
) -> None:
    """While one is asked for the password, another that has it opens the session for both.

    One that has a wrong password fails alone.
    """
    endpoint = mqauth_rolesanywhere
    files = mqauth_pki.issue("ec-p256").write(tmp_path, container=kind, password="geheim")
    arguments = ["credential-process", *endpoint.arguments(), *files.arguments()]
    before = endpoint.requests
    with at_a_prompt(credproc, arguments) as (asked, terminal):
        wrong = credproc(*arguments, env={"CREDPROC_PKCS8_PASSWORD": "wrong"}, limit=20)
        right = credproc(*arguments, env={"CREDPROC_PKCS8_PASSWORD": "geheim"}, limit=20)
        assert asked.poll() is None
        os.write(terminal, b"geheim\n")
        printed, said = asked.communicate(timeout=20)
    assert (wrong.code, wrong.stdout) == (3, "")
    assert right.credentials["Version"] == 1
    assert (printed, said) == (right.stdout, "")
    assert endpoint.requests == before + 1


def test_a_password_that_is_wrong_is_not_everybodys(tmp_path: Path) -> None:
    """What is wrong with one's own key is told to nobody else; what the service says is."""
    directory = tmp_path / "cache"
    directory.mkdir(mode=0o700)
    cache = SessionCache(str(directory))
    for error, shared in (
        (IdentityError("the password is wrong"), False),
        (HelperError("no helper"), False),
        (RefusedError("no"), True),
        (UnavailableError("not now"), True),
        (AnswerError("nonsense"), True),
    ):

        def fetch(error: CredprocError = error) -> SessionCredentials:
            raise error

        with pytest.raises(type(error)):
            SingleFlight(cache, str(error), fetch, 5.0).obtain()
        assert (cache.load_failure(str(error)) is not None) == shared


def test_waiters_learn_of_a_failure(
    credproc: Program, arguments: list[str], mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """A refusal is told to all who waited for it, with one call to the service for all."""
    endpoint = mqauth_rolesanywhere
    before = endpoint.requests
    with endpoint.faults.during("slow", delay=CALL_TAKES):
        endpoint.refuse_with("AccessDeniedException", "Untrusted signing certificate")
        processes = [credproc.start(*arguments) for _ in range(8)]
        outputs = [process.communicate(timeout=30) for process in processes]
    assert {process.returncode for process in processes} == {4}, outputs
    assert all("Untrusted signing certificate" in said for _, said in outputs)
    assert endpoint.requests - before < len(processes)
