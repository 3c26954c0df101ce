"""Opening a connection: one snapshot, one retry, a remedy for each refusal."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import amqp

from celery_mqauth import replacement
from celery_mqauth.client_certificate import certificate_error, external_not_offered
from celery_mqauth.connection import RotatingConnection, usable_until
from celery_mqauth.errors import (
    BrokerUnreachableError,
    CredentialRanOutError,
    CredentialRefusedError,
    CredentialUnavailableError,
    LoginRefusedError,
    TokenTooLargeError,
    VirtualHostError,
)
from celery_mqauth.protection import reason_of_tls, unusable_file
from mqauth.credentials import BrokerCredentials
from mqauth.errors import ConfigurationError, MQAuthError
from mqauth.rotation.source import CredentialSource

LARGEST_FIRST_FRAME = 4096
"""RabbitMQ before 4.1.0 takes no larger frame before the login is done, and 8192 bytes since."""
LARGEST_FIRST_FRAME_4_1 = 8192
START_OK_OVERHEAD = 200
"""Bytes of the login frame besides the token: client properties, mechanism, locale."""
_WRONG_NAME = (62, 64)  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH

Opener = Callable[[BrokerCredentials], RotatingConnection]

_has_signed_in: set[tuple[str, str]] = set()


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where a connection goes, for error messages."""

    host: str
    port: int
    virtual_host: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def sign_in(
    source: CredentialSource, endpoint: Endpoint, open_connection: Opener
) -> RotatingConnection:
    """Return an open connection that carries a valid credential of `source`.

    A refused credential is thrown away and fetched anew once, as it may have been revoked or the
    issuer may have changed its keys. If the same one comes, it is not tried again.

    Raises:
        CredentialUnavailableError: The issuer gave no credential.
        LoginRefusedError: A first login was refused, and so was one with another credential, if
            there is another.
        CredentialRefusedError: The same, though the identity has signed in here before: the broker
            may have lost sight of the issuer's keys.
        VirtualHostError: The virtual host is unknown or forbidden.
        TokenTooLargeError: The token does not fit into the broker's first frame.
        BrokerUnreachableError: There is no (trusted) link to the broker.
    """
    credentials = _get(source)
    try:
        connection = _open(open_connection, credentials, endpoint)
    except LoginRefusedError:  # whoever it is
        raise
    except amqp.AccessRefused as refusal:
        source.invalidate(credentials)
        fresh = _get(source)
        if fresh.password == credentials.password:
            _refuse(source, endpoint, credentials, refusal, "and there is no other credential")
        try:
            connection = _open(open_connection, fresh, endpoint)
        except amqp.AccessRefused as second_refusal:
            _refuse(source, endpoint, fresh, second_refusal, "twice")
    _has_signed_in.add((source.provider.identity, str(endpoint)))
    return connection


def lets_in(credentials: BrokerCredentials, *, open_connection: Opener, endpoint: Endpoint) -> bool:
    """Return whether the broker lets a credential in, by a connection that is closed at once."""
    try:
        connection = _open(open_connection, credentials, endpoint)
    except (amqp.AMQPError, OSError, MQAuthError):
        return False
    replacement.dismiss(connection)
    return True


def _get(source: CredentialSource) -> BrokerCredentials:
    try:
        credentials = source.get()
    except MQAuthError as error:
        if isinstance(error, ConfigurationError) and not _is_known(source):
            raise
        # What worked before may be half written or half started at this moment.
        raise CredentialUnavailableError(
            f"no credential to sign in with: {error.message}", remedy=error.remedy
        ) from error
    if time.time() >= usable_until(credentials):
        # Nothing could be sent over that connection, and whoever tries again would do so at once.
        failure = source.status().last_error
        raise CredentialUnavailableError(
            f"the credential is about to end, and there is no newer one: {failure or 'none came'}",
            remedy="connections come back by themselves once the issuer hands one out",
        )
    return credentials


def _is_known(source: CredentialSource) -> bool:
    # A copy: another thread may sign in at this moment.
    return any(identity == source.provider.identity for identity, _ in tuple(_has_signed_in))


def _open(
    open_connection: Opener, credentials: BrokerCredentials, endpoint: Endpoint
) -> RotatingConnection:
    connection = open_connection(credentials)
    try:
        connection.connect()
    except amqp.NotAllowed as error:
        _abandon(connection)
        if credentials.expired():
            # RabbitMQ looks at the expiry once more when it opens the virtual host.
            raise CredentialRanOutError(
                f"the credential expired while signing in to {endpoint}",
                remedy="the next connection signs in anew",
            ) from None
        raise VirtualHostError(
            f"the broker {endpoint} does not let {credentials.provider} into the virtual host "
            f"{endpoint.virtual_host!r}: {error.reply_text}",
            remedy="name an existing virtual host in the URL, or let the credential enter it",
        ) from None
    except OSError as error:
        _abandon(connection)
        # Without its frames: they hold the token, and some tools print a traceback's variables.
        raise _link_error(error, connection, credentials, endpoint) from error.with_traceback(None)
    except amqp.ConnectionError:
        _abandon(connection)
        refused = external_not_offered(connection, str(endpoint))
        if credentials.certificate is None or refused is None:
            raise
        raise refused from None
    except BaseException:
        _abandon(connection)
        raise
    return connection


def _abandon(connection: RotatingConnection) -> None:
    if connection.channels is not None:
        connection.collect()


def _link_error(
    error: OSError,
    connection: RotatingConnection,
    credentials: BrokerCredentials,
    endpoint: Endpoint,
) -> MQAuthError:
    size = START_OK_OVERHEAD + len(credentials.username) + len(credentials.password.reveal())
    version = str(connection.server_properties.get("version", ""))
    limit = LARGEST_FIRST_FRAME if _older_than_4_1(version) else LARGEST_FIRST_FRAME_4_1
    if version and size > limit:
        return TokenTooLargeError(
            f"RabbitMQ {version} at {endpoint} cut the login off: a token of "
            f"{size - START_OK_OVERHEAD} bytes does not fit into its first frame of {limit} bytes",
            remedy="ask the issuer for fewer scopes or claims"
            + ("; RabbitMQ 4.1 takes twice the size" if limit == LARGEST_FIRST_FRAME else ""),
        )
    unusable: MQAuthError | None = None
    if credentials.certificate is not None:
        unusable = certificate_error(error, connection, str(endpoint))
    unusable = unusable or unusable_file(connection.ssl)
    if unusable is not None:
        return unusable
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = 'name its CA with broker_use_ssl={"ca_certs": ...} or SSL_CERT_FILE'
        if error.verify_code in _WRONG_NAME:
            remedy = "connect to a name that the certificate bears"
        return BrokerUnreachableError(
            f"the certificate of {endpoint} is not to be trusted: {error.verify_message}",
            remedy=remedy,
        )
    if isinstance(error, TimeoutError):
        return BrokerUnreachableError(
            f"the broker {endpoint} did not answer within {connection.connect_timeout:g} s",
            remedy="check host, port, firewall and the broker's load",
        )
    if isinstance(error, ssl.SSLError):
        return BrokerUnreachableError(
            f"no TLS with {endpoint}: {reason_of_tls(error)}",
            remedy="is this the TLS port? AMQPS usually is 5671",
        )
    reason = error.strerror or str(error) or type(error).__name__
    tls = "" if connection.ssl else "; a TLS port wants mqauths://"
    return BrokerUnreachableError(
        f"no connection to the broker {endpoint}: {reason}",
        remedy=f"check host, port, firewall and that the broker runs{tls}",
    )


def _older_than_4_1(version: str) -> bool:
    numbers = version.split(".")[:2]
    return all(n.isdigit() for n in numbers) and [int(n) for n in numbers] < [4, 1]


def _own_remedy(source: CredentialSource) -> str | None:
    remedy: str | None = getattr(source.provider, "login_remedy", None)
    return remedy


def _what_to_check(source: CredentialSource, credentials: BrokerCredentials) -> str:
    own = _own_remedy(source)
    if own is not None:
        return own
    if credentials.certificate is not None:
        return (
            f"is there a user for {credentials.principal}, by its common name or whole name as "
            "ssl_cert_login_from says?"
        )
    return (
        "check issuer, audience, signing key and that the token carries at least one scope for "
        "this broker"
    )


def _refuse(
    source: CredentialSource,
    endpoint: Endpoint,
    refused: BrokerCredentials,
    refusal: amqp.AccessRefused,
    attempts: str,
) -> NoReturn:
    identity = source.provider.identity
    if (identity, str(endpoint)) in _has_signed_in:
        raise CredentialRefusedError(
            f"the broker {endpoint} refused {identity}, which it has accepted before",
            remedy="the broker's log has the reason: "
            + (_own_remedy(source) or "can it still reach the issuer's keys?"),
        ) from refusal.with_traceback(None)
    raise LoginRefusedError(
        f"the broker {endpoint} refused the login of {identity}, {attempts}",
        remedy=f"the broker's log has the reason: {_what_to_check(source, refused)}",
    ) from refusal.with_traceback(None)
