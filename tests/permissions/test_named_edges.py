"""Edges that no random question comes upon, on real brokers: the engine says what they do."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from amqp.exceptions import AMQPError

from mqauth.permissions.explain import explain
from mqauth.permissions.operations import OPERATIONS, Operation
from mqauth.permissions.resource_server import ResourceServer
from mqauth.permissions.token_scopes import read_token
from mqauth.permissions.versions import BrokerVersion
from mqauth_sandbox import Sandbox
from tests.permissions.trying import Management, Trying, admitted

VHOST = "named-edges"
SERVER = ResourceServer(id="rabbitmq")
ENTER = OPERATIONS[0]


@pytest.fixture
def management(sandbox: Sandbox) -> Any:
    """A broker with a virtual host for this, which goes away afterwards."""
    made = Management(sandbox.broker)
    made.put(("vhosts", VHOST), {})
    yield made
    made.delete(("vhosts", VHOST))
    made.close()


@pytest.mark.parametrize(
    "scope",
    [
        "rabbitmq.read:*/{iat}/{scope}",
        "rabbitmq.read:{scope}/*",
        "rabbitmq.read:scope/*",
        "rabbitmq.read:{sub}/*",
    ],
)
@pytest.mark.parametrize("vhost", ["scope", VHOST])
def test_the_scope_claim_in_a_scope(
    scope: str, vhost: str, sandbox: Sandbox, management: Management
) -> None:
    """It stands for its own name where others are filled in, and for nothing on old brokers."""
    management.put(("vhosts", vhost), {})
    version = BrokerVersion.parse(sandbox.broker.version)
    claims: dict[str, Any] = {"scope": [scope], "sub": VHOST}
    token = sandbox.issuer.mint(**claims)
    grant = read_token({**claims, "aud": ["rabbitmq"], "exp": 2**33}, SERVER, version).grant
    said = explain(grant, Operation(kind=ENTER, vhost=vhost), version)
    with admitted(sandbox.broker, vhost, token) as connection:
        assert said.allow is (connection is not None), said
    if vhost != VHOST:
        management.delete(("vhosts", vhost))


@pytest.mark.parametrize("kind", OPERATIONS[1:], ids=lambda kind: kind.title)
@pytest.mark.parametrize("name", ["named-edge", "named%0D%0A-edge"])
def test_line_ends_in_names(kind: Any, name: str, sandbox: Sandbox, management: Management) -> None:
    """Whoever may use a name with them or without may do what the engine says."""
    version = BrokerVersion.parse(sandbox.broker.version)
    given = "named\r\n-edge"
    operation = Operation(
        kind=kind,
        vhost=VHOST,
        queue=given,
        exchange=given,
        source=given,
        destination=given,
        alternate=given if kind.variant == "with AE" else None,
        dead_letter=given if kind.variant == "with DLX" else None,
        routing_key="k" if kind.topic else "",
        topic=False,
    )
    allowed = [f"rabbitmq.{action}:{VHOST}/{name}" for action in ("configure", "write", "read")]
    claims: dict[str, Any] = {"scope": allowed}
    token = sandbox.issuer.mint(**claims)
    grant = read_token({**claims, "aud": ["rabbitmq"], "exp": 2**33}, SERVER, version).grant
    said = explain(grant, operation, version)

    def clean_up(queue: str, exchange: str) -> None:
        for folder, made in (("queues", queue), ("exchanges", exchange)):
            management.delete((folder, VHOST, made.replace("\r\n", "")))

    with admitted(sandbox.broker, VHOST, token) as connection:
        assert connection is not None
        passed = Trying(connection, clean_up).passes(operation)
        with contextlib.suppress(AMQPError):
            connection.close()
    assert said.allow is passed, said
