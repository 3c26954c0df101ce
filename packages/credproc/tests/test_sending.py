"""Endpoints, proxies, HTTP and TLS: what goes over the wire, and what may come back."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import botocore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credproc.answer import read_credentials
from credproc.arns import Target, check_target
from credproc.cache import SDK_WINDOW, fresh_until
from credproc.create_session import Exchange, create_session
from credproc.endpoint import SUFFIXES, Endpoint, parse_url, resolve_endpoint
from credproc.errors import AnswerError, RefusedError, ThrottledError, UnavailableError, UsageError
from credproc.http1 import HttpError, Response, read_response
from credproc.options import SessionOptions, build
from credproc.proxies import bypasses, choose_proxy
from credproc.refusals import clock_skew, refusal
from credproc.signing import query_string
from credproc.tls import make_context
from mqauth_sandbox.pki import Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint

ARNS = {
    "role_arn": "arn:aws:iam::123456789012:role/path/app",
    "profile_arn": "arn:aws:rolesanywhere:eu-west-1:123456789012:profile/1",
    "trust_anchor_arn": "arn:aws:rolesanywhere:eu-west-1:123456789012:trust-anchor/1",
}
GOOD = {
    "accessKeyId": "ASIA1",
    "secretAccessKey": "secret",
    "sessionToken": "token",
    "expiration": "2099-01-02T03:04:05Z",
}


def options_of(endpoint: RolesAnywhereEndpoint, pki: Pki, folder: Path) -> SessionOptions:
    """Return options with which the endpoint opens a session."""
    files = pki.issue().write(folder)
    return SessionOptions(
        endpoint.role_arn,
        endpoint.profile_arn,
        endpoint.trust_anchor_arn,
        endpoint=endpoint.url,
        certificate=str(files.certificate),
        private_key=str(files.private_key),
        ca_bundle=str(endpoint.ca_file),
    )


def test_hosts_are_botocores() -> None:
    """Every partition that botocore knows has botocore's domains."""
    path = Path(botocore.__file__).parent / "data" / "partitions.json"
    theirs = {
        partition["id"]: (
            partition["outputs"]["dnsSuffix"],
            partition["outputs"]["dualStackDnsSuffix"],
        )
        for partition in json.loads(path.read_text())["partitions"]
    }
    assert theirs == SUFFIXES


@pytest.mark.parametrize(
    ("fips", "dual", "host"),
    [
        (False, False, "rolesanywhere.eu-west-1.amazonaws.com"),
        (True, False, "rolesanywhere-fips.eu-west-1.amazonaws.com"),
        (False, True, "rolesanywhere.eu-west-1.api.aws"),
        (True, True, "rolesanywhere-fips.eu-west-1.api.aws"),
    ],
)
def test_fips_and_dual_stack(fips: bool, dual: bool, host: str) -> None:  # noqa: FBT001
    """AWS's own variables choose the host."""
    environ = {"AWS_USE_FIPS_ENDPOINT": str(fips), "AWS_USE_DUALSTACK_ENDPOINT": str(dual)}
    options = build(dict(ARNS), environ)
    assert resolve_endpoint(options, check_target(options)).authority == host


def test_no_keys_in_clear() -> None:
    """Without TLS, only this host is an endpoint: the answer holds the keys."""
    for host in ("localhost:1", "127.0.0.1", "[::1]:80"):
        options = build({**ARNS, "endpoint": f"http://{host}"}, {})
        assert resolve_endpoint(options, check_target(options)).scheme == "http"
    options = build({**ARNS, "endpoint": "http://127.example.com"}, {})
    with pytest.raises(UsageError, match="in clear"):
        resolve_endpoint(options, check_target(options))


def test_an_unknown_partition() -> None:
    """A partition that nobody knows is a usage error that lists the known ones."""
    with pytest.raises(UsageError, match="aws-iso-f"):
        resolve_endpoint(build(dict(ARNS), {}), Target("aws-moon", "moon-1"))


@pytest.mark.parametrize(
    ("text", "authority", "path"),
    [
        ("https://host", "host", ""),
        ("HTTPS://host:8443/base/", "host:8443", "/base"),
        ("host:1", "host:1", ""),
        ("http://[::1]:80", "[::1]", ""),
    ],
)
def test_urls(text: str, authority: str, path: str) -> None:
    """A URL is taken apart; the port of its scheme is not in the Host header."""
    endpoint = parse_url(text, "--endpoint")
    assert (endpoint.authority, endpoint.path) == (authority, path)


@pytest.mark.parametrize(
    "text",
    [
        *("ftp://h", "https://", "https://h:x", "https://h:0", "https://a b", "https://[::1:5"),
        *("https://[::1]5", "https://h:" + "9" * 5000, "https://h\u00e9.example"),
    ],
)
def test_bad_urls(text: str) -> None:
    """What is no usable URL is refused."""
    with pytest.raises(UsageError):
        parse_url(text, "--endpoint")


@pytest.mark.parametrize(
    "text",
    [
        "http://me:s3cr3t/x@h:1",
        "http://me:12s3cr3t@/x@h:1",
        "me:s3cr3t/x@h:1",
        "http://me:12/s3cr3t@h:1",
        "http://me:s3cr3t",
    ],
)
def test_a_password_that_is_no_login_is_not_shown(text: str) -> None:
    """A proxy's password with a slash in it stands where the port is, and is not quoted."""
    with pytest.raises(UsageError, match=r"HTTPS_PROXY (is no usable URL|has a port)") as caught:
        parse_url(text, "HTTPS_PROXY")
    assert "s3cr3t" not in str(caught.value)
    assert "12" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "bypassed"),
    [
        ("amazonaws.com", True), (".amazonaws.com", True), ("*.amazonaws.com", True), ("*", True),
        ("rolesanywhere.eu-west-1.amazonaws.com", True), ("amazonaws.com:443", True),
        ("amazonaws.com:8443", False), ("naws.com", False), ("", False), ("10.0.0.0/8", False),
    ],
)  # fmt: skip
def test_no_proxy(entry: str, bypassed: bool) -> None:  # noqa: FBT001
    """NO_PROXY means what it means to the official helper."""
    endpoint = Endpoint("https", "rolesanywhere.eu-west-1.amazonaws.com", 443)
    assert bypasses(endpoint, f"other, {entry}") is bypassed


def test_proxies() -> None:
    """HTTPS_PROXY counts for https, in both spellings, and never for a loopback host."""
    endpoint = Endpoint("https", "example.com", 443)
    proxy = choose_proxy(endpoint, {"https_proxy": "http://user:pw@proxy:3128"})
    assert proxy is not None
    assert (proxy.host, proxy.port, proxy.credentials) == ("proxy", 3128, "user:pw")
    assert "pw" not in repr(proxy)
    assert choose_proxy(endpoint, {"HTTP_PROXY": "http://proxy"}) is None
    local = Endpoint("https", "127.0.0.1", 443)
    assert choose_proxy(local, {"HTTPS_PROXY": "http://proxy"}) is None
    with pytest.raises(UsageError):
        choose_proxy(endpoint, {"HTTPS_PROXY": "https://proxy"})


def test_query_is_encoded() -> None:
    """All but RFC 3986's unreserved characters is percent-encoded, and sorted by name."""
    assert query_string([("b", "a:b/c"), ("a", "ä ~-._+")]) == "a=%C3%A4%20~-._%2B&b=a%3Ab%2Fc"


def received(data: bytes, pieces: int) -> Response:
    """Read an answer that arrives in pieces of a size."""
    parts = [data[at : at + pieces] for at in range(0, len(data), pieces)]
    return read_response(lambda _: parts.pop(0) if parts else b"")


@given(st.integers(1, 40))
def test_answers_in_pieces(size: int) -> None:
    """Content-Length, chunks and the end of the connection all end a body, however it arrives."""
    head = b"HTTP/1.1 201 Created\r\nContent-Type: a\r\n"
    for data in (
        head + b"Content-Length: 5\r\n\r\nhello, and more",
        head + b"\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"Content-Length: 5\r\n\r\nhello",
        head + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    ):
        answer = received(data, size)
        assert (answer.status, answer.body) == (201, b"hello")
        assert answer.headers["content-type"] == "a"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200", b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 60000,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300000,
    ],
)  # fmt: skip
def test_answers_that_are_none(data: bytes) -> None:
    """What is cut off, endless or not HTTP is refused."""
    with pytest.raises(HttpError):
        received(data, 16384)


def test_tls_settings_are_the_standard_librarys() -> None:
    """Our context is as strict as `ssl.create_default_context()`."""
    ours = make_context(verify=True, ca_bundle=None)
    theirs = ssl.create_default_context()
    assert ours.verify_mode == theirs.verify_mode == ssl.CERT_REQUIRED
    assert ours.check_hostname
    assert ours.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert int(ours.options) & int(theirs.options) == int(theirs.options)
    trusted_first = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST
    assert ours.verify_flags & trusted_first == trusted_first


def answer_of(**changes: object) -> Response:
    """Return an answer with credentials that have some fields changed."""
    found = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return Response(201, {}, json.dumps({"credentialSet": [{"credentials": found}]}).encode())


def test_a_good_answer() -> None:
    """Each field arrives where it belongs, and no secret shows."""
    credentials = read_credentials(answer_of())
    assert credentials.access_key_id == "ASIA1"
    assert credentials.secret_access_key.reveal() == "secret"
    assert credentials.expiration_text == GOOD["expiration"]
    assert "secret" not in repr(credentials).replace("secret_access_key", "")
    assert "token" not in repr(credentials).replace("session_token", "")


@pytest.mark.parametrize("text", ["2099-01-02T03:04:05.123Z", "2099-01-02T05:04:05+02:00"])
def test_other_forms_of_time(text: str) -> None:
    """Fractions and offsets are understood."""
    assert read_credentials(answer_of(expiration=text)).expiration_text == GOOD["expiration"]


@pytest.mark.parametrize(
    "changes",
    [{name: None} for name in GOOD]
    + [{name: ""} for name in GOOD]
    + [{"accessKeyId": 1}, {"sessionToken": "a\nb"}, {"expiration": "tomorrow"}]
    + [{"expiration": "2099-13-02T03:04:05Z"}, {"expiration": "2001-01-02T03:04:05Z"}]
    + [{"secretAccessKey": "s" * 32000, "sessionToken": "t" * 32000}],  # Java reads 64,000 bytes
)
def test_bad_answers(changes: dict[str, object]) -> None:
    """A field that is missing, empty or not what it should be makes the answer unusable."""
    with pytest.raises(AnswerError):
        read_credentials(answer_of(**changes))


BODIES = (b"", b"null", b"[]", b"{}", b'{"credentialSet": []}', b'{"credentialSet": [1]}')


@pytest.mark.parametrize("body", [*BODIES, b'{"credentialSet": {}}', b"\xff", b"[" * 100000])
def test_answers_without_credentials(body: bytes) -> None:
    """An answer of another shape is no credential, and no crash."""
    with pytest.raises(AnswerError):
        read_credentials(Response(201, {}, body))


def test_refusals_have_kinds() -> None:
    """Status and code decide whether to try again, and how long to wait."""
    throttled = refusal(Response(429, {"retry-after": "7"}, b""), "host")
    assert isinstance(throttled, ThrottledError)
    assert throttled.retry_after == 7
    assert isinstance(refusal(Response(503, {}, b""), "host"), UnavailableError)
    later = {"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT"}
    moment = 1795348800  # noon of that day
    assert refusal(Response(503, later, b""), "host", moment).retry_after == 30
    assert refusal(Response(503, later, b""), "host", moment + 60).retry_after == 0
    by_its_clock = {**later, "date": "Sun, 22 Nov 2026 12:00:00 GMT"}
    assert refusal(Response(503, by_its_clock, b""), "host", moment - 999).retry_after == 30
    assert refusal(Response(503, {"retry-after": "soon"}, b""), "host").retry_after is None
    assert isinstance(refusal(Response(302, {}, b""), "host"), AnswerError)
    headers = {"x-amzn-errortype": "AccessDeniedException:http://x"}
    refused = refusal(Response(403, headers, b'{"message": "Untrusted certificate"}'), "host")
    assert isinstance(refused, RefusedError)
    assert refused.code == "AccessDeniedException"
    assert "--intermediates" in str(refused)
    assert not refused.retryable


def test_clock_skew_is_named() -> None:
    """A refusal by a service whose clock is an hour away says so."""
    answer = Response(403, {"date": "Sun, 22 Nov 2026 12:00:00 GMT"}, b"{}")
    noon = 1795348800
    assert clock_skew(answer, noon + 3600) == 3600
    error = refusal(answer, "host", noon + 3600)
    assert "3600 s ahead" in str(error)
    assert error.remedy == "set the clock"
    assert "clock" not in str(refusal(answer, "host", noon + 3).message)


def test_freshness() -> None:
    """An answer keeps clear of the SDKs' window wherever its length allows it."""
    for lifetime in (1000, 1800, 3600, 43200):
        assert 0 < lifetime - fresh_until(lifetime, 0) - SDK_WINDOW < 60
    assert fresh_until(900, 0) == 600


def test_retries_end_with_the_time_limit(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki, tmp_path: Path
) -> None:
    """A wait that does not fit into the time limit is not begun."""
    mqauth_rolesanywhere.faults.mode = "throttle"
    mqauth_rolesanywhere.faults.retry_after = 60
    options = options_of(mqauth_rolesanywhere, mqauth_pki, tmp_path)
    before = mqauth_rolesanywhere.requests
    with pytest.raises(ThrottledError):
        create_session(options)
    assert mqauth_rolesanywhere.requests == before + 1


def test_retries_are_counted(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki, tmp_path: Path
) -> None:
    """AWS_MAX_ATTEMPTS limits the attempts at a service that cannot serve."""
    mqauth_rolesanywhere.faults.mode = "error500"
    options = options_of(mqauth_rolesanywhere, mqauth_pki, tmp_path)._replace(max_attempts=2)
    before = mqauth_rolesanywhere.requests
    with pytest.raises(UnavailableError):
        create_session(options)
    assert mqauth_rolesanywhere.requests == before + 2


def test_a_session_in_process(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki, tmp_path: Path
) -> None:
    """A program gets credentials without the command."""
    credentials = Exchange(options_of(mqauth_rolesanywhere, mqauth_pki, tmp_path)).run()
    assert credentials.access_key_id.startswith("ASIA")
    assert credentials.expiration.tzinfo is not None
