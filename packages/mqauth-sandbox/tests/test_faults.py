"""Issuers misbehave as asked, and can always be stopped."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from mqauth_sandbox.faults import Faults
from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.sts import StsEndpoint

LIMIT = 20.0
QUICK = LIMIT / 2
"""Seconds within which is at once, even on a machine that stands still now and then."""
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def issuer(tls_files: Any) -> Iterator[OidcIssuer]:
    """Run an issuer."""
    with OidcIssuer(
        certificate=tls_files.certificate, private_key=tls_files.private_key
    ) as running:
        yield running


@pytest.fixture
def client(tls_files: Any) -> Iterator[urllib3.PoolManager]:
    """Give an HTTP client that trusts the issuer and never retries."""
    with urllib3.PoolManager(ca_certs=str(tls_files.ca), retries=False, timeout=LIMIT) as manager:
        yield manager


def ask(
    client: urllib3.PoolManager, issuer: OidcIssuer, timeout: float | urllib3.Timeout = LIMIT
) -> urllib3.BaseHTTPResponse:
    """Ask for a token."""
    body = (
        f"grant_type=client_credentials&client_id={issuer.client_id}"
        f"&client_secret={issuer.client_secret}"
    )
    return client.request("POST", issuer.token_endpoint, body=body, headers=FORM, timeout=timeout)


def connect(issuer: OidcIssuer, tls_files: Any) -> ssl.SSLSocket:
    """Open a TLS connection that shows every byte and every reset."""
    context = ssl.create_default_context(cafile=str(tls_files.ca))
    port = int(issuer.issuer_url.rpartition(":")[2])
    raw = socket.create_connection(("localhost", port), timeout=10)
    try:
        return context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)
    except OSError:
        raw.close()
        raise


def send_get(connection: ssl.SSLSocket, path: str = "/nothing") -> None:
    """Send a request on an open connection."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


def read_answer(connection: ssl.SSLSocket) -> http.client.HTTPResponse:
    """Read one whole answer from an open connection."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer


def test_an_unknown_mode_names_the_nearest() -> None:
    """A misspelt mode is an error at once, not an issuer that stays well."""
    with pytest.raises(ValueError, match="did you mean 'hang'"):
        Faults().mode = "hangs"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="known: none, down"):
        Faults("?")  # type: ignore[arg-type]


def test_a_fault_can_be_set_for_a_while() -> None:
    """`during` restores what was set before, even when its block fails."""
    faults = Faults("slow", delay=1.0)

    def fail_while_throttled() -> None:
        with faults.during("throttle", retry_after=3, delay=9.0):
            assert (faults.mode, faults.retry_after, faults.delay) == ("throttle", 3, 9.0)
            raise KeyError

    with pytest.raises(KeyError):
        fail_while_throttled()
    assert (faults.mode, faults.retry_after, faults.delay) == ("slow", None, 1.0)
    with pytest.raises(TypeError, match="delays"), faults.during("slow", delays=1):
        pass
    faults.reset()
    assert (faults.mode, faults.delay, faults.clock_skew) == ("none", 2.0, 0.0)


def test_a_server_error_is_in_the_issuers_format(
    issuer: OidcIssuer, client: urllib3.PoolManager
) -> None:
    """`error500` is a 500 with a JSON error."""
    issuer.faults.mode = "error500"
    answer = ask(client, issuer)
    assert (answer.status, answer.json()["error"]) == (500, "server_error")


@pytest.mark.parametrize(("seconds", "header"), [(None, None), (7, "7"), (1.2, "2"), (0, "0")])
def test_throttling_may_say_how_long(
    issuer: OidcIssuer, client: urllib3.PoolManager, seconds: float | None, header: str | None
) -> None:
    """`throttle` is a 429 with Retry-After in whole seconds, rounded up, if one is set."""
    with issuer.faults.during("throttle", retry_after=seconds):
        answer = ask(client, issuer)
    assert (answer.status, answer.headers.get("Retry-After")) == (429, header)


def test_a_page_in_place_of_a_token(issuer: OidcIssuer, client: urllib3.PoolManager) -> None:
    """`html` is a 200 that is a web page."""
    issuer.faults.mode = "html"
    answer = ask(client, issuer)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.data.startswith(b"<!doctype html>")


def test_a_document_that_breaks_off(issuer: OidcIssuer, client: urllib3.PoolManager) -> None:
    """`not_json` is a 200 whose JSON ends too early."""
    issuer.faults.mode = "not_json"
    answer = ask(client, issuer)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.data)


def test_a_token_that_is_no_jwt(issuer: OidcIssuer, client: urllib3.PoolManager) -> None:
    """`not_jwt` is a good answer with an opaque token, and counts as no fetch."""
    issuer.faults.mode = "not_jwt"
    content = ask(client, issuer).json()
    assert content["access_token"].count(".") == 0
    assert content["expires_in"] == issuer.token_lifetime
    assert (issuer.fetches, issuer.token_requests[0].outcome) == (0, "not_jwt")


def test_a_token_that_has_run_out(issuer: OidcIssuer, client: urllib3.PoolManager) -> None:
    """`expired` is a good answer whose token expired a minute ago, whatever `expires_in` says."""
    issuer.faults.mode = "expired"
    before = int(time.time())
    content = ask(client, issuer).json()
    payload = content["access_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert before - 60 <= claims["exp"] <= time.time() - 60
    assert claims["exp"] - claims["iat"] == issuer.token_lifetime
    assert (issuer.fetches, issuer.token_requests[0].outcome) == (0, "expired")


def test_garbage_is_large_and_random(issuer: OidcIssuer, client: urllib3.PoolManager) -> None:
    """`garbage` is five mebibytes that are never the same."""
    issuer.faults.mode = "garbage"
    first, second = ask(client, issuer).data, ask(client, issuer).data
    assert len(first) == len(second) == 5 * 1024 * 1024
    assert first != second


def test_down_resets_new_connections(issuer: OidcIssuer, tls_files: Any) -> None:
    """`down` resets a connection before TLS is spoken."""
    issuer.faults.mode = "down"
    with pytest.raises(ConnectionResetError):
        connect(issuer, tls_files)
    assert issuer.requests == 0
    issuer.faults.mode = "none"
    with connect(issuer, tls_files) as connection:
        send_get(connection)
        assert read_answer(connection).status == 404


def test_down_resets_live_connections(issuer: OidcIssuer, tls_files: Any) -> None:
    """`down` resets a connection that was kept alive, at its next request."""
    with connect(issuer, tls_files) as connection:
        send_get(connection)
        assert read_answer(connection).status == 404
        issuer.faults.mode = "down"
        # Read beneath TLS: Python's ssl reports some resets as an early end.
        with socket.socket(fileno=os.dup(connection.fileno())) as beneath:
            beneath.settimeout(10)
            send_get(connection)
            with pytest.raises(ConnectionResetError):
                beneath.recv(1)


def test_slow_answers_are_good_ones(issuer: OidcIssuer, client: urllib3.PoolManager) -> None:
    """`slow` answers as usual once its delay has passed."""
    issuer.faults.delay = 0.3
    issuer.faults.mode = "slow"
    started = time.monotonic()
    assert ask(client, issuer).json()["token_type"] == "Bearer"
    assert 0.3 <= time.monotonic() - started < LIMIT
    assert issuer.fetches == 1


def test_a_hang_ends_only_with_the_client(issuer: OidcIssuer, client: urllib3.PoolManager) -> None:
    """`hang` takes the request, never answers it, and does not hold up anybody else."""
    issuer.faults.mode = "hang"
    with pytest.raises(ReadTimeoutError):
        ask(client, issuer, timeout=urllib3.Timeout(connect=LIMIT, read=0.2))
    assert issuer.wait_for_requests(1, timeout=LIMIT)
    assert issuer.token_requests[0].outcome == "hang"
    issuer.faults.mode = "none"
    assert ask(client, issuer).status == 200


@pytest.mark.parametrize("mode", ["hang", "slow"])
def test_stopping_waits_for_no_fault(
    issuer: OidcIssuer, client: urllib3.PoolManager, mode: str
) -> None:
    """`stop` is quick though a request hangs, ends the connection and leaves no thread."""
    before = set(threading.enumerate())
    failures: list[Exception] = []

    def ask_and_fail() -> None:
        try:
            ask(client, issuer, timeout=60)
        except HTTPError as error:
            failures.append(error)

    issuer.faults.delay = 60
    issuer.faults.mode = mode  # type: ignore[assignment]
    asking = threading.Thread(target=ask_and_fail)
    asking.start()
    _wait_until_inside(before | {asking})
    started = time.monotonic()
    issuer.stop()
    asking.join(timeout=LIMIT)
    assert time.monotonic() - started < QUICK
    assert len(failures) == 1
    assert not [t for t in threading.enumerate() if t not in before]


def _wait_until_inside(others: set[threading.Thread]) -> None:
    # The server's thread for our connection is there; what it does next needs no waiting for,
    # since stopping a handshake has to be as quick as stopping a hang.
    deadline = time.monotonic() + LIMIT
    while not set(threading.enumerate()) - others:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_silent_client_holds_up_nobody(issuer: OidcIssuer, client: urllib3.PoolManager) -> None:
    """A client that connects and says nothing blocks neither others nor `stop`."""
    port = int(issuer.issuer_url.rpartition(":")[2])
    with socket.create_connection(("localhost", port)):
        assert ask(client, issuer).status == 200
        started = time.monotonic()
        issuer.stop()
        assert time.monotonic() - started < QUICK


@pytest.mark.parametrize(("affects", "token", "keys"), [("tokens", 500, 200), ("keys", 200, 500)])
def test_half_an_issuer_can_fail(
    issuer: OidcIssuer, client: urllib3.PoolManager, affects: str, token: int, keys: int
) -> None:
    """A fault may concern only the token endpoint, or only discovery and the keys."""
    with issuer.faults.during("error500", affects=affects):
        assert ask(client, issuer).status == token
        assert client.request("GET", issuer.jwks_uri).status == keys


def test_half_an_issuer_can_be_down(issuer: OidcIssuer, client: urllib3.PoolManager) -> None:
    """With tokens down the broker can still read the keys."""
    with issuer.faults.during("down", affects="tokens"):
        assert client.request("GET", issuer.jwks_uri).status == 200
        with pytest.raises(HTTPError):
            ask(client, issuer)
    assert issuer.token_requests[0].outcome == "down"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Content-Length: 2000000", 413),
        ("Content-Length: -1", 400),
        ("Content-Length: many", 400),
        ("Transfer-Encoding: chunked", 411),
    ],
)
def test_bodies_are_bounded(issuer: OidcIssuer, tls_files: Any, headers: str, status: int) -> None:
    """A body that is too large or of unknown length is refused unread."""
    with connect(issuer, tls_files) as connection:
        connection.sendall(f"POST /oauth/token HTTP/1.1\r\n{headers}\r\n\r\n".encode())
        assert read_answer(connection).status == status


def test_head_has_no_body(issuer: OidcIssuer, client: urllib3.PoolManager) -> None:
    """HEAD gets the headers of GET alone, and the connection stays usable."""
    head = client.request("HEAD", issuer.jwks_uri)
    get = client.request("GET", issuer.jwks_uri)
    assert head.data == b""
    assert head.headers["Content-Length"] == str(len(get.data))


def test_starting_and_stopping_twice_does_no_harm(
    tls_files: Any, client: urllib3.PoolManager
) -> None:
    """Start and stop may be called in any state, and the port holds."""
    issuer = OidcIssuer(certificate=tls_files.certificate, private_key=tls_files.private_key)
    url = issuer.issuer_url
    issuer.stop()
    issuer.start()
    issuer.start()
    assert ask(client, issuer).status == 200
    issuer.stop()
    issuer.stop()
    assert issuer.issuer_url == url


@pytest.mark.parametrize(
    ("mode", "status", "kind"),
    [
        ("error500", 500, "text/xml"),
        ("throttle", 400, "text/xml"),
        ("html", 200, "text/html; charset=utf-8"),
        ("not_json", 200, "text/xml"),
        ("garbage", 200, "application/json"),
    ],
)
def test_sts_fails_in_its_own_format(
    tls_files: Any, client: urllib3.PoolManager, mode: str, status: int, kind: str
) -> None:
    """The same faults on the STS endpoint look as AWS's do, signed or not."""
    with StsEndpoint(certificate=tls_files.certificate, private_key=tls_files.private_key) as sts:
        sts.faults.mode = mode  # type: ignore[assignment]
        body = "Action=AssumeRole&Version=2011-06-15"
        answer = client.request("POST", sts.url + "/", body=body, headers=FORM)
        assert (answer.status, answer.headers["Content-Type"]) == (status, kind)
        if kind == "text/xml":
            assert (b"</" not in answer.data) == (mode == "not_json")
        assert [(call.action, call.outcome) for call in sts.calls] == [("AssumeRole", mode)]
        assert sts.fetches == 0
