"""The STS endpoint checks a signature as AWS's does: whatever is changed in a call is noticed."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sts_sdk import Sdk

NAMESPACE = {"sts": "https://sts.amazonaws.com/doc/2011-06-15/"}
FORM = "application/x-www-form-urlencoded"


class Tampered:
    """Signs a call as the SDK does, lets a test change it, and sends it."""

    def __init__(self, sdk: Sdk) -> None:
        """Make a call that would be accepted."""
        self._sdk = sdk
        self.service, self.region = "sts", sdk.sts.region
        self.method = "POST"
        self.target = "/"
        self.body = urlencode({"Action": "GetCallerIdentity", "Version": "2011-06-15"}).encode()
        self.headers: dict[str, str] = {"Content-Type": FORM}

    def sign(self, secret: str | None = None) -> Tampered:
        """Sign with the user's key."""
        sts = self._sdk.sts
        request = AWSRequest(
            method=self.method, url=sts.url + self.target, data=self.body, headers=self.headers
        )
        credentials = Credentials(sts.access_key_id, secret or sts.secret_access_key)
        SigV4Auth(credentials, self.service, self.region).add_auth(request)
        self.headers = dict(request.headers.items())
        return self

    def replace(self, old: str, new: str) -> Tampered:
        """Change a part of the Authorization header."""
        assert old in self.headers["Authorization"]
        self.headers["Authorization"] = self.headers["Authorization"].replace(old, new, 1)
        return self

    def send(self) -> tuple[int, str, str]:
        """Return status, error code and message of the answer."""
        with urllib3.PoolManager(ca_certs=self._sdk.ca, retries=False) as http:
            answer = http.request(
                self.method,
                self._sdk.sts.url + self.target,
                body=self.body,
                headers=self.headers,
            )
        root = ET.fromstring(answer.data)  # noqa: S314 - our own endpoint's
        code = root.findtext("sts:Error/sts:Code", "", NAMESPACE)
        return answer.status, code, root.findtext("sts:Error/sts:Message", "", NAMESPACE)


@pytest.fixture
def tampered(sdk: Sdk) -> Tampered:
    """Give a call to tamper with."""
    return Tampered(sdk)


def test_an_untouched_signature_is_accepted(tampered: Tampered) -> None:
    """What the next tests change was right before they changed it."""
    assert tampered.sign().send() == (200, "", "")


def test_a_signed_get_is_accepted(tampered: Tampered) -> None:
    """The query protocol works with GET as well, its parameters in the URL."""
    tampered.method, tampered.body = "GET", b""
    tampered.target = "/?Version=2011-06-15&Action=GetCallerIdentity"
    assert tampered.sign().send() == (200, "", "")


def test_a_changed_body_is_noticed(tampered: Tampered) -> None:
    """The signature covers the body."""
    tampered.sign().body += b"&X=1"
    assert tampered.send()[:2] == (403, "SignatureDoesNotMatch")


def test_a_changed_target_is_noticed(tampered: Tampered) -> None:
    """The signature covers the query."""
    tampered.sign().target = "/?X=1"
    assert tampered.send()[:2] == (403, "SignatureDoesNotMatch")


def test_a_body_hash_is_not_believed(tampered: Tampered) -> None:
    """A client cannot declare its payload unsigned."""
    tampered.headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    assert tampered.sign().send()[:2] == (403, "SignatureDoesNotMatch")


def test_a_changed_header_is_noticed(tampered: Tampered) -> None:
    """The signature covers the headers it lists, by value and by name."""
    tampered.sign().headers["Content-Type"] = FORM + "; charset=utf-8"
    assert tampered.send()[:2] == (403, "SignatureDoesNotMatch")


def test_host_has_to_be_signed(tampered: Tampered) -> None:
    """A signature without the host could be replayed elsewhere."""
    status, code, message = tampered.sign().replace("host;", "").send()
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert "'Host'" in message


def test_every_amz_header_has_to_be_signed(tampered: Tampered) -> None:
    """A header that means something to AWS may not be slipped in."""
    tampered.sign().headers["X-Amz-Security-Token"] = "slipped in"
    status, code, message = tampered.send()
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert "x-amz-security-token" in message


def test_the_scope_names_the_service(tampered: Tampered) -> None:
    """A signature for another service is refused, whatever its arithmetic."""
    tampered.service = "s3"
    status, code, message = tampered.sign().send()
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert message == "Credential should be scoped to correct service: 'sts'. "


def test_all_that_is_wrong_with_the_scope_is_said_at_once(tampered: Tampered) -> None:
    """Region and service are both named when both are wrong."""
    tampered.service, tampered.region = "s3", "us-west-2"
    message = tampered.sign().send()[2]
    assert "valid region" in message
    assert "correct service" in message


def test_the_scope_ends_as_it_must(tampered: Tampered) -> None:
    """The scope's last part is the version of the scheme."""
    message = tampered.sign().replace("aws4_request", "aws5_request").send()[2]
    assert "valid terminator: 'aws4_request'" in message


def test_the_scopes_date_is_the_requests(tampered: Tampered) -> None:
    """A scope of another day is refused."""
    day = datetime.now(UTC).strftime("/%Y%m%d/")
    status, code, message = tampered.sign().replace(day, "/20200101/").send()
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert "Date in Credential scope does not match" in message


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("AWS4-HMAC-SHA256 ", "Bearer ", "Unsupported AWS 'algorithm': 'Bearer'"),
        ("Credential=", "C=", "requires 'Credential' parameter"),
        ("SignedHeaders=", "S=", "requires 'SignedHeaders' parameter"),
        ("Signature=", "S=", "requires 'Signature' parameter"),
        ("/sts/aws4_request", "/aws4_request", "exactly 5 slash-delimited elements"),
        ("content-type;host;", "host;content-type;", "sorted"),
    ],
)
def test_malformed_authorization_is_incomplete(
    tampered: Tampered, old: str, new: str, named: str
) -> None:
    """What is no SigV4 header at all is refused before any arithmetic."""
    status, code, message = tampered.sign().replace(old, new).send()
    assert (status, code) == (400, "IncompleteSignature")
    assert named in message


@pytest.mark.parametrize("date", [None, "today", "20261399T000000Z"])
def test_the_time_has_to_be_readable(tampered: Tampered, date: str | None) -> None:
    """A request without a time, or with one that is none, is incomplete."""
    del tampered.sign().headers["X-Amz-Date"]
    if date is not None:
        tampered.headers["X-Amz-Date"] = date
    assert tampered.send()[:2] == (400, "IncompleteSignature")


def test_an_unsigned_request_is_refused(tampered: Tampered) -> None:
    """Nothing is answered without a signature."""
    assert tampered.send()[:2] == (403, "MissingAuthenticationToken")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"Action=GetSessionToken&Version=2011-06-15", "InvalidAction"),
        (b"Action=GetCallerIdentity&Version=2010-01-01", "InvalidAction"),
        (b"Action=GetCallerIdentity", "InvalidAction"),
        (b"Version=2011-06-15", "MissingAction"),
        (b"Action=AssumeRole&Version=2011-06-15", "ValidationError"),
        (b"Action=GetWebIdentityToken&Version=2011-06-15", "ValidationError"),
    ],
)
def test_unknown_actions_are_refused(tampered: Tampered, body: bytes, code: str) -> None:
    """An action or version that is not there, and one without its parameters, are errors."""
    tampered.body = body
    assert tampered.sign().send()[:2] == (400, code)


def test_an_undecodable_body_is_refused(tampered: Tampered) -> None:
    """A body that is no text is malformed, signed or not."""
    tampered.body = b"Action=\xff"
    assert tampered.sign().send()[1] == "MalformedQueryString"
