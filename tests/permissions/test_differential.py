"""The engine and real brokers give the same answers to thousands of random questions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mqauth.permissions.explain import explain
from mqauth.permissions.operations import OPERATIONS, Operation
from mqauth.permissions.regexes import RegexGrant, TopicPermission
from mqauth.permissions.resource_server import ResourceServer
from mqauth.permissions.token_scopes import read_token
from mqauth.permissions.versions import BrokerVersion
from mqauth_sandbox import Sandbox
from tests.permissions import asking
from tests.permissions.trying import Management, Trying, admitted

SEED = 6
QUESTIONS = 2_000
PER_CONNECTION = 25
PASSWORD = "of-a-throwaway-user"
SERVER = ResourceServer(id="rabbitmq")


@pytest.fixture(scope="module")
def prepared() -> Iterator[Callable[[Sandbox], Management]]:
    """Fill a broker with virtual hosts, exchanges and queues, once."""
    made: dict[int, Management] = {}

    def prepare(sandbox: Sandbox) -> Management:
        port = sandbox.broker.management_port
        if port not in made:
            made[port] = Management(sandbox.broker)
            _fill(made[port], sandbox.broker.admin_user)
        return made[port]

    yield prepare
    for management in made.values():
        management.close()


def _fill(management: Management, admin: str) -> None:
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    for vhost in asking.VHOSTS:
        management.put(("vhosts", vhost), {})
        management.put(("permissions", vhost, admin), everything)
        for queue in asking.QUEUES:
            management.put(("queues", vhost, queue), {"durable": True})
        for kind, names in (("topic", asking.TOPICS), ("direct", asking.DIRECTS)):
            for name in names:
                management.put(("exchanges", vhost, name), {"type": kind, "durable": True})


def _clean_up(management: Management, vhost: str) -> Callable[[str, str], None]:
    def clean_up(queue: str, exchange: str) -> None:
        management.delete(("queues", vhost, queue) if queue else ("exchanges", vhost, exchange))

    return clean_up


ENTER = OPERATIONS[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_scopes(sandbox: Sandbox, prepared: Callable[[Sandbox], Management]) -> None:
    """Whatever scopes a token has, the broker permits what the engine says it does."""
    management, broker = prepared(sandbox), sandbox.broker
    version = BrokerVersion.parse(broker.version)
    rng = random.Random(SEED)  # noqa: S311 - the same questions in each run
    asked, allowed, wrong = 0, 0, list[object]()
    while asked < QUESTIONS:
        vhost, claims = rng.choice(asking.VHOSTS), _claims(rng)
        token = sandbox.issuer.mint(**claims)
        grant = read_token({**claims, "aud": ["rabbitmq"], "exp": 2**33}, SERVER, version).grant
        said = explain(grant, Operation(kind=ENTER, vhost=vhost), version)
        with admitted(broker, vhost, token) as connection:
            asked += 1
            if said.allow is not (connection is not None):
                wrong.append((claims, vhost, said.because))
            if connection is None:
                continue
            trying = Trying(connection, _clean_up(management, vhost))
            for _ in range(PER_CONNECTION):
                operation = asking.operation(rng, vhost)
                said, passed = explain(grant, operation, version), trying.passes(operation)
                asked, allowed = asked + 1, allowed + passed
                if said.allow is not passed:
                    wrong.append((claims, operation, said.because))
    assert wrong == []
    assert 0.2 * asked < allowed < 0.9 * asked, "the questions are too easy"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_expressions(sandbox: Sandbox, prepared: Callable[[Sandbox], Management]) -> None:
    """Whatever expressions a user has, the broker permits what the engine says it does."""
    management, broker = prepared(sandbox), sandbox.broker
    version = BrokerVersion.parse(broker.version)
    rng = random.Random(SEED)  # noqa: S311 - the same questions in each run
    asked, allowed, wrong = 0, 0, list[object]()
    while asked < QUESTIONS:
        vhost, other = rng.sample(asking.VHOSTS, 2)
        grant = _user(rng, management, vhost, version)
        for entered in (vhost, other) if rng.random() < 0.2 else (vhost,):
            with admitted(broker, entered, PASSWORD, grant.username) as connection:
                asked += 1
                said = explain(grant, Operation(kind=ENTER, vhost=entered), version)
                if said.allow is not (connection is not None):
                    wrong.append((grant, entered, said.because))
                if connection is None:
                    continue
                trying = Trying(connection, _clean_up(management, entered))
                for _ in range(PER_CONNECTION):
                    operation = asking.operation(rng, entered)
                    said, passed = explain(grant, operation, version), trying.passes(operation)
                    asked, allowed = asked + 1, allowed + passed
                    if said.allow is not passed:
                        wrong.append((grant, operation, said.because))
    assert wrong == []
    assert 0.1 * asked < allowed < 0.9 * asked, "the questions are too easy"


def _claims(rng: random.Random) -> dict[str, Any]:
    scopes = [asking.prefixed(rng, asking.scope(rng)) for _ in range(rng.randint(1, 8))]
    if rng.random() < 0.5:  # or few would be let in at all
        scopes.append(f"rabbitmq.{rng.choice(('read', 'write', 'configure'))}:*/*/*")
    as_text = rng.random() < 0.5 and not any(" " in scope for scope in scopes)
    return {
        "scope": " ".join(scopes) if as_text else scopes,
        "sub": rng.choice(asking.SUBJECTS),
        "list": ["celery"],
        "a": {"b": "celery"},
    }


def _user(
    rng: random.Random, management: Management, vhost: str, version: BrokerVersion
) -> RegexGrant:
    name = rng.choice(("task", "w.rk*r", "celery", "юзер"))
    patterns = {action: asking.expression(rng) for action in ("configure", "write", "read")}
    exchanges = rng.sample([*asking.TOPICS, "amq.topic"], rng.randint(0, 3))
    topics = {
        exchange: TopicPermission(
            write=asking.topic_expression(rng), read=asking.topic_expression(rng)
        )
        for exchange in exchanges
    }
    management.delete(("users", name))
    management.put(("users", name), {"password": PASSWORD, "tags": ""})
    management.put(("permissions", vhost, name), patterns)
    for exchange, topic in topics.items():
        management.put(
            ("topic-permissions", vhost, name),
            {"exchange": exchange, "write": topic.write, "read": topic.read},
        )
    return RegexGrant(vhost=vhost, topics=topics, username=name, version=version, **patterns)
