"""HTTP to one broker, with everything bounded: time, size, redirects, and what errors tell."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mqauth.config.extras import require
from mqauth.config.small_file import check_readable, reason
from mqauth.credentials import BrokerCredentials
from mqauth.errors import (
    ConfigurationError,
    IssuerUnavailableError,
    ManagementUnavailableError,
    MQAuthError,
)
from mqauth.providers._deadline import BoundedCalls, Deadline
from mqauth.providers._http_dates import retry_after

if TYPE_CHECKING:
    import urllib3

MAX_BODY = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back.

    Args:
        status: HTTP status.
        content: The JSON in the body; None if it is none.
        retry_after: Seconds that the broker asks to wait.
    """

    status: int
    content: Any
    retry_after: float | None = None


class Http:
    """Asks one server; follows no redirect, and uses no proxy: both would get the credential.

    Args:
        url: Scheme, host and port.
        ca_file: PEM file of the authorities that sign its certificate; None for the host's own.

    Raises:
        ConfigurationError: The file cannot be used, or urllib3 is not installed.
    """

    def __init__(self, url: str, *, ca_file: str | None = None) -> None:
        """Read the authorities; nothing is asked yet."""
        require("urllib3")
        self._url = url
        self._tls = _tls(ca_file)
        self._calls = BoundedCalls("the management API")

    def get(self, path: str, credentials: BrokerCredentials, deadline: Deadline) -> Answer:
        """Return the answer to a GET.

        Raises:
            ManagementUnavailableError: None came in time, or none that can be trusted.
        """
        try:
            return self._calls.run(deadline, lambda: self._get(path, credentials, deadline))
        except IssuerUnavailableError as error:  # what a call that hangs ends with
            message = error.message
        raise ManagementUnavailableError(
            message, remedy="check name resolution and the broker's load"
        )

    def _get(self, path: str, credentials: BrokerCredentials, deadline: Deadline) -> Answer:
        import urllib3  # noqa: PLC0415 - an extra

        left = max(deadline.remaining(), 0.001)
        login = f"{credentials.username}:{credentials.password.reveal()}"
        failure: MQAuthError
        # A pool of its own for each call: what is asked once a minute needs no open connection.
        with urllib3.PoolManager(ssl_context=self._tls, retries=False) as pool:
            try:
                response = pool.request(
                    "GET",
                    self._url + path,
                    headers={
                        **urllib3.make_headers(basic_auth=login),
                        "Accept": "application/json",
                    },
                    timeout=urllib3.Timeout(total=left),
                    redirect=False,
                    preload_content=False,
                )
                return _answer(response)
            except urllib3.exceptions.HTTPError as error:
                failure = _unavailable(error, self._url)
        raise failure


def _answer(response: urllib3.BaseHTTPResponse) -> Answer:
    body = response.read(MAX_BODY + 1)
    response.release_conn()
    try:
        content = json.loads(body) if len(body) <= MAX_BODY else None
    except (ValueError, RecursionError):
        content = None
    headers: Mapping[str, str] = response.headers
    return Answer(status=response.status, content=content, retry_after=retry_after(headers))


def _unavailable(error: Exception, url: str) -> MQAuthError:
    import urllib3  # noqa: PLC0415 - an extra

    what = f"the management API at {url}"
    if isinstance(error, urllib3.exceptions.SSLError):
        cause = error.args[0] if error.args else None
        said = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else "TLS"
        return ManagementUnavailableError(
            f"{what} cannot be trusted: {said}",
            remedy="name its certificate authority with ca_file, or correct the host name",
        )
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return ManagementUnavailableError(
            f"{what} cannot be reached",
            remedy="check host, port, firewall, and that the management plugin is enabled",
        )
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return ManagementUnavailableError(
            f"{what} did not answer in time", remedy="check the network and the broker's load"
        )
    return ManagementUnavailableError(
        f"{what} broke the connection ({type(error).__name__})",
        remedy="check that the URL is the management API's, and http or https",
    )


def _tls(ca_file: str | None) -> ssl.SSLContext:
    try:
        if ca_file is not None:
            check_readable(ca_file)
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        problem = reason(error)
    raise ConfigurationError(
        f"the ca_file {ca_file} cannot be used: {problem}",
        remedy="name a PEM file of the authorities that sign the broker's certificate",
    )
