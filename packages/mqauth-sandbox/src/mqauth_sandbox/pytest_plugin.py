"""Fixtures for pytest: a real broker and real issuers for any project's own tests.

Installed with the distribution; nothing starts until a test asks for a fixture:

- `mqauth_sandbox` (session): everything, as `mqauth_sandbox.Sandbox`
- `mqauth_broker` (session): its RabbitMQ node
- `mqauth_issuer`, `mqauth_sts` (per test): its issuers, well again after each test
- `mqauth_apsaramq` (session): a sandbox of its own whose broker checks logins as ApsaraMQ does
- `mqauth_proxy` (per test): a TCP proxy to the node's plain AMQP port
- `mqauth_rolesanywhere` (per test): a Roles Anywhere endpoint with an STS endpoint of its own,
  which need no broker; it trusts `mqauth_pki` and is well again after each test
- `mqauth_pki` (session): a throwaway authority that issues X.509 identities
- `mqauth_official_helper` (session): the path of AWS's own `aws_signing_helper`, built if it is
  missing; tests that ask for it are skipped where there is no Go
- `mqauth_kafka` (session): Java and Apache Kafka's jars, for tests that start a `KafkaSandbox`;
  they are skipped where `mqauth-sandbox prepare kafka` has not been run, or could not
- `mqauth_kafka_java` (session): the same of Kafka's client for Java with AWS's `aws-msk-iam-auth`

The broker is chosen with `--mqauth-broker` or the environment variable MQAUTH_SANDBOX_BROKER.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # every pytest run of the environment loads this module: keep that cheap
    from mqauth_sandbox.broker import Broker
    from mqauth_sandbox.kafka.prepare import KafkaInstallation
    from mqauth_sandbox.oidc import OidcIssuer
    from mqauth_sandbox.pki import Pki
    from mqauth_sandbox.proxy import TcpProxy
    from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
    from mqauth_sandbox.sandbox import Sandbox
    from mqauth_sandbox.sts import StsEndpoint

BROKER_VARIABLE = "MQAUTH_SANDBOX_BROKER"
DEFAULT_BROKER = "4"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--mqauth-broker`."""
    parser.getgroup("mqauth").addoption(
        "--mqauth-broker",
        metavar="WHICH",
        default=os.environ.get(BROKER_VARIABLE) or DEFAULT_BROKER,
        help="the RabbitMQ of the mqauth fixtures: 3, 4 or the path of a rabbitmq-server "
        f"(default: ${BROKER_VARIABLE} or {DEFAULT_BROKER})",
    )


@pytest.fixture(scope="session")
def mqauth_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A running sandbox for the whole session."""
    from mqauth_sandbox.sandbox import Sandbox  # noqa: PLC0415 - only when it is used

    with Sandbox(broker=request.config.getoption("--mqauth-broker")) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def mqauth_broker(mqauth_sandbox: Sandbox) -> Broker:
    """The session's RabbitMQ node, which accepts tokens of `mqauth_issuer`."""
    return mqauth_sandbox.broker


@pytest.fixture
def mqauth_issuer(mqauth_sandbox: Sandbox) -> Iterator[OidcIssuer]:
    """The session's OIDC issuer; faults, lifetime and scopes are as before after each test."""
    issuer = mqauth_sandbox.issuer
    lifetime, scopes, audiences = issuer.token_lifetime, list(issuer.scopes), issuer.audiences
    yield issuer
    issuer.faults.reset()
    issuer.token_lifetime, issuer.scopes, issuer.audiences = lifetime, scopes, list(audiences)
    issuer.start()


@pytest.fixture
def mqauth_sts(mqauth_sandbox: Sandbox) -> Iterator[StsEndpoint]:
    """The session's STS endpoint, without faults after each test."""
    sts = mqauth_sandbox.sts
    yield sts
    sts.faults.reset()
    sts.start()


@pytest.fixture(scope="session")
def mqauth_apsaramq(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A running sandbox whose broker takes the dynamic users of ApsaraMQ for RabbitMQ."""
    from mqauth_sandbox.sandbox import Sandbox  # noqa: PLC0415 - only when it is used

    which = request.config.getoption("--mqauth-broker")
    with Sandbox(broker=which, broker_auth="apsaramq") as sandbox:
        yield sandbox


@pytest.fixture
def mqauth_proxy(mqauth_sandbox: Sandbox) -> Iterator[TcpProxy]:
    """A proxy of this test's own to the node's plain AMQP port."""
    from mqauth_sandbox.proxy import TcpProxy  # noqa: PLC0415 - only when it is used

    with TcpProxy(mqauth_sandbox.broker.amqp_port) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def mqauth_pki() -> Pki:
    """A throwaway authority for the whole session."""
    from mqauth_sandbox.pki import Pki  # noqa: PLC0415 - only when it is used

    return Pki()


@pytest.fixture(scope="session")
def _rolesanywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RolesAnywhereEndpoint]:
    from mqauth_sandbox.rolesanywhere import serve_rolesanywhere  # noqa: PLC0415 - the same

    with serve_rolesanywhere(tmp_path_factory.mktemp("rolesanywhere")) as endpoint:
        yield endpoint


@pytest.fixture
def mqauth_rolesanywhere(
    _rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki
) -> Iterator[RolesAnywhereEndpoint]:
    """The session's Roles Anywhere endpoint; its `sts` accepts the sessions it opens."""
    endpoint = _rolesanywhere
    endpoint.trust(mqauth_pki.root)
    yield endpoint
    endpoint.reset()
    endpoint.sts.faults.reset()
    endpoint.start()
    endpoint.sts.start()


@pytest.fixture(scope="session")
def mqauth_official_helper() -> Path:
    """AWS's own helper; skips where there is neither one nor a Go to build it with."""
    from mqauth_sandbox.official_helper import (  # noqa: PLC0415 - the same
        GoMissingError,
        prepare_official_helper,
    )

    try:
        return prepare_official_helper()
    except GoMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def mqauth_kafka() -> KafkaInstallation:
    """Where Kafka is installed; skips where it is not, or there is no Java for it."""
    from mqauth_sandbox.errors import NotInstalledError  # noqa: PLC0415 - the same
    from mqauth_sandbox.kafka.prepare import find_kafka  # noqa: PLC0415 - the same

    try:
        return find_kafka()
    except NotInstalledError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def mqauth_kafka_java() -> KafkaInstallation:
    """Where Kafka's client for Java is installed; skips where it is not, or there is no Java."""
    from mqauth_sandbox.errors import NotInstalledError  # noqa: PLC0415 - the same
    from mqauth_sandbox.kafka.prepare import find_kafka_java  # noqa: PLC0415 - the same

    try:
        return find_kafka_java()
    except NotInstalledError as error:
        pytest.skip(str(error))
