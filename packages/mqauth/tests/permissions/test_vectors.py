"""The facts of the plugin's own test suites."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mqauth.permissions.checks import Check
from mqauth.permissions.expansion import expand
from mqauth.permissions.resource_server import Refused, ResourceServer
from mqauth.permissions.scope_grant import ScopeGrant
from mqauth.permissions.token_scopes import read_token, username_of, values_at
from mqauth.permissions.wildcards import matches, pattern_parts

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent / "scopes.json").read_text()
)
NOW = 1_700_000_000.0
CLAIMS = {"aud": ["rabbitmq"], "exp": NOW + 600}


def cases(section: str) -> pytest.MarkDecorator:
    """Parametrize a test with a section of the vectors."""
    assert VECTORS[section]
    return pytest.mark.parametrize("case", VECTORS[section])


def asked(kind: Any, case: dict[str, Any]) -> Check:
    """Return the check of a case."""
    return Check(
        kind=kind,
        vhost=case["vhost"],
        name=case.get("name", case.get("exchange", "")),
        action=case.get("action"),
        routing_key=case.get("routing_key", ""),
    )


@cases("wildcard")
def test_wildcards(case: dict[str, Any]) -> None:
    """A pattern matches what it matches in the broker."""
    subject = case["subject"].encode()
    assert matches(subject, pattern_parts(case["pattern"])) is case["match"]


@pytest.mark.parametrize("kind", ["vhost", "resource", "topic"])
def test_scopes(kind: str) -> None:
    """Every case of access to virtual hosts, resources and topics is decided as in the broker."""
    cases = VECTORS[kind]
    assert cases
    for case in cases:
        assert ScopeGrant(case["scopes"]).decide(asked(kind, case)).allow is case["allow"], case


@cases("variable_expansion")
def test_variables(case: dict[str, Any]) -> None:
    """Variables are filled in as in the broker."""
    scopes = [expand(scope, case["token"], case["vhost"]) for scope in case["token"]["scope"]]
    assert scopes == case["expanded"]


@cases("prefix")
def test_prefixes(case: dict[str, Any]) -> None:
    """Scopes without the prefix are dropped, and it is taken off the others."""
    server = ResourceServer(scope_prefix=case["prefix"])
    reading = read_token({**CLAIMS, "scope": case["scopes"]}, server, now=lambda: NOW)
    assert list(reading.grant.scopes) == case["kept"]


@cases("tags")
def test_tags(case: dict[str, Any]) -> None:
    """Tags that the broker does not know are none."""
    server = ResourceServer(id=case["resource_server_id"])
    reading = read_token({**CLAIMS, "scope": case["scopes"]}, server, now=lambda: NOW)
    assert list(reading.tags) == case["tags"]


@cases("aliases")
def test_aliases(case: dict[str, Any]) -> None:
    """An alias counts by what it stands for, variables filled in."""
    server = ResourceServer(
        id=case["resource_server_id"],
        scope_prefix=case["scope_prefix"],
        scope_aliases=case["aliases"],
    )
    reading = read_token({**CLAIMS, **case["token"]}, server, now=lambda: NOW)
    for check in case["checks"]:
        decision = reading.grant.decide(asked(check["check"], check))
        assert decision.allow is check["allow"], check


@cases("additional_scopes_key_paths")
def test_paths(case: dict[str, Any]) -> None:
    """A dotted path finds scopes in maps and in lists of maps."""
    assert values_at(case["path"], case["token"], "rabbitmq") == case["values"]


@cases("username_claims")
def test_user_names(case: dict[str, Any]) -> None:
    """The first preferred claim that the token has names the user."""
    server = ResourceServer(preferred_username_claims=case["claims"])
    assert username_of(case["token"], server) == case["username"]


@cases("exp")
def test_expiry(case: dict[str, Any]) -> None:
    """A token is refused for an exp that is no number, and for none unless that is allowed."""
    exp = {"now+600 as float": NOW + 600.5}.get(case["exp"], case["exp"])
    claims = {"aud": "rabbitmq", "scope": ""} | ({} if exp == "missing" else {"exp": exp})
    server = ResourceServer(require_exp=case.get("require_exp", True))
    reading = read_token(claims, server, now=lambda: NOW)
    assert (reading.refused is None) is case["login"].startswith("ok"), reading.refused


@cases("rar")
def test_rich_authorization(case: dict[str, Any]) -> None:
    """Authorization details are turned into the scopes that the broker makes of them."""
    server = ResourceServer(
        id=case["resource_server_id"], resource_server_type=case["resource_server_type"]
    )
    claims = {**CLAIMS, "authorization_details": case["authorization_details"]}
    reading = read_token(claims, server, now=lambda: NOW)
    assert sorted(reading.grant.scopes) == sorted(case["scopes"])


@cases("limits")
def test_limits(case: dict[str, Any]) -> None:
    """A token with too many scopes is refused, one with as many as allowed is not."""
    scopes = [f"rabbitmq.read:*/{number}" for number in range(case["n_scopes"])]
    refused = read_token({**CLAIMS, "scope": scopes}, now=lambda: NOW).refused
    assert isinstance(refused, Refused)
    assert "2,049 scopes" in refused.reason
    assert read_token({**CLAIMS, "scope": scopes[1:]}, now=lambda: NOW).refused is None
