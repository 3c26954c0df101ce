"""CreateSession: checks, signs, sends, tries again where that helps."""

from __future__ import annotations

import os
import time

from credproc.arns import Target, check_target
from credproc.deadline import Deadline
from credproc.endpoint import Endpoint, resolve_endpoint
from credproc.errors import CredprocError
from credproc.identity.checks import check_certificate, check_chain, check_identity
from credproc.identity.load import CertificateFiles, load_identity, uses_pkcs11
from credproc.light import TYPE_CHECKING
from credproc.signing import query_string, signed_headers
from credproc.telling import step, tell
from credproc.wire import Connection, start_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from credproc.credentials import SessionCredentials
    from credproc.http1 import Response
    from credproc.identity.certificate import Certificate
    from credproc.identity.signer import Identity
    from credproc.options import SessionOptions

FIRST_DELAY = 0.2
LONGEST_DELAY = 5.0


class Exchange:
    """One CreateSession, with all its attempts.

    Args:
        options: What decides the session.
        beside: What has it connect on another thread.

    Raises:
        UsageError: The options cannot work.
    """

    def __init__(
        self,
        options: SessionOptions,
        beside: Callable[[Callable[[], object]], object] = start_thread,
    ) -> None:
        """Check what can be checked without a file."""
        self._options = options
        self._beside = beside
        if options.certificate and options.use_latest_expiring_certificate:
            tell("warning: --use-latest-expiring-certificate chooses nothing beside --certificate")
        self._target: Target = check_target(options)
        self._endpoint: Endpoint = resolve_endpoint(options, self._target)
        self._proxy = self._choose_proxy() if options.with_proxy else None
        self._deadline = Deadline(options.time_limit)
        self._query = query_string(
            [
                ("profileArn", options.profile_arn),
                ("roleArn", options.role_arn),
                ("trustAnchorArn", options.trust_anchor_arn),
            ]
        )
        self._body = _body(options)
        if options.debug:
            step(self._route())

    def _route(self) -> str:
        """Return where the request goes, and how."""
        if self._proxy is not None:
            by = f"through the proxy {self._proxy.authority}"
        elif self._options.with_proxy:
            by = "no proxy, as the environment names none for it"
        else:
            by = "no proxy, as --with-proxy is not given"
        place = f"{self._endpoint.scheme}://{self._endpoint.authority}{self._endpoint.path}"
        return f"endpoint: {place}, region {self._target.region}, {by}"

    def _choose_proxy(self) -> Endpoint | None:
        from credproc.proxies import choose_proxy

        return choose_proxy(self._endpoint, os.environ)

    def run(
        self, files: CertificateFiles | None = None, loaded: Identity | None = None
    ) -> SessionCredentials:
        """Return the session's credentials.

        Args:
            files: The certificates, if they have been read already.
            loaded: The identity, if it has been loaded already.

        Raises:
            CredprocError: There are none to be had.
        """
        if files is None and not uses_pkcs11(self._options):
            files = CertificateFiles(self._options)
        if files is not None and files.certificate is not None:
            self._tell_certificate(files.certificate)
            check_certificate(files.certificate)
        started = time.monotonic()
        connection = self._connect()
        try:
            identity = loaded or load_identity(self._options, files)
            if files is None or files.certificate is None:
                self._tell_certificate(identity.certificate)
            check_certificate(identity.certificate)
            check_chain(identity.chain)
            check_identity(identity)
            if self._options.debug:
                self._tell_identity(identity, time.monotonic() - started)
        except BaseException:
            connection.abandon()
            raise
        return self._send(identity, connection)

    def _tell_certificate(self, certificate: Certificate) -> None:
        if self._options.debug:
            from credproc.identity.describe import describe_certificate

            step(describe_certificate(certificate))

    def _tell_identity(self, identity: Identity, seconds: float) -> None:
        from credproc.identity.describe import describe_chain, describe_key

        step(f"{describe_key(identity)}; loaded and compared in {seconds * 1000:.0f} ms")
        step(describe_chain(identity))

    def _connect(self) -> Connection:
        return Connection(self._endpoint, self._proxy, self._options, self._deadline, self._beside)

    def _send(self, identity: Identity, connection: Connection) -> SessionCredentials:
        attempt = 1
        while True:
            try:
                return self._attempt(identity, connection)
            except CredprocError as error:
                if self._options.debug:
                    step(f"attempt {attempt} of {self._options.max_attempts} failed: {error}")
                if not error.retryable or attempt >= self._options.max_attempts:
                    raise
                self._pause(attempt, error)
            attempt += 1
            connection = self._connect()

    def _attempt(self, identity: Identity, connection: Connection) -> SessionCredentials:
        try:
            headers = signed_headers(
                identity,
                region=self._target.region,
                host=self._endpoint.authority,
                query=self._query,
                body=self._body,
                beside=connection.begin_tls,
            )
        except BaseException:
            connection.abandon()
            raise
        target = f"{self._endpoint.path}/sessions?{self._query}"
        started = time.monotonic()
        response = connection.post(target, headers, self._body, meanwhile=_load_reader)
        if self._options.debug:
            step(_received(response, time.monotonic() - started))
        if response.status not in (200, 201):
            from credproc.refusals import refusal

            raise refusal(response, self._endpoint.authority)
        return _load_reader()(response)

    def _pause(self, attempt: int, error: CredprocError) -> None:
        """Wait before the next attempt: jitter over a growing span, or what the service asks for.

        Raises:
            CredprocError: The wait would not fit into the time limit.
        """
        import random

        span = min(FIRST_DELAY * 2**attempt, LONGEST_DELAY)
        delay = random.uniform(span / 2, span)  # noqa: S311 - spreads hosts, protects nothing
        if error.retry_after is not None:
            delay = error.retry_after + random.uniform(0, FIRST_DELAY)  # noqa: S311
        if delay >= self._deadline.remaining():
            raise error
        if self._options.debug:
            step(f"waiting {delay:.2f} s before the next attempt")
        time.sleep(delay)


def _received(response: Response, seconds: float) -> str:
    """Return what can be told of an answer, whose body may be a session."""
    request = response.headers.get("x-amzn-requestid", "")[:80]
    named = "".join(letter for letter in request if letter.isprintable()) or "none"
    return f"answer: HTTP {response.status} after {seconds * 1000:.0f} ms, request id {named}"


def _load_reader() -> Callable[[Response], SessionCredentials]:
    """Return what reads answers; importing it (and `json`) takes 4 ms that the service has."""
    from credproc.answer import read_credentials

    return read_credentials


def create_session(
    options: SessionOptions,
    files: CertificateFiles | None = None,
    identity: Identity | None = None,
    beside: Callable[[Callable[[], object]], object] = start_thread,
) -> SessionCredentials:
    """Fetch credentials from the service, past any cache.

    Args:
        options: What decides the session.
        files: The certificates, if they have been read already.
        identity: The identity, if it has been loaded already.
        beside: What has it connect on another thread.

    Raises:
        CredprocError: There are none to be had.
    """
    return Exchange(options, beside).run(files, identity)


def _body(options: SessionOptions) -> bytes:
    # Both values have been checked to need no escapes.
    name = options.role_session_name
    session_name = f',"roleSessionName":"{name}"' if name is not None else ""
    return f'{{"durationSeconds":{options.session_duration}{session_name}}}'.encode()
