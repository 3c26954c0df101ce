"""HTTP to an issuer with everything bounded: time, size, redirects, and what errors tell."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from mqauth.errors import ConfigurationError, IssuerUnavailableError, MQAuthError
from mqauth.providers._ca_file import check_ca_variables
from mqauth.providers._deadline import Deadline
from mqauth.providers._http_dates import clock_skew
from mqauth.providers._proxies import check_proxy
from mqauth.providers._urls import is_loopback

MAX_BODY = 256 * 1024
AFTERWARDS = 0.1
"""Seconds by which a socket outlasts the deadline, so that who waits for it says what is wrong."""


BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that requests takes the authorities from; the first that is set counts."""

FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)
"""What asking may raise: a host name that cannot be one is found as late as at its look-up."""

_UNUSABLE_URL = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    urllib3.exceptions.LocationValueError,
    UnicodeError,
)


class AnswerTooLargeError(requests.RequestException):
    """The body is longer than any answer of an issuer."""


class BoundedAdapter(HTTPAdapter):
    """Sends a request and reads the whole answer within a deadline and `MAX_BODY` bytes.

    Requests' own timeout only limits the pause between two packets.

    Args:
        deadline: When to stop.
        reading: When to stop waiting for an answer to what has been sent; as `deadline` if None.
    """

    def __init__(self, deadline: Deadline, *, reading: Deadline | None = None) -> None:
        """Never retry: when to try again is the business of the credential source."""
        super().__init__(max_retries=0)
        self._deadline = deadline
        self._reading = reading or deadline
        self.sent_at = math.nan
        self.answered_at = math.nan

    def send(
        self, request: requests.PreparedRequest, *args: Any, **options: Any
    ) -> requests.Response:
        """Send `request`; the response's body has been read."""
        self.sent_at = time.time()
        to_connect = _time_left(self._deadline, request) + AFTERWARDS
        to_read = _time_left(self._reading, request) + AFTERWARDS
        options.update(stream=True, timeout=(to_connect, to_read))
        response = super().send(request, *args, **options)
        self.answered_at = time.time()
        with response.raw:
            body = b"".join(self._body(response))
        response.raw = BytesIO(body)
        return response

    def _body(self, response: requests.Response) -> Iterator[bytes]:
        size = 0
        try:
            for chunk in _chunks(response.raw):
                size += len(chunk)
                if size > MAX_BODY:
                    raise AnswerTooLargeError(response=response)
                _time_left(self._reading, response.request)
                yield chunk
        except urllib3.exceptions.ReadTimeoutError:
            raise requests.Timeout(request=response.request) from None
        except urllib3.exceptions.HTTPError as error:
            raise requests.ConnectionError(error, request=response.request) from None

    def clock_skew(self, response: requests.Response) -> float:
        """Return the seconds the issuer's clock is ahead of ours; 0 if it is hard to tell."""
        return clock_skew(response.headers, self.sent_at, self.answered_at)


def prepare(
    session: requests.Session, url: str, what: str, adapter: BoundedAdapter, *, verify: str | bool
) -> None:
    """Have a session ask by `adapter`, after a look at what the environment adds to that.

    Args:
        session: The session.
        url: What it is going to ask.
        what: Whose URL that is, for error messages.
        adapter: Sends the requests.
        verify: What the certificate is verified with; True for what the environment says.

    Raises:
        ConfigurationError: The environment names a proxy or authorities that cannot be used.
    """
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    if is_loopback(urlsplit(url).hostname or ""):
        # A proxy that the environment names is another host: what may go to this host alone in
        # clear text must not pass it.
        session.trust_env = False
        return
    check_proxy(url, what)
    if verify is True and url.startswith("https:"):
        check_ca_variables(BUNDLES)


def unavailable(error: Exception, what: str) -> MQAuthError:
    """Return the error to raise when `what` could not be asked.

    The libraries' own texts stay out: they may hold a proxy's password.
    """
    if isinstance(error, AnswerTooLargeError):
        return IssuerUnavailableError(
            f"{what} answered with more than {MAX_BODY // 1024} KiB, which is no token",
            remedy="check the URL, and that no login page or proxy answers in its place",
        )
    if isinstance(error, requests.Timeout):
        return IssuerUnavailableError(
            f"{what} did not answer in time", remedy="check the network and the issuer's load"
        )
    if isinstance(error, _UNUSABLE_URL):
        return ConfigurationError(f"{what} is no usable URL", remedy="write https://host/path")
    reason = _reason(error)
    if isinstance(error, requests.exceptions.SSLError):
        return IssuerUnavailableError(
            f"{what} cannot be trusted: {reason}",
            remedy="name its certificate authority with ca_file, or correct the host name",
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return IssuerUnavailableError(
            f"the proxy on the way to {what} failed: {reason}",
            remedy="check HTTPS_PROXY and NO_PROXY",
        )
    return IssuerUnavailableError(
        f"{what} cannot be reached: {reason}", remedy="check the URL, name resolution and firewall"
    )


def _time_left(deadline: Deadline, request: requests.PreparedRequest) -> float:
    left = deadline.remaining()
    if left <= 0:
        raise requests.Timeout(request=request)
    return left


def _chunks(raw: Any) -> Iterator[bytes]:
    # read1 returns what has come; urllib3 1.26 lacks it and fills its buffer first.
    read = getattr(raw, "read1", None) or raw.read
    while chunk := read(8192, decode_content=True):
        yield chunk


def _reason(error: BaseException) -> str:
    """Return the innermost cause in the system's words."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, ssl.SSLError):
            return cause.reason or "TLS failed"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the causes of an error, innermost first, as urllib3 and requests nest them."""
    chain: list[BaseException] = []
    pending: list[object] = [error]
    while pending and len(chain) < 20:
        cause = pending.pop()
        if isinstance(cause, BaseException) and cause not in chain:
            chain.append(cause)
            pending += [*cause.args, getattr(cause, "reason", None), cause.__context__]
    yield from reversed(chain)
