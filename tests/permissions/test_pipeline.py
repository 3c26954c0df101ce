"""Aliases, prefixes and scopes in other claims come to on real brokers what the engine says."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from amqp.exceptions import AccessRefused

from mqauth.permissions.explain import explain
from mqauth.permissions.operations import OPERATIONS, Operation
from mqauth.permissions.resource_server import ResourceServer
from mqauth.permissions.token_scopes import read_token
from mqauth.permissions.versions import BrokerVersion
from mqauth_sandbox import Sandbox
from mqauth_sandbox.broker import Broker
from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.rabbitmq.configuration import OAuth2Settings
from mqauth_sandbox.tls import create_certificates
from tests.celery.processes import wait_until
from tests.permissions.trying import Management, Trying, admitted

SEED = 41
QUESTIONS = 400
VHOSTS = ("/", "team-a")
QUEUES = ("q-bob", "q-ann", "q-celery")
NEEDED = ("basic.consume", "queue.purge", "queue.delete")

World = tuple[Broker, OidcIssuer, ResourceServer]


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], World]]:
    """Start brokers whose OAuth 2 settings differ from the defaults wherever they can."""
    folder = tmp_path_factory.mktemp("tls")
    certificates = create_certificates(folder)
    opened: list[Any] = []
    made: dict[str, World] = {}

    def make(which: str) -> World:
        if which not in made:
            issuer = OidcIssuer(
                certificate=certificates.certificate_file, private_key=certificates.key_file
            )
            issuer.start()
            opened.append(issuer.stop)
            server = ResourceServer(
                id="rabbitmq",
                scope_prefix="p/" if which == "4" else None,
                additional_scopes_key="roles a.list.scopes" if which == "4" else "roles",
                scope_aliases={
                    "reader": _prefixed(which, "read:*/*", "tag:management"),
                    "own": _prefixed(which, "configure:{vhost}/q-{sub}", "read:team-a/q-bob"),
                },
            )
            broker = Broker(
                which,
                certificates=certificates,
                oauth2=OAuth2Settings(
                    jwks_url=issuer.jwks_uri,
                    resource_server_id=server.id,
                    scope_prefix=server.scope_prefix,
                    additional_scopes_key=server.additional_scopes_key,
                    scope_aliases={k: tuple(v) for k, v in server.scope_aliases.items()},
                ),
            )
            opened.append(broker.close)
            broker.start()
            made[which] = broker, issuer, server
        return made[which]

    yield make
    for close in reversed(opened):
        close()


def _prefixed(which: str, *scopes: str) -> list[str]:
    return [("p/" if which == "4" else "rabbitmq.") + scope for scope in scopes]


def claims(which: str, rng: random.Random) -> dict[str, Any]:
    """Return claims with scopes in all the places where a broker may look for them."""
    scopes = [
        *("p/read:*/q-bob", "p/configure:%2F/*", "p/read:{vhost}/q-*", "p/configure:*/q-{sub}"),
        *("rabbitmq.read:*/q-bob", "rabbitmq.configure:%2F/*", "rabbitmq.configure:*/q-*"),
        *("own", "reader", "own", "p/own", "other", "p/p/read:*/*"),
        *("rabbitmq.configure:{vhost}/q-{sub}", "p/configure:{vhost}/q-{client_id}"),
    ]
    if which == "3":  # which knows the default prefix only
        scopes = [scope.replace("p/read", "rabbitmq.read") for scope in scopes]

    def some(most: int) -> list[str]:
        return rng.sample(scopes, rng.randint(0, most))

    found: dict[str, Any] = {
        "sub": rng.choice(("bob", "ann", "reader")),
        "scope": rng.choice((some(2), " ".join(some(2)))),
    }
    # Without that claim, a broker with aliases before 4.1 takes all scopes away.
    if rng.random() < (0.9 if which == "3" else 0.6):
        found["roles"] = rng.choice(
            (
                some(4),
                some(4),
                " ".join(some(2)),
                {"rabbitmq": some(1)},
                {"rabbitmq": "read:*/*"},
                5,
            )
        )
    if rng.random() < 0.4:
        found["a"] = rng.choice(
            ({"list": [{"scopes": some(1)}, {"scopes": " ".join(some(2))}]}, {"list": some(1)})
        )
    if rng.random() < 0.4:
        found["authorization"] = {"permissions": [{"scopes": some(2)}, {"name": "nothing"}]}
    return found


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("which", ["3", "4"])
def test_tokens_come_to_the_same_scopes(which: str, configured: Callable[[str], World]) -> None:
    """Wherever scopes stand in a token, the broker permits what the engine says it does."""
    broker, issuer, server = configured(which)
    version = BrokerVersion.parse(broker.version)
    management = Management(broker)
    management.put(("vhosts", "team-a"), {})
    rng = random.Random(SEED)  # noqa: S311 - the same questions in each run
    kinds = [kind for kind in OPERATIONS if kind.name in NEEDED]
    asked, allowed, wrong = 0, 0, list[object]()
    while asked < QUESTIONS:
        told, vhost = claims(which, rng), rng.choice(VHOSTS)
        token = issuer.mint(**told)
        reading = read_token(
            {"client_id": "celery", "aud": ["rabbitmq"], "exp": 2**33, **told}, server, version
        )
        entering = explain(reading.grant, Operation(kind=OPERATIONS[0], vhost=vhost), version)
        asked += 1
        if reading.refused is not None:
            with pytest.raises(AccessRefused), admitted(broker, vhost, token):
                pass
            continue
        with admitted(broker, vhost, token) as connection:
            if entering.allow is not (connection is not None):
                wrong.append((told, vhost, reading.grant.scopes))
            if connection is None:
                continue
            trying = Trying(connection, lambda queue, exchange: None)
            for kind in kinds:
                operation = Operation(kind=kind, vhost=vhost, queue=rng.choice(QUEUES))
                said, passed = explain(reading.grant, operation, version), trying.passes(operation)
                asked, allowed = asked + 1, allowed + passed
                if said.allow is not passed:
                    wrong.append((told, operation, reading.grant.scopes))
    management.close()
    assert wrong == []
    assert 0.1 * asked < allowed < 0.9 * asked, "the questions are too easy"


def test_whose_name_it_is(sandbox: Sandbox) -> None:
    """The broker signs a token in under the name that the engine says."""
    version = BrokerVersion.parse(sandbox.broker.version)
    told = {"sub": "the-subject", "client_id": "the-client"}
    reading = read_token({**told, "aud": "rabbitmq", "scope": "", "exp": 2**33}, (), version)
    start = sandbox.broker.log_size()
    with admitted(sandbox.broker, "/", sandbox.issuer.mint(**told), "login") as connection:
        assert connection is not None
        wanted = f"user '{reading.username}' authenticated"
        wait_until(lambda: wanted in sandbox.broker.log_text(start), 10.0, wanted)
