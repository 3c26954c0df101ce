"""The provider oauth2, against a real issuer and against servers that behave like none."""

from __future__ import annotations

import base64
import json
import logging
import re
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mqauth.config.registry import provider_class
from mqauth.config.resolution import resolve
from mqauth.credentials import BrokerCredentials
from mqauth.errors import (
    ConfigurationError,
    InsecureTransportError,
    InvalidCredentialError,
    IssuerRefusedError,
    IssuerUnavailableError,
    MQAuthError,
)
from mqauth.jwt_claims import unverified_claims
from mqauth.provider import Provider
from mqauth_sandbox.faults import FaultMode
from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.tls import CertificateFiles

SECRET = "canary/secret+with=signs"

Build = Callable[..., Provider]
Answer = tuple[int, dict[str, str], bytes]


def build(**options: object) -> Provider:
    """Build the provider as a source does."""
    resolved = resolve("oauth2", explicit=options, environ={})
    return provider_class("oauth2").from_options(resolved.options)


@pytest.fixture
def client(issuer: OidcIssuer, certificates: CertificateFiles) -> Build:
    """Build providers that the issuer knows."""

    def make(**options: object) -> Provider:
        known = {
            "client_id": issuer.client_id,
            "client_secret": issuer.client_secret,
            "ca_file": certificates.ca_file,
        }
        if "token_endpoint" not in options:
            known["issuer"] = issuer.issuer_url
        return build(**{**known, **options})

    return make


class Server:
    """Answers HTTP on loopback with whatever a test wants, and remembers what was asked."""

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        """Listen; `answer` gets the path."""
        self.requests: list[tuple[str, str | None]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(answer))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _handler(self, answer: Callable[[str], Answer]) -> type[BaseHTTPRequestHandler]:
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                requests.append((self.path, self.headers.get("Authorization")))
                status, headers, body = answer(self.path)
                self.send_response_only(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST

        return Handler


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[str], Answer]], Server]]:
    """Start servers for the time of a test."""
    servers: list[Server] = []

    def start(answer: Callable[[str], Answer]) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


Serve = Callable[[Callable[[str], Answer]], Server]


def as_json(content: object, status: int = 200, **headers: str) -> Answer:
    """Return a JSON answer; underscores in header names become dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": "application/json", **named}, json.dumps(content).encode()


def asking(server: Server, **options: object) -> Provider:
    """Build a provider that asks a server of the test for tokens."""
    endpoint = {"token_endpoint": f"{server.url}/token"} if "issuer" not in options else {}
    return build(client_id="celery", client_secret=SECRET, **endpoint, **options)


def failure(provider: Provider, timeout: float = 5) -> MQAuthError:
    """Return the error of a fetch that must fail, after checking what holds for all of them."""
    with pytest.raises(MQAuthError) as caught:
        provider.fetch(timeout=timeout)
    error = caught.value
    assert "\n" not in str(error)
    assert error.remedy
    shown = "".join(
        traceback.TracebackException.from_exception(error, capture_locals=True).format()
    )
    encoded = base64.b64encode(f"celery:{SECRET}".encode()).decode()
    assert SECRET not in shown
    assert encoded not in shown
    return error


@pytest.mark.parametrize("auth_method", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("discovered", [True, False])
def test_a_token_becomes_a_credential(
    client: Build,
    issuer: OidcIssuer,
    auth_method: str,
    discovered: bool,  # noqa: FBT001
) -> None:
    """With and without discovery, and either way to authenticate, a token comes back."""
    given = {} if discovered else {"token_endpoint": issuer.token_endpoint}
    credentials = client(auth_method=auth_method, **given).fetch(timeout=10)
    claims = unverified_claims(credentials.password)
    assert claims["iss"] == issuer.issuer_url
    assert credentials.expires_at == datetime.fromtimestamp(claims["exp"], UTC)
    assert credentials.issued_at == datetime.fromtimestamp(claims["iat"], UTC)
    assert (credentials.username, credentials.principal) == ("", issuer.client_id)
    assert (credentials.provider, credentials.clock_skew) == ("oauth2", 0.0)
    assert issuer.fetches == 1


def test_what_is_asked_for(client: Build, issuer: OidcIssuer) -> None:
    """Scope, audience, resource and the user name at login go where they belong."""
    issuer.audiences = ["https://a.example", "https://r.example"]
    scope = " ".join(issuer.scopes[:2])
    credentials = client(
        scope=scope,
        audience="https://a.example",
        resource="https://r.example",
        username="celery",
    ).fetch(timeout=10)
    claims = unverified_claims(credentials.password)
    assert claims["scope"] == scope
    assert claims["aud"] == ["https://a.example", "https://r.example"]
    assert credentials.username == "celery"


def test_every_fetch_is_a_new_token(client: Build, issuer: OidcIssuer) -> None:
    """Nothing is remembered between fetches but the discovered endpoint."""
    provider = client()
    tokens = {provider.fetch(timeout=10).password for _ in range(3)}
    assert len(tokens) == issuer.fetches == 3


def test_the_identity_tells_who_and_what(client: Build) -> None:
    """Equal options make equal identities, different scopes different ones, secrets none."""
    assert client().identity == client(client_secret=SECRET).identity
    assert client().identity != client(scope="a").identity
    assert client().identity != client(username="a").identity
    assert SECRET not in client(client_secret=SECRET).identity
    assert client().shareable


@pytest.mark.parametrize("skew", [-3600.0, -30.0, 30.0, 3600.0])
def test_the_issuers_clock_is_noticed(client: Build, issuer: OidcIssuer, skew: float) -> None:
    """A token is good for its life on this host's clock, whatever the issuer's says."""
    issuer.faults.clock_skew = skew
    credentials = client().fetch(timeout=10)
    assert credentials.clock_skew == pytest.approx(skew, abs=1.5)
    assert credentials.remaining() == pytest.approx(issuer.token_lifetime, abs=3)
    assert credentials.lifetime == pytest.approx(issuer.token_lifetime, abs=2)


def test_a_difference_within_the_headers_precision_is_none(
    client: Build, issuer: OidcIssuer
) -> None:
    """A second more or less is what a header of whole seconds cannot tell."""
    issuer.faults.clock_skew = 1.0
    assert client().fetch(timeout=10).clock_skew == 0.0


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


def test_discovery_that_fails(client: Build, issuer: OidcIssuer) -> None:
    """An issuer that cannot be discovered now is one that may be later."""
    provider = client()
    for mode in ("error500", "html", "garbage"):
        with issuer.faults.during(mode, affects="everything"):
            assert isinstance(failure(provider), IssuerUnavailableError)
    assert issuer.requests == 0
    assert provider.fetch(timeout=10).remaining() > 0


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, IssuerRefusedError),
        (403, IssuerRefusedError),
        (404, IssuerRefusedError),
        (429, IssuerUnavailableError),
        (500, IssuerUnavailableError),
        (503, IssuerUnavailableError),
        (302, IssuerUnavailableError),
    ],
)
@pytest.mark.parametrize(
    "body", [b'{"error": "Realm does not exist"}', b'{"message": "no"}', b"<html></html>", b""]
)
def test_discovery_that_is_refused(
    serve: Serve, status: int, kind: type[MQAuthError], body: bytes
) -> None:
    """A configuration that is not served is told by URL and status, whatever the body is."""
    server = serve(lambda _: (status, {"Location": "/"}, body))
    error = failure(asking(server, issuer=f"{server.url}/realms/x"))
    assert type(error) is kind
    assert error.retryable is (kind is IssuerUnavailableError)
    assert f"HTTP {status}" in str(error)
    assert f"{server.url}/realms/x/.well-known/openid-configuration" in str(error)


def test_an_issuer_that_hangs(client: Build, issuer: OidcIssuer) -> None:
    """A request that nobody answers ends at its deadline."""
    provider = client()
    started = time.monotonic()
    with issuer.faults.during("hang"):
        error = failure(provider, timeout=0.5)
    assert isinstance(error, IssuerUnavailableError)
    assert time.monotonic() - started < 2


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


def test_a_file_of_authorities_without_any(client: Build) -> None:
    """The file is blamed, before anybody is asked."""
    with pytest.raises(
        ConfigurationError, match=r"ca_file /etc/passwd .* holds no PEM certificate"
    ):
        client(ca_file="/etc/passwd")


def test_a_wrong_secret(client: Build, issuer: OidcIssuer) -> None:
    """The issuer's code and description are passed on, and asking again is not worth it."""
    error = failure(client(client_secret=SECRET))
    assert isinstance(error, IssuerRefusedError)
    assert "refused: HTTP 401 invalid_client: unknown client or wrong secret" in str(error)
    assert "client_secret" in str(error.remedy)
    assert not error.retryable
    assert issuer.fetches == 0


def test_a_secret_from_a_rotated_file(client: Build, issuer: OidcIssuer, tmp_path: Path) -> None:
    """A secret that is corrected on disk works at the next fetch."""
    file = tmp_path / "secret"
    file.write_text(SECRET)
    provider = client(client_secret=None, client_secret_file=file)
    assert isinstance(failure(provider), IssuerRefusedError)
    file.write_text(f"{issuer.client_secret}\n")
    assert provider.fetch(timeout=10).remaining() > 0


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        base64.b64encode(f"celery:{SECRET}".encode()).decode(),
        base64.b64encode(SECRET.encode()).decode(),
        "canary%2Fsecret%2Bwith%3Dsigns",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2ln",
    ],
)
@pytest.mark.parametrize("field", ["error", "error_description"])
def test_an_echoed_secret_is_scrubbed(serve: Serve, field: str, echo: str) -> None:
    """Whatever an issuer repeats of what it got, in whichever encoding, no error shows it."""
    answer = {"error": "invalid_client", field: f"bad\x1b[31m '{echo}'\n{'x' * 5000}"}
    error = failure(asking(serve(lambda _: as_json(answer, 400))))
    assert isinstance(error, IssuerRefusedError)
    assert echo not in str(error)
    assert "********" in str(error)
    assert "\x1b" not in str(error)
    assert len(str(error)) < 800


def test_redirects_are_not_followed(serve: Serve) -> None:
    """A secret goes to the configured address and to no other."""
    elsewhere = serve(lambda _: as_json({}))
    server = serve(lambda _: (307, {"Location": f"{elsewhere.url}/token"}, b""))
    error = failure(asking(server))
    assert "redirect" in str(error)
    assert elsewhere.requests == []
    assert len(server.requests) == 1


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


def test_opaque_tokens_end_as_the_answer_says(serve: Serve) -> None:
    """A token that cannot be read ends `expires_in` seconds after it was asked for."""
    content = {"access_token": "opaque", "expires_in": "60", "token_type": "bearer"}
    provider = asking(serve(lambda _: as_json(content)), token_format="opaque")
    credentials = provider.fetch(timeout=5)
    assert credentials.password.reveal() == "opaque"
    assert 55 < credentials.remaining() <= 60
    assert credentials.lifetime == pytest.approx(60)
    assert credentials.principal == "celery"


@pytest.mark.parametrize("expires_in", [None, 0, -1])
def test_an_opaque_token_without_an_end_is_refused(serve: Serve, expires_in: object) -> None:
    """Nobody could renew in time what ends at an unknown moment."""
    content = {"access_token": "opaque", "expires_in": expires_in}
    error = failure(asking(serve(lambda _: as_json(content)), token_format="opaque"))
    assert isinstance(error, InvalidCredentialError)
    assert "expires_in" in str(error)


def test_another_issuers_configuration_is_refused(serve: Serve) -> None:
    """A document that names another issuer is not believed (OpenID Connect Discovery, 4.3)."""
    document = {"issuer": "https://evil.example", "token_endpoint": "http://127.0.0.1:1/token"}
    server = serve(lambda _: as_json(document))
    error = failure(asking(server, issuer=server.url))
    assert isinstance(error, ConfigurationError)
    assert "https://evil.example" in str(error)
    server = serve(lambda _: as_json({"error": "not here"}))
    assert "names no issuer" in str(failure(asking(server, issuer=server.url)))


@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [
        (None, InvalidCredentialError),
        (7, InvalidCredentialError),
        ("/token", ConfigurationError),
        ("http://issuer.example/token", InsecureTransportError),
    ],
)
def test_a_configuration_without_a_safe_endpoint(
    serve: Serve, endpoint: object, kind: type[MQAuthError]
) -> None:
    """A discovered endpoint is held to the same rules as a configured one."""
    server = serve(lambda _: as_json({"issuer": server.url, "token_endpoint": endpoint}))
    assert type(failure(asking(server, issuer=server.url))) is kind


def test_discovery_happens_once_and_again_after_a_failure(serve: Serve, issuer: OidcIssuer) -> None:
    """The endpoint is remembered while it works, and looked up anew once it does not."""
    token, path = issuer.mint(), "/old"

    def answer(asked: str) -> Answer:
        if asked.endswith("openid-configuration"):
            return as_json({"issuer": server.url, "token_endpoint": server.url + path})
        return as_json({"access_token": token}) if asked == path else (404, {}, b"")

    server = serve(answer)
    provider = asking(server, issuer=f"{server.url}/")
    provider.fetch(timeout=5)
    provider.fetch(timeout=5)
    path = "/new"
    assert isinstance(failure(provider), IssuerRefusedError)
    provider.fetch(timeout=5)
    discovery = "/.well-known/openid-configuration"
    assert [asked for asked, _ in server.requests] == [
        discovery,
        "/old",
        "/old",
        "/old",
        discovery,
        "/new",
    ]


def test_netrc_is_left_alone(serve: Serve, tmp_path: Path) -> None:
    """A password in ~/.netrc for the issuer's host is not sent to it."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password canary\n")
    (tmp_path / ".netrc").chmod(0o600)
    server = serve(lambda _: as_json({}, 404))
    failure(asking(server, issuer=server.url))
    assert [authorization for _, authorization in server.requests] == [None]


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
        self._socket.settimeout(5)
        connection, _ = self._socket.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(self._beginning)
            while not self._stop.wait(0.05):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return


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
        assert time.monotonic() - started < 1.5
    finally:
        server.close()


@pytest.mark.parametrize(
    ("options", "kind", "complaint"),
    [
        ({}, ConfigurationError, "issuer or token_endpoint"),
        ({"issuer": "http://issuer.example"}, InsecureTransportError, "plain HTTP"),
        ({"token_endpoint": "http://10.0.0.1/token"}, InsecureTransportError, "plain HTTP"),
        ({"issuer": "http://localhost.example"}, InsecureTransportError, "plain HTTP"),
        ({"issuer": "issuer.example"}, ConfigurationError, "no absolute URL"),
        ({"issuer": "ftp://issuer.example"}, ConfigurationError, "no absolute URL"),
        ({"issuer": "https://issuer.example:x"}, ConfigurationError, "no absolute URL"),
        ({"issuer": "https://[::1"}, ConfigurationError, "no absolute URL"),
        ({"issuer": "https://a b"}, ConfigurationError, "no absolute URL"),
        ({"issuer": "https://me:canary@issuer.example"}, ConfigurationError, "user name"),
        ({"issuer": "https://i", "auth_method": "none"}, ConfigurationError, "auth_method"),
        ({"issuer": "https://i", "token_format": "saml"}, ConfigurationError, "token_format"),
        ({"issuer": "https://i", "ca_file": "/not/there"}, ConfigurationError, "ca_file"),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    options: dict[str, str], kind: type[MQAuthError], complaint: str
) -> None:
    """Contradictions and unsafe addresses are found before anything is sent."""
    with pytest.raises(kind, match=complaint) as caught:
        build(client_id="celery", client_secret=SECRET, **options)
    assert type(caught.value) is kind
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"issuer": "http://localhost:8080/realms/jobs"},
        {"issuer": "http://127.0.0.7"},
        {"issuer": "http://[::1]:8080"},
        {"issuer": "http://keycloak:8080", "insecure_issuer": "yes"},
        {"issuer": "https://issuer.example", "token_endpoint": "https://issuer.example/token"},
    ],
)
def test_what_may_be_is_accepted(options: dict[str, str]) -> None:
    """Loopback needs no TLS, and elsewhere the user may insist."""
    assert build(client_id="celery", client_secret=SECRET, **options).identity


@pytest.mark.parametrize("auth_method", ["client_secret_basic", "client_secret_post"])
def test_a_secret_of_any_characters(issuer: OidcIssuer, client: Build, auth_method: str) -> None:
    """Each character reaches the issuer, form-encoded in basic as RFC 6749 (2.3.1) says."""
    plain, issuer.client_secret = issuer.client_secret, "per%cent+plus:colon /€ü"
    try:
        provider = client(client_secret=issuer.client_secret, auth_method=auth_method)
        assert provider.fetch(timeout=10).password
    finally:
        issuer.client_secret = plain


def test_what_is_on_this_host_passes_no_proxy(
    client: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that the environment names never sees what goes to a loopback address."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client().fetch(timeout=10).password


def test_no_secret_in_any_log(
    client: Build, issuer: OidcIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG, neither secret nor token shows in what any library logs."""
    caplog.set_level(logging.DEBUG)
    fetched: list[BrokerCredentials] = []
    for auth_method in ("client_secret_basic", "client_secret_post"):
        provider = client(auth_method=auth_method)
        fetched.append(provider.fetch(timeout=10))
        with issuer.faults.during("error500"):
            failure(provider)
    pair = base64.b64encode(f"{issuer.client_id}:{issuer.client_secret}".encode()).decode()
    logged = "\n".join(_everything(record) for record in caplog.records)
    assert "/oauth/token" in logged
    for secret in (issuer.client_secret, pair, *(found.password.reveal() for found in fetched)):
        assert secret not in logged


def _everything(record: logging.LogRecord) -> str:
    values: dict[str, Any] = vars(record)
    return f"{logging.Formatter().format(record)} {values!r}"
