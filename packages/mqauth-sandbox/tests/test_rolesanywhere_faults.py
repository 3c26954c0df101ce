"""Faults of the Roles Anywhere endpoint on demand, and its quota."""

from __future__ import annotations

import http.client
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from mqauth_sandbox import rolesanywhere
from mqauth_sandbox.faults import FaultMode
from rolesanywhere_calls import Call, refusal


def test_throttles_over_its_rate(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the quota it answers 429 and opens no session."""
    monkeypatch.setattr(rolesanywhere, "_RATE_WINDOW", 60.0)  # however long three calls take
    call.endpoint.rate_limit = 2
    call.endpoint.faults.retry_after = 3
    outcomes = [call.send() for _ in range(3)]
    assert [status for status, _, _ in outcomes] == [201, 201, 429]
    assert outcomes[2][2]["x-amzn-ErrorType"] == "ThrottlingException"
    assert outcomes[2][2]["Retry-After"] == "3"


def test_refuses_with_any_code_on_demand(call: Call) -> None:
    """A test can choose the refusal, and end it."""
    call.endpoint.refuse_with("ResourceNotFoundException", "gone", 404)
    assert refusal(call) == (404, "ResourceNotFoundException", "gone")
    call.endpoint.refusal = None
    assert call.send()[0] == 201


@pytest.mark.parametrize(
    ("mode", "status"),
    [("error500", 500), ("throttle", 429), ("empty_set", 201), ("no_expiration", 201)],
)
def test_faults_that_answer(call: Call, mode: FaultMode, status: int) -> None:
    """Well-formed wrong answers arrive as such and are not counted as sessions."""
    before = call.endpoint.fetches
    with call.endpoint.faults.during(mode):
        found, body, _ = call.send()
    assert found == status
    assert call.endpoint.fetches == before
    assert call.endpoint.calls[-1].outcome == mode
    sets: Any = body.get("credentialSet")
    assert mode != "empty_set" or sets == []
    assert mode != "no_expiration" or "expiration" not in sets[0]["credentials"]


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("half_body", http.client.IncompleteRead),
        ("nothing", http.client.RemoteDisconnected),
        ("not_json", json.JSONDecodeError),
        ("html", json.JSONDecodeError),
        ("down", ConnectionResetError),
    ],
)
def test_faults_that_break_the_answer(call: Call, mode: FaultMode, error: type[Exception]) -> None:
    """Half an answer, no answer and a web page reach the client as just that."""
    with call.endpoint.faults.during(mode), pytest.raises(error):
        call.send()


def test_expired_fault_issues_sessions_of_the_past(call: Call) -> None:
    """The fault `expired` gives credentials that are over already."""
    with call.endpoint.faults.during("expired"):
        (session,) = call.send()[1]["credentialSet"]
    assert datetime.fromisoformat(session["credentials"]["expiration"]) < datetime.now(UTC)
