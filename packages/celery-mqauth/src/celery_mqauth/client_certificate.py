"""Signing in by a client certificate: how it gets into the link, and what its refusals mean."""

from __future__ import annotations

import os
import ssl
from typing import Any

from celery_mqauth.errors import (
    BrokerUnreachableError,
    CredentialUnavailableError,
    LoginRefusedError,
)
from celery_mqauth.protection import unusable_file
from mqauth.credentials import ClientCertificate
from mqauth.errors import ConfigurationError, MQAuthError

EXTERNAL = b"EXTERNAL"


def with_client_certificate(options: Any, certificate: ClientCertificate) -> dict[str, Any]:
    """Return TLS options that present `certificate`, read anew by each connection.

    Args:
        options: What `link_protection` returned: py-amqp's TLS options, or False.
        certificate: Where it stands.

    Raises:
        ConfigurationError: The link has no TLS, or is told another certificate.
    """
    if not options:
        raise ConfigurationError(
            "the provider external signs in by a client certificate, and the link has no TLS",
            remedy="use mqauths:// and the broker's TLS port",
        )
    for key in ("certfile", "keyfile", "context"):
        if options.get(key):
            raise ConfigurationError(
                f"broker_use_ssl has the option {key!r}, and the provider external brings the "
                "client certificate",
                remedy='take it out; {"ca_certs": path} is all that it needs',
            )
    return {
        **options,
        "certfile": os.fspath(certificate.certificate_file),
        "keyfile": certificate.private_key_file and os.fspath(certificate.private_key_file),
    }


def certificate_error(error: OSError, connection: Any, broker: str) -> MQAuthError | None:
    """Return what a failed link says about the client certificate, if it does.

    Args:
        error: Why there is no connection.
        connection: The connection that was to be.
        broker: The broker's address, for the message.
    """
    unusable = unusable_file(connection.ssl)
    reason = getattr(error, "reason", None) or ""
    if unusable is not None or "MISMATCH" in reason:
        # What was checked a moment ago is being replaced at this moment.
        return CredentialUnavailableError(
            f"the client certificate cannot be used: {unusable.message if unusable else reason}",
            remedy="check what renews it, and that the key is replaced with the certificate",
        )
    if isinstance(error, ssl.SSLError) and "ALERT" in reason:
        why = f"refused the client certificate: {reason}"
    elif isinstance(error, ssl.SSLEOFError | ConnectionResetError):
        # TLS 1.3 checks the client last, and some brokers hang up instead of saying why.
        why = "ended the link, as it does where it refuses the client certificate"
    else:
        return None
    return BrokerUnreachableError(
        f"the broker {broker} {why}",
        remedy="have it issued by an authority in the broker's ssl_options.cacertfile, and "
        "compare the clocks",
    )


def external_not_offered(connection: Any, broker: str) -> MQAuthError | None:
    """Return the error for a broker that lets nobody sign in by a certificate, if it is one."""
    if not connection.mechanisms or EXTERNAL in connection.mechanisms:
        return None
    return LoginRefusedError(
        f"the broker {broker} lets nobody sign in by a client certificate (SASL EXTERNAL)",
        remedy="enable rabbitmq_auth_mechanism_ssl, add EXTERNAL to auth_mechanisms, and set "
        "ssl_options.verify = verify_peer",
    )
