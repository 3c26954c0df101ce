"""Kombu transports for Kafka that sign in with credentials which live minutes.

Features
========
* Type: Virtual, on Kombu's confluentkafka transport and its limits: direct and topic exchanges, no
  fanout, hence no remote control, events or gossip of workers
* SASL/OAUTHBEARER: a token of the same `CredentialSource` for all producers, consumers and admin
  clients of the process; librdkafka asks for the next one ahead of expiry, whether a client is busy
  or idle, and signs in again on the connections that are open
* The first request is signed in already; a refused login is tried once more with a fresh token
* A publish returns when the broker has confirmed it, and fails when it has not

Connection strings
==================
TLS, port 9098 by default (Amazon MSK's for IAM), certificate and host name verified::

    mqauths-kafka://WHO@HOST[:PORT]

Plain, port 9092 by default, loopback only unless `insecure` is said::

    mqauth-kafka://WHO@HOST[:PORT]

Several bootstrap servers share a port (`WHO@HOST1,HOST2:PORT`), or are whole URLs with `;` between
them. WHO is a provider (`aws-msk-iam`, `oauth2`, `token-file`, `command`) or a named entry of the
configuration. No secret stands in a URL.

Transport options
=================
* `auth`: mapping of the provider's options, plus `cache`, `renew_at`, `timeout`, `insecure`
* `connect_limit`: seconds within which the broker must let the first request through (10)
* `publish_limit`: seconds within which the broker must confirm a message (30)
* everything that Kombu's confluentkafka transport takes, except what says how to sign in

It needs `celery-mqauth[kafka]`. Nothing of it is loaded before a URL names it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from celery_mqauth.kafka.client_version import check_client

if TYPE_CHECKING:
    from celery_mqauth.kafka.transport import SSLTransport, Transport

__all__ = ["SSLTransport", "Transport"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Kombu's own module cannot be imported without the client, and says so by a NameError.
    check_client()
    return getattr(importlib.import_module(f"{__name__}.transport"), name)
