"""Roles Anywhere sessions inside a program: what `mqauth`'s aws-iam provider signs in with.

No cache and no file: the session lives in this process's memory, and nothing secret is on disk but
the private key. `mqauth` finds this by its entry-point group `mqauth.aws_credentials`.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Callable

from credproc.cache import HANDOVER, SDK_WINDOW
from credproc.create_session import create_session
from credproc.credentials import SessionCredentials
from credproc.errors import CredprocError
from credproc.green import are_threads_green, run_beside
from credproc.in_process_errors import translate
from credproc.options import SessionOptions, from_aws_environment
from credproc.secret import Secret
from credproc.wire import start_thread
from mqauth import threads
from mqauth.aws_credentials import AwsCredentials, RolesAnywhereIdentity
from mqauth.errors import IssuerUnavailableError, MQAuthError
from mqauth.secret import Secret as CoreSecret

CONNECT_LIMIT, READ_LIMIT = 5, 10
"""Seconds; less where the caller has less."""

PAUSE = 10.0
"""Seconds until the next attempt after one that failed, as long as there is a session to use."""

_log = logging.getLogger(__name__)


class RolesAnywhereSession:
    """Keeps the session of one identity, for as many threads as ask.

    Args:
        identity: What to open sessions for. The files are read anew for each of them, so renewed
            certificates count.
    """

    def __init__(self, identity: RolesAnywhereIdentity) -> None:
        """Open nothing yet."""
        self._identity = identity
        self._lock = threading.Lock()
        self._current: SessionCredentials | None = None
        self._lifetime = 0.0
        self._not_before = 0.0

    def credentials(self, *, timeout: float, lasting: float) -> AwsCredentials:
        """Return the session at hand, or a new one if that will not do.

        More than 15 minutes are left, and more than `lasting`, whenever sessions are long enough
        for that. If no new one is to be had, one that has not run out yet is good enough.

        Args:
            timeout: Seconds that it may take.
            lasting: Seconds that the session is to last, if sessions can be that long.

        Raises:
            CredentialError: There is none to be had; `retryable` says whether later may help.
            ConfigurationError: The identity cannot work as it is written.
        """
        give_up_at = time.monotonic() + timeout
        failure: MQAuthError
        if not self._lock.acquire(timeout=timeout):
            raise IssuerUnavailableError(
                f"IAM Roles Anywhere gave no session within {timeout:.1f} s",
                remedy="check name resolution, proxies and firewall",
            )
        try:
            return self._fresh(lasting, give_up_at - time.monotonic())
        except MQAuthError as error:
            failure = error
        finally:
            self._lock.release()
        raise failure

    def inspect(self) -> str:
        """Return what certificate, key and chain are like; nobody is asked.

        Raises:
            InvalidCredentialError: They cannot be used as they are.
            ConfigurationError: The identity cannot work as it is written.
        """
        from credproc.diagnosis import identity_links as links
        from credproc.diagnosis.links import Facts, Warn

        failure: MQAuthError
        found: list[str] = []
        try:
            facts = Facts(session_options(self._identity, CONNECT_LIMIT))
            for look in (links.certificate, links.key, links.chain):
                try:
                    found.append(look(facts))
                except Warn as warning:
                    found.append(f"{warning.detail} (warning: {warning.remedy})")
        except CredprocError as error:
            failure = translate(error)
        else:
            return "; ".join(found)
        raise failure

    def forget(self) -> None:
        """Open a new session next time."""
        self._current = None

    def _fresh(self, lasting: float, timeout: float) -> AwsCredentials:
        current = self._current
        left = current.remaining(time.time()) if current is not None else 0.0
        if current is not None and left > margin(self._lifetime, lasting):
            return _handed_over(current)
        if current is None or left <= HANDOVER:
            return self._renew(timeout)
        if time.monotonic() < self._not_before:
            return _handed_over(current)
        try:
            # With a session to fall back on, time is left for what it is wanted for.
            return self._renew(timeout / 2)
        except MQAuthError as error:
            self._not_before = time.monotonic() + max(PAUSE, error.retry_after or 0.0)
            _log.warning("No new Roles Anywhere session, the old one lasts %.0f s: %s", left, error)
            return _handed_over(current)

    def _renew(self, timeout: float) -> AwsCredentials:
        opened = self._open(timeout)
        _warn_if_open(self._identity.private_key or self._identity.certificate)
        self._current, self._lifetime = opened, opened.remaining(time.time())
        _log.info(
            "Opened a Roles Anywhere session of %s until %s",
            self._identity.role_arn,
            opened.expiration_text,
        )
        return _handed_over(opened)

    def _open(self, timeout: float) -> SessionCredentials:
        failure: MQAuthError
        try:
            options = session_options(self._identity, timeout)
            return run_beside(lambda: create_session(options, beside=_beside()))
        except CredprocError as error:
            failure = translate(error)
        except Exception as error:  # noqa: BLE001 - such as a broken PKCS#11 module
            failure = IssuerUnavailableError(
                f"no Roles Anywhere session: {type(error).__name__} in credproc",
                remedy="credproc doctor shows where, given the same certificate and ARNs",
            )
        raise failure


def _beside() -> Callable[[Callable[[], object]], object]:
    """Return what makes the connection beside the signature: a thread that does not end with it.

    The end of one that has spoken TLS is what a fork should not meet (see `mqauth.threads`).
    """
    if are_threads_green():
        return start_thread
    return lambda call: threads.begin(call, "credproc-connection")


def margin(lifetime: float, lasting: float) -> float:
    """Return the seconds before its end from which on a session is replaced.

    Args:
        lifetime: Seconds that it lasted when it was opened.
        lasting: Seconds that it will be needed for.
    """
    wanted = max(lasting, float(SDK_WINDOW + HANDOVER))
    # One that cannot stay clear of that is used until a third of it is left.
    return wanted if lifetime > wanted + 60 else lifetime / 3


def session_options(identity: RolesAnywhereIdentity, timeout: float) -> SessionOptions:
    """Return the identity as options of one attempt without any cache.

    Raises:
        UsageError: One of AWS's own environment variables cannot be understood.
    """
    limit = max(1, int(timeout))
    # Empty rather than none: a worker has nobody to ask for a password.
    password = identity.key_password.reveal() if identity.key_password else ""
    around = from_aws_environment(os.environ, {"endpoint": identity.endpoint_url or ""})
    options = SessionOptions(
        role_arn=identity.role_arn,
        profile_arn=identity.profile_arn,
        trust_anchor_arn=identity.trust_anchor_arn,
        session_duration=identity.session_duration,
        certificate=identity.certificate,
        private_key=identity.private_key,
        intermediates=identity.intermediates,
        pkcs8_password=Secret(password),
        reuse_pin=True,
        with_proxy=True,
        backend="native",
        no_cache=True,
        connect_timeout=min(CONNECT_LIMIT, limit),
        read_timeout=min(READ_LIMIT, limit),
        time_limit=limit,
        endpoint=identity.endpoint_url,
    )
    options = options._replace(**around)  # type: ignore[arg-type] # by the names of its fields
    if identity.ca_file is not None:
        options = options._replace(ca_bundle=identity.ca_file)
    # When to try again is the business of mqauth's credential source.
    return options._replace(max_attempts=1)


def _warn_if_open(path: str) -> None:
    try:
        status = os.stat(path)
    except OSError:
        return
    if status.st_mode & stat.S_IROTH and stat.S_ISREG(status.st_mode):
        _log.warning("Everybody on this host may read the private key %s: chmod 0600 it", path)


def _handed_over(session: SessionCredentials) -> AwsCredentials:
    return AwsCredentials(
        access_key_id=session.access_key_id,
        secret_key=CoreSecret(session.secret_access_key.reveal()),
        session_token=CoreSecret(session.session_token.reveal()),
        expires_at=session.expiration,
    )
