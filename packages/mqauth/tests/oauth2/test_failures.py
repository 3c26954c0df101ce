"""What oauth2 says of an issuer that is unwell, out of reach, slow, or answers nonsense."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from mqauth.errors import (
    InvalidCredentialError,
    IssuerRefusedError,
    IssuerUnavailableError,
    MQAuthError,
)
from mqauth_sandbox.faults import FaultMode
from mqauth_sandbox.oidc import OidcIssuer
from packages.mqauth.tests.oauth2.building import SECRET, Build, asking, build, failure
from packages.mqauth.tests.oauth2.servers import Answer, Serve, as_json


@pytest.mark.parametrize(
    ("mode", "kind", "complaint"),
    [
        ("error500", IssuerUnavailableError, "HTTP 500 server_error"),
        ("throttle", IssuerUnavailableError, "HTTP 429 temporarily_unavailable"),
        ("html", IssuerUnavailableError, "a web page instead of JSON"),
        ("not_json", IssuerUnavailableError, "instead of JSON"),
        ("garbage", IssuerUnavailableError, "more than 256 KiB"),
        ("not_jwt", InvalidCredentialError, "no JWT"),
        ("expired", InvalidCredentialError, r"expired 1 min \d s ago"),
    ],
)
def test_an_unwell_issuer(
    client: Build, issuer: OidcIssuer, mode: FaultMode, kind: type[MQAuthError], complaint: str
) -> None:
    """Each way to fail has its class and its cause, and passes when the issuer recovers."""
    provider = client(token_endpoint=issuer.token_endpoint)
    with issuer.faults.during(mode, retry_after=7):
        error = failure(provider)
    assert isinstance(error, kind)
    assert error.retryable
    assert error.retry_after == (7 if mode == "throttle" else None)
    assert re.search(complaint, str(error))
    assert provider.fetch(timeout=10).remaining() > 0


def test_an_issuer_that_hangs(client: Build, issuer: OidcIssuer) -> None:
    """A request that nobody answers ends at its deadline."""
    provider = client()
    started = time.monotonic()
    with issuer.faults.during("hang"):
        error = failure(provider, timeout=0.5)
    assert isinstance(error, IssuerUnavailableError)
    assert time.monotonic() - started < 10  # it would never end


def test_an_issuer_that_is_not_there(client: Build, issuer: OidcIssuer) -> None:
    """A closed port is named as what it is."""
    issuer.stop()
    error = failure(client())
    assert isinstance(error, IssuerUnavailableError)
    assert "Connection refused" in str(error)
    assert issuer.issuer_url in str(error)


def test_an_untrusted_certificate(client: Build) -> None:
    """A certificate of an unknown authority is an error that points at ca_file."""
    error = failure(client(ca_file=None))
    assert isinstance(error, IssuerUnavailableError)
    assert "cannot be trusted" in str(error)
    assert "ca_file" in str(error)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("-7", None), ("soon", None), ("9" * 20, None), (None, None)],
)
def test_retry_after_in_seconds(serve: Serve, header: str | None, seconds: float | None) -> None:
    """What the issuer asks to wait is passed on if it makes sense."""
    headers = {} if header is None else {"Retry_After": header}
    error = failure(asking(serve(lambda _: as_json({"error": "slow_down"}, 503, **headers))))
    assert isinstance(error, IssuerUnavailableError)
    assert error.retry_after == seconds


def test_retry_after_as_a_date(serve: Serve) -> None:
    """A date is read on the issuer's clock, which its Date header shows."""
    there = datetime(2020, 1, 1, tzinfo=UTC)
    headers = {
        "Date": format_datetime(there, usegmt=True),
        "Retry_After": format_datetime(there.replace(minute=2), usegmt=True),
    }
    error = failure(asking(serve(lambda _: as_json({}, 429, **headers))))
    assert error.retry_after == 120


@pytest.mark.parametrize(
    ("answer", "kind", "complaint"),
    [
        (as_json({}), InvalidCredentialError, "without an access_token"),
        (as_json({"access_token": 7}), InvalidCredentialError, "without an access_token"),
        (as_json({"access_token": " "}), InvalidCredentialError, "without an access_token"),
        (
            as_json({"access_token": "a.b.c", "expires_in": "soon"}),
            InvalidCredentialError,
            "expires_in",
        ),
        (
            as_json({"access_token": "a.b.c", "expires_in": []}),
            InvalidCredentialError,
            "no JWT",
        ),
        (as_json([]), IssuerUnavailableError, "instead of JSON"),
        ((200, {}, b"[" * 100_000), IssuerUnavailableError, "instead of JSON"),
        ((200, {}, b""), IssuerUnavailableError, "instead of JSON"),
        ((404, {}, b"<html>"), IssuerRefusedError, "HTTP 404"),
        ((401, {}, b""), IssuerRefusedError, "HTTP 401"),
        ((502, {}, b"<html>"), IssuerUnavailableError, "HTTP 502"),
        (as_json({"error": "temporarily_unavailable"}, 400), IssuerUnavailableError, "HTTP 400"),
        (as_json({"error": ["x"]}, 400), IssuerRefusedError, "refused"),
        (as_json({"error": "access_denied"}, 200), IssuerRefusedError, "access_denied"),
        ((200, {"Content-Length": "500"}, b"{"), IssuerUnavailableError, "cannot be reached"),
        ((200, {"Content-Encoding": "gzip"}, b"{}"), IssuerUnavailableError, "cannot be reached"),
    ],
)
def test_odd_answers(serve: Serve, answer: Answer, kind: type[MQAuthError], complaint: str) -> None:
    """Whatever a token endpoint may answer, it ends in the right class with a cause."""
    error = failure(asking(serve(lambda _: answer)))
    assert type(error) is kind
    assert complaint in str(error)


class Dripping:
    """Sends a beginning at once and then a byte now and then, for ever."""

    def __init__(self, beginning: bytes) -> None:
        """Listen."""
        self._beginning = beginning
        self._stop = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        """Stop dripping."""
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        self._socket.settimeout(0.05)
        while not self._stop.is_set():
            # Whoever has no time left may not come, or be gone by now.
            with contextlib.suppress(OSError):
                connection, _ = self._socket.accept()
                with connection:
                    self._drip(connection)

    def _drip(self, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(self._beginning)
        while not self._stop.wait(0.05):
            connection.sendall(b"x")


@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"",
    ],
)
def test_a_dripping_answer_ends_at_the_deadline(beginning: bytes) -> None:
    """Neither a body nor a header that comes byte by byte holds a fetch up."""
    server = Dripping(beginning)
    try:
        provider = build(
            client_id="celery", client_secret=SECRET, token_endpoint=f"{server.url}/token"
        )
        started = time.monotonic()
        error = failure(provider, timeout=0.5)
        assert isinstance(error, IssuerUnavailableError)
        assert time.monotonic() - started < 10  # it drips for ever
    finally:
        server.close()
