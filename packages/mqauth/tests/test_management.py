"""The client of the management API, on RabbitMQ 4.3 and 3.10 as Amazon MQ configures them."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3

from mqauth.errors import (
    ConfigurationError,
    CredentialError,
    InsecureTransportError,
    ManagementRefusedError,
    ManagementUnavailableError,
)
from mqauth.management import ManagementClient, Permission, QueueFacts
from mqauth.rotation.source import CredentialSource
from mqauth_sandbox import Sandbox
from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.tls import CertificateFiles

LIMIT = 10.0
CANARY = "canary-of-management"


@dataclass(frozen=True, kw_only=True)
class World:
    """A broker that trusts AWS, and a source of its tokens."""

    sandbox: Sandbox
    source: CredentialSource

    @property
    def url(self) -> str:
        """Where the management API is."""
        return f"http://localhost:{self.sandbox.broker.management_port}"

    @property
    def client(self) -> ManagementClient:
        """A client that signs in by the role's token."""
        return ManagementClient(self.url, self.source, timeout=LIMIT)

    def put(self, path: str, body: str = "{}") -> None:
        """Change something as the internal administrator."""
        broker = self.sandbox.broker
        login = f"{broker.admin_user}:{broker.admin_password}"
        answer = urllib3.request(
            "PUT",
            self.url + path,
            body=body,
            headers=urllib3.make_headers(basic_auth=login) | {"Content-Type": "application/json"},
            timeout=LIMIT,
        )
        assert answer.status in (201, 204), answer.data


@contextmanager
def static(username: str, password: str) -> Iterator[CredentialSource]:
    """Yield a source of one of the broker's own users."""
    config = {"provider": "static", "username": username, "password": password}
    source = CredentialSource.from_config(config)
    try:
        yield source
    finally:
        source.close()


@pytest.fixture(scope="module", params=["4", "3"])
def amazon(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A broker with seed configuration of Amazon MQ."""
    with Sandbox(broker=request.param, broker_auth="amazonmq") as sandbox:
        yield sandbox


@pytest.fixture
def world(amazon: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The broker, and a source that assumes the role."""
    for name, value in amazon.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MQAUTH_CACHE", "off")
    source = CredentialSource.from_config({"provider": "aws-iam"})
    yield World(sandbox=amazon, source=source)
    source.close()
    amazon.sts.token_lifetime_override = None


def test_who_signs_in(world: World) -> None:
    """The role's token signs in with an empty user name, and the broker names the role."""
    found = world.client.whoami()
    assert found.name == world.sandbox.sts.role_arn
    assert "administrator" in found.tags


def test_what_runs_there(world: World) -> None:
    """Version, cluster and node are told."""
    found = world.client.overview()
    assert found.version == world.sandbox.broker.version
    assert found.cluster
    assert found.node


def test_virtual_hosts(world: World) -> None:
    """Names with slashes and blanks are asked for as they are."""
    world.put("/api/vhosts/a%2Fb%20c")
    assert {"/", "a/b c"} <= set(world.client.vhosts())
    assert world.client.vhost_exists("a/b c")
    assert not world.client.vhost_exists("nowhere")


def test_queues(world: World) -> None:
    """A queue's facts are told; of one that is not there, that it is not."""
    world.put("/api/queues/%2F/jobs%20%2F%20high", '{"durable": true}')
    found = world.client.queue("/", "jobs / high")
    assert isinstance(found, QueueFacts)
    assert (found.name, found.vhost, found.kind) == ("jobs / high", "/", "classic")
    assert world.client.queue("/", "nothing") is None


def test_permissions_of_internal_users(world: World) -> None:
    """The broker's own users have permissions on record; the users of tokens have none."""
    user = world.sandbox.broker.admin_user
    found = Permission(user=user, vhost="/", configure=".*", write=".*", read=".*")
    assert found in world.client.permissions(user)
    assert world.client.permissions(world.sandbox.sts.role_arn) == []


def test_health(world: World) -> None:
    """A well node is alive and has no alarms; a virtual host that is not there is not alive."""
    assert world.client.alive("/")
    assert not world.client.alive("nowhere")
    assert not world.client.alarms()


def test_a_refused_credential_is_replaced_once(world: World) -> None:
    """A token that the broker finds expired costs one new token, not an error."""
    world.sandbox.sts.token_lifetime_override = 3  # long enough to fetch it on a busy machine
    world.source.close()  # its thread would fetch, too
    stale = world.source.get()
    time.sleep(max(0.0, stale.remaining()) + 0.1)  # the broker's clock, not ours, has to pass it
    world.sandbox.sts.token_lifetime_override = None
    before = world.sandbox.sts.fetches
    frozen = _Stale(world.source, stale)
    client = ManagementClient(world.url, frozen, timeout=LIMIT)  # type: ignore[arg-type]
    assert client.whoami().name == world.sandbox.sts.role_arn
    assert world.sandbox.sts.fetches - before <= 1
    assert frozen.invalidated == 1


class _Stale:
    """A source whose clock is slow: it takes its first credential for good until it is refused."""

    def __init__(self, source: CredentialSource, stale: Any) -> None:
        self.source, self.stale, self.invalidated = source, stale, 0

    @property
    def current(self) -> Any:
        return self.source.current

    def get(self) -> Any:
        return self.source.get() if self.invalidated else self.stale

    def invalidate(self, credentials: Any) -> None:
        self.invalidated += 1
        self.source.invalidate(credentials)


def test_a_wrong_password(world: World) -> None:
    """A login that stays refused is asked for no third time and says where the reason stands."""
    with (
        static("sandbox-admin", CANARY) as source,
        pytest.raises(ManagementRefusedError, match="refused the login") as caught,
    ):
        ManagementClient(world.url, source, timeout=LIMIT).whoami()
    assert "broker's log" in str(caught.value.remedy)
    login = base64.b64encode(f"sandbox-admin:{CANARY}".encode()).decode()
    assert CANARY not in str(caught.value)
    assert login not in str(caught.value)


def test_a_user_who_may_not(world: World) -> None:
    """A user without tags may not sign in here; one who may only look may not see all."""
    broker = world.sandbox.broker
    body = '{"password": "untagged", "tags": ""}'
    world.put("/api/users/untagged", body)
    with static("untagged", "untagged") as source, pytest.raises(ManagementRefusedError) as caught:
        ManagementClient(world.url, source, timeout=LIMIT).overview()
    assert "tag" in str(caught.value.remedy)
    world.put("/api/users/looker", '{"password": "looker", "tags": "management"}')
    with static("looker", "looker") as source:
        client = ManagementClient(world.url, source, timeout=LIMIT)
        assert client.whoami().tags == ("management",)
        with pytest.raises(ManagementRefusedError):
            client.permissions(broker.admin_user)


def test_without_a_credential(world: World) -> None:
    """Where no token is to be had, that is the error."""
    with world.sandbox.sts.faults.during("error500"), pytest.raises(CredentialError):
        world.client.whoami()


def origin(issuer: OidcIssuer) -> str:
    """Return scheme, host and port of a server."""
    return issuer.issuer_url.removesuffix(urlsplit(issuer.issuer_url).path)


@pytest.fixture
def somewhere(issuer: OidcIssuer) -> Iterator[tuple[OidcIssuer, CredentialSource]]:
    """An HTTPS server that is no management API, and a source of a password."""
    with static("me", CANARY) as source:
        yield issuer, source


def test_the_certificate_is_verified(
    somewhere: tuple[OidcIssuer, CredentialSource], certificates: CertificateFiles
) -> None:
    """An unknown authority is refused before the credential is sent."""
    issuer, source = somewhere
    with pytest.raises(ManagementUnavailableError, match="cannot be trusted") as caught:
        ManagementClient(origin(issuer), source).whoami()
    assert "ca_file" in str(caught.value.remedy)
    with pytest.raises(ManagementRefusedError, match="has no /api/whoami"):
        ManagementClient(origin(issuer), source, ca_file=str(certificates.ca_file)).whoami()
    with pytest.raises(ConfigurationError, match="ca_file"):
        ManagementClient(origin(issuer), source, ca_file="/not/there")


@pytest.mark.parametrize(
    ("mode", "complaint"),
    [
        ("error500", "HTTP 500"),
        ("html", "not RabbitMQ's"),
        ("garbage", "not RabbitMQ's"),
        ("down", "broke the connection"),
    ],
)
def test_a_server_that_is_unwell(
    somewhere: tuple[OidcIssuer, CredentialSource],
    certificates: CertificateFiles,
    mode: Any,
    complaint: str,
) -> None:
    """Whatever answers in its place is told apart, may be tried again, and quotes no secret."""
    issuer, source = somewhere
    client = ManagementClient(origin(issuer), source, ca_file=str(certificates.ca_file), timeout=5)
    with (
        issuer.faults.during(mode),
        pytest.raises(ManagementUnavailableError, match=complaint) as caught,
    ):
        client.overview()
    assert caught.value.retryable
    assert CANARY not in str(caught.value)


def test_a_server_that_hangs(
    somewhere: tuple[OidcIssuer, CredentialSource], certificates: CertificateFiles
) -> None:
    """A call ends at its time limit."""
    issuer, source = somewhere
    client = ManagementClient(
        origin(issuer), source, ca_file=str(certificates.ca_file), timeout=0.5
    )
    started = time.monotonic()
    with issuer.faults.during("hang"), pytest.raises(ManagementUnavailableError):
        client.overview()
    assert time.monotonic() - started < 15  # it would never end


def test_nobody_listens(somewhere: tuple[OidcIssuer, CredentialSource]) -> None:
    """A closed port is said to be one."""
    issuer, source = somewhere
    issuer.stop()
    with pytest.raises(ManagementUnavailableError, match="cannot be reached"):
        ManagementClient(origin(issuer), source).whoami()


def test_where_it_may_be(somewhere: tuple[OidcIssuer, CredentialSource]) -> None:
    """Never in clear to another host; Amazon MQ has it at 443, others at 15671."""
    _, source = somewhere
    with pytest.raises(InsecureTransportError):
        ManagementClient("http://rabbit.example.com:15672", source)
    with pytest.raises(ConfigurationError, match="user name or password"):
        ManagementClient("https://me:you@rabbit.example.com", source)
    host = "b-1234.mq.eu-west-1.on.aws"
    assert ManagementClient.for_host(host, source).url == f"https://{host}"
    found = ManagementClient.for_host("rabbit.example.com", source)
    assert found.url == "https://rabbit.example.com:15671"
