"""The endpoint as SDKs, curious neighbours and impatient clients meet it."""

from __future__ import annotations

import http.client
import json
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import ContainerProvider, InstanceMetadataProvider, RefreshableCredentials
from botocore.exceptions import CredentialRetrievalError
from botocore.utils import InstanceMetadataFetcher

from credproc.credentials import SessionCredentials
from credproc.errors import CacheError, CredprocError, UnavailableError, UsageError
from credproc.secret import Secret
from credproc.serve import keeper as keeper_module
from credproc.serve import server as server_module
from credproc.serve.container_token import from_file, from_value
from credproc.serve.keeper import Keeper, pause_before_renewal
from credproc.serve.routes import Routes
from credproc.serve.server import MOST_CONNECTIONS, Server
from credproc.serve.tokens import MOST_TOKENS, TokenStore, parse_ttl

ROLE = "arn:aws:iam::123456789012:role/path/worker"
TOKEN = "a-token-for-containers"
TTL = "X-aws-ec2-metadata-token-ttl-seconds"
KEYS = "/latest/meta-data/iam/security-credentials/"


class Service:
    """Gives sessions as told; counts how often it is asked."""

    def __init__(self) -> None:
        self.lifetime = 3600.0
        self.later: float | None = None
        """How long all sessions but the first last, if not as long."""
        self.failure: CredprocError | None = None
        self.calls: list[bool] = []
        self.called = threading.Condition()
        self.told: list[str] = []

    def fetch(self, renew: bool) -> SessionCredentials:  # noqa: FBT001
        """Return the next session."""
        with self.called:
            self.calls.append(renew)
            self.called.notify_all()
        if self.failure:
            raise self.failure
        number = len(self.calls)
        lifetime = self.lifetime if number == 1 or self.later is None else self.later
        end = int(time.time() + lifetime)
        return SessionCredentials(f"ASIA{number}", Secret(f"secret{number}"), Secret("token"), end)

    def wait_for_calls(self, number: int) -> None:
        """Return once it was asked `number` times."""
        with self.called:
            assert self.called.wait_for(lambda: len(self.calls) >= number, timeout=20)


@pytest.fixture
def service() -> Service:
    """A service that is well."""
    return Service()


@pytest.fixture
def serve(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Server]]:
    """Starts a server on a free port, whose session comes from `service`."""
    monkeypatch.setattr(server_module, "POLL_INTERVAL", 0.02)
    running: list[tuple[Server, Keeper]] = []

    def start() -> Server:
        keeper = Keeper(service.fetch, service.told.append)
        token = from_value(TOKEN)
        routes = Routes(keeper=keeper, role_arn=ROLE, container_token=token)
        server = Server(port=0, hop_limit=7, routes=routes)
        keeper.start()
        server.start()
        running.append((server, keeper))
        return server

    yield start
    for server, keeper in running:
        server.stop()
        keeper.stop()


def ask(
    server: Server, method: str, path: str, headers: Mapping[str, str] | None = None
) -> tuple[int, str, http.client.HTTPMessage]:
    """Send a request and return status, body and headers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read().decode(), response.headers
    finally:
        connection.close()


def token_of(server: Server, ttl: str = "60") -> dict[str, str]:
    """Return the header with a fresh token."""
    status, token, headers = ask(server, "PUT", "/latest/api/token", {TTL: ttl})
    assert (status, headers[TTL]) == (200, ttl)
    return {"X-aws-ec2-metadata-token": token}


def test_botocore_takes_credentials_from_it_as_from_an_instance(
    serve: Callable[[], Server],
) -> None:
    """The SDK's own instance metadata client gets the session, by IMDSv2."""
    server = serve()
    fetcher = InstanceMetadataFetcher(timeout=20, base_url=f"http://127.0.0.1:{server.port}/")
    found = InstanceMetadataProvider(iam_role_fetcher=fetcher).load()
    assert found is not None
    assert (found.access_key, found.secret_key, found.token) == ("ASIA1", "secret1", "token")
    assert isinstance(found, RefreshableCredentials)
    assert not found.refresh_needed()


@pytest.mark.parametrize("by_file", [False, True])
def test_botocore_takes_credentials_from_it_as_from_a_container_agent(
    serve: Callable[[], Server],
    tmp_path: Path,
    by_file: bool,  # noqa: FBT001
) -> None:
    """The SDK's container client gets the session, with the token from a variable or a file."""
    environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{serve().port}/credentials"}
    if by_file:
        path = tmp_path / "token"
        path.write_text(TOKEN)
        environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = str(path)
    else:
        environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = TOKEN
    found = ContainerProvider(environ=environ).load()
    assert found is not None
    assert (found.access_key, found.secret_key, found.token) == ("ASIA1", "secret1", "token")


def test_a_made_token_file_is_private_and_works_with_botocore(tmp_path: Path) -> None:
    """The file gets a random token of mode 0600 without a line end, which botocore would refuse."""
    path = tmp_path / "token"
    source = from_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == source().reveal()
    provider: Any = ContainerProvider()
    provider._validate_auth_token(path.read_text())


def test_the_token_file_may_be_rotated(tmp_path: Path) -> None:
    """The next request is measured by what the file says then."""
    path = tmp_path / "token"
    source = from_file(path)
    path.write_text("another-token-for-containers\n")
    assert source().reveal() == "another-token-for-containers"


@pytest.mark.parametrize(
    "text", ["sh0rt", "with space in it....", "line\nend.............", "ü" * 20]
)
def test_bad_container_tokens_are_refused(text: str, tmp_path: Path) -> None:
    """A token that is guessable or cannot stand in a header is refused, and not shown."""
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UsageError, match="cannot stand in a header") as by_value:
        from_value(text)
    with pytest.raises(UsageError, match="cannot stand in a header") as by_file:
        from_file(path)
    assert text not in str(by_value.value) + str(by_file.value)


def test_a_container_token_that_all_may_read_is_refused(tmp_path: Path) -> None:
    """A token that every user can read protects nothing."""
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o644)
    with pytest.raises(CacheError, match="everybody may read it"):
        from_file(path)


def test_metadata_document(serve: Callable[[], Server]) -> None:
    """The role's name and its document have the metadata service's fields and headers."""
    server = serve()
    headers = token_of(server, "600")
    status, role, answered = ask(server, "GET", KEYS, headers)
    assert (status, role) == (200, "worker")
    assert 580 <= int(answered[TTL]) <= 600
    assert ask(server, "GET", KEYS.rstrip("/"), headers)[1] == "worker"
    status, body, answered = ask(server, "GET", KEYS + role, headers)
    assert status == 200
    assert answered["Content-Type"] == "application/json"
    document = json.loads(body)
    assert sorted(document) == [
        "AccessKeyId",
        "Code",
        "Expiration",
        "LastUpdated",
        "SecretAccessKey",
        "Token",
        "Type",
    ]
    assert (document["Code"], document["Type"]) == ("Success", "AWS-HMAC")


@pytest.mark.parametrize("ttl", ["0", "21601", "-1", "1e3", "x", "٣", "999999999999"])
def test_bad_times_to_live_are_refused(serve: Callable[[], Server], ttl: str) -> None:
    """A token lives 1 to 21600 seconds; everything else is a bad request."""
    assert parse_ttl(ttl) is None
    if ttl.isascii():
        assert ask(serve(), "PUT", "/latest/api/token", {TTL: ttl})[0] == 400


def test_times_to_live_have_the_official_default() -> None:
    """Without the header a token lives six hours; the limits themselves are allowed."""
    assert [parse_ttl(text) for text in (None, "", "1", "21600")] == [21600, 21600, 1, 21600]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", KEYS, {}, 401),
        ("GET", KEYS + "worker", {}, 401),
        ("GET", KEYS + "worker", {"X-aws-ec2-metadata-token": "wrong"}, 401),
        ("GET", "/credentials", {}, 401),
        ("GET", "/credentials", {"Authorization": TOKEN[:-1]}, 401),
        ("GET", "/credentials", {"Authorization": "\xff" * 20}, 401),
        ("POST", KEYS, {}, 405),
        ("GET", "/latest/api/token", {}, 405),
        ("HEAD", KEYS + "worker", {}, 405),
        ("PUT", "/credentials", {}, 405),
        ("GET", KEYS + "other", {}, 404),
        ("GET", "/", {}, 404),
        ("GET", "/latest/meta-data/", {}, 404),
        ("PUT", "/latest/api/token", {"X-Forwarded-For": "1.2.3.4"}, 400),
        ("PUT", "/latest/api/token", {"X-Forwarded-For": ""}, 400),
        ("PUT", "/latest/api/token", {"Host": "attacker.example:9911"}, 400),
        ("GET", "/credentials", {"Host": "attacker.example", "Authorization": TOKEN}, 400),
        ("PUT", "/latest/api/token", {"Host": "[::1]:9911"}, 200),
        ("PUT", "/latest/api/token", {"Host": "localhost"}, 200),
        ("PUT", "/latest/api/token", {"Host": "169.254.169.254"}, 200),
        ("PUT", "/latest/api/token", {"Content-Length": "999999"}, 413),
        ("BREW", "/latest/api/token", {}, 501),
    ],
)
def test_statuses(
    serve: Callable[[], Server], method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """Each request has the official helper's status, and nothing secret in the answer."""
    answered, body, _ = ask(serve(), method, path, headers)
    assert answered == status
    assert "secret1" not in body


def test_hop_limit_is_set_on_what_is_sent(serve: Callable[[], Server]) -> None:
    """Accepted connections inherit the IP time to live, and only loopback is listened on."""
    server = serve()
    assert server.server_address[0] == "127.0.0.1"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20):
        deadline = time.monotonic() + 20
        while not server._open and time.monotonic() < deadline:
            time.sleep(0.01)
        (accepted,) = server._open
        assert accepted.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 7


def test_tokens_expire_and_are_bounded() -> None:
    """A token is good for its time only, and the 257th costs the one that would end first."""
    now = [0.0]
    store = TokenStore(clock=lambda: now[0])
    short = store.issue(10)
    others = [store.issue(20) for _ in range(MOST_TOKENS - 1)]
    assert store.seconds_left(short) == 10
    last = store.issue(20)
    assert store.seconds_left(short) is None
    assert all(store.seconds_left(token) == 20 for token in [*others, last])
    now[0] = 20.0
    assert store.seconds_left(last) is None
    assert store.seconds_left("x") is None


def test_port_in_use_is_one_error(serve: Callable[[], Server]) -> None:
    """A port that is taken is named with the remedy."""
    port = serve().port
    routes = Routes(keeper=Keeper(Service().fetch, print), role_arn=ROLE)
    with pytest.raises(UsageError, match=rf"127\.0\.0\.1:{port}: Address already in use; choose"):
        Server(port=port, hop_limit=64, routes=routes)


def test_renewal_comes_ahead_without_anybody_asking(
    service: Service, serve: Callable[[], Server]
) -> None:
    """A short session is renewed half-way in the background, once."""
    service.lifetime, service.later = 4, 3600
    server = serve()
    service.wait_for_calls(2)
    status, body, _ = ask(server, "GET", "/credentials", {"Authorization": TOKEN})
    assert status == 200
    assert service.calls == [False, True]
    assert json.loads(body)["AccessKeyId"] in ("ASIA1", "ASIA2")


def test_valid_session_is_served_while_the_service_is_down(
    service: Service, serve: Callable[[], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed renewal is told with the time left, and clients notice nothing."""
    monkeypatch.setattr(keeper_module, "pause_before_renewal", lambda _: 0.5)
    server = serve()
    service.failure = UnavailableError("no route to the service")
    service.wait_for_calls(2)
    assert ask(server, "GET", "/credentials", {"Authorization": TOKEN})[0] == 200
    deadline = time.monotonic() + 10
    while not service.told and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "no route to the service (the session at hand lasts" in service.told[0]


def test_an_expired_session_is_an_honest_error(
    service: Service, serve: Callable[[], Server]
) -> None:
    """When nothing valid is left both endpoints say 503 with the cause, never empty keys."""
    service.lifetime = 3
    server = serve()
    service.failure = UnavailableError("no route to the service")
    deadline = time.monotonic() + 20
    while ask(server, "GET", "/credentials", {"Authorization": TOKEN})[0] == 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    status, body, _ = ask(server, "GET", "/credentials", {"Authorization": TOKEN})
    assert (status, json.loads(body)) == (
        503,
        {"code": "UnavailableError", "message": "no route to the service"},
    )
    status, body, _ = ask(server, "GET", KEYS + "worker", token_of(server))
    assert (status, json.loads(body)["Code"]) == (503, "UnavailableError")
    environ = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{server.port}/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": TOKEN,
    }
    provider: Any = ContainerProvider(environ=environ)
    provider._fetcher._sleep = lambda seconds: None
    with pytest.raises(CredentialRetrievalError, match="no route to the service"):
        provider.load()


def test_a_host_that_slept_renews_on_demand(service: Service, serve: Callable[[], Server]) -> None:
    """If the session ended unnoticed, the next request waits for one renewal and is served."""
    service.lifetime = 3600
    server = serve()
    keeper = server.routes.keeper
    assert keeper._current is not None
    keeper._current = keeper._current._replace(expires_at=int(time.time()) - 1)
    status, body, _ = ask(server, "GET", "/credentials", {"Authorization": TOKEN})
    assert (status, json.loads(body)["AccessKeyId"]) == (200, "ASIA2")
    assert service.calls == [False, True]


def test_many_clients_cause_no_further_fetch(service: Service, serve: Callable[[], Server]) -> None:
    """More clients at once than there are places all get the one session."""
    server = serve()
    statuses: list[int] = []

    def client() -> None:
        statuses.append(ask(server, "GET", "/credentials", {"Authorization": TOKEN})[0])

    threads = [threading.Thread(target=client) for _ in range(MOST_CONNECTIONS + 36)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert statuses == [200] * (MOST_CONNECTIONS + 36)
    assert service.calls == [False]


def test_slow_clients_cannot_hold_the_server(
    serve: Callable[[], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that say nothing, or a byte at a time, are cut off, and threads stay bounded."""
    monkeypatch.setattr(server_module, "REQUEST_LIMIT", 3.0)
    before = threading.active_count()
    server = serve()
    silent = [
        socket.create_connection(("127.0.0.1", server.port), timeout=20)
        for _ in range(MOST_CONNECTIONS + 10)
    ]
    try:
        silent[0].sendall(b"GET / HT")
        started = time.monotonic()
        status, _, _ = ask(server, "GET", "/credentials", {"Authorization": TOKEN})
        assert status == 200
        assert time.monotonic() - started < 15
        assert threading.active_count() - before <= MOST_CONNECTIONS + 2
        assert silent[0].recv(100) == b""
    finally:
        for connection in silent:
            connection.close()


def test_no_fetch_per_request_while_the_service_is_down() -> None:
    """Asking again and again for an ended session does not pass the asking on."""
    service = Service()
    keeper = Keeper(service.fetch, service.told.append)
    service.lifetime = -1
    with pytest.raises(UnavailableError, match="on its way"):
        keeper.start()
    try:
        service.failure = UnavailableError("down")
        for _ in range(50):
            with pytest.raises(UnavailableError):
                keeper.current(0.5)
        assert len(service.calls) <= 4
    finally:
        keeper.stop()


def test_the_wish_of_the_service_does_not_outlast_the_session() -> None:
    """With seconds left, an hour's Retry-After does not leave those who ask without keys."""
    service = Service()
    service.lifetime = 4
    failures: list[CredprocError | None] = [
        None,
        UnavailableError("busy", retry_after=3600),
        None,
    ]

    def fetch(renew: bool) -> SessionCredentials:  # noqa: FBT001
        service.failure = failures.pop(0) if failures else None
        return service.fetch(renew)

    keeper = Keeper(fetch, service.told.append)
    keeper.start()
    try:
        service.wait_for_calls(3)
        assert "busy" in service.told[0]
    finally:
        keeper.stop()


def test_an_unexpected_failure_does_not_end_the_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The renewing thread survives a bug, says so in one line, and renews the next time."""
    monkeypatch.setattr(keeper_module, "FIRST_PAUSE", 0.01)
    service = Service()
    outcomes: list[float] = [3.0, -1.0, 3600.0]

    def fetch(renew: bool) -> SessionCredentials:  # noqa: FBT001
        service.lifetime = outcomes.pop(0)
        if service.lifetime < 0:
            service.calls.append(renew)
            raise ZeroDivisionError
        return service.fetch(renew)

    keeper = Keeper(fetch, service.told.append)
    keeper.start()
    try:
        service.wait_for_calls(3)
        assert keeper.current(5).access_key_id in ("ASIA1", "ASIA3")
        assert "the renewal failed with ZeroDivisionError" in service.told[0]
    finally:
        keeper.stop()


@pytest.mark.parametrize(
    ("left", "least", "most"), [(3600, 1990, 2100), (900, 425, 450), (0, 1, 1)]
)
def test_pauses_before_renewal(left: float, least: float, most: float) -> None:
    """Long sessions are replaced 25 minutes before their end, short ones half-way."""
    assert least <= pause_before_renewal(left) <= most
