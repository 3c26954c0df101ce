"""Kombu transports for RabbitMQ whose credentials live minutes.

Features
========
* Type: Native
* Supports direct, topic, fanout and headers exchanges, priorities, message TTL: as py-amqp
* The credential is fetched ahead of expiry and renewed on open connections
  (RabbitMQ's `connection.update-secret`)

Connection strings
==================
TLS, port 5671 by default, certificate and host name verified::

    mqauths://WHO@HOST[:PORT][/VIRTUAL_HOST]

Plain AMQP, port 5672 by default, loopback only unless `insecure` is said::

    mqauth://WHO@HOST[:PORT][/VIRTUAL_HOST]

WHO is a provider (`oauth2`, `aws-iam`, `token-file`, `static`, `command`, `external`) or a named
entry of the configuration. Several URLs, separated by `;`, form a failover list. No secret stands
in a URL.

Transport options
=================
* `auth`: mapping of the provider's options, plus `cache`, `renew_at`, `timeout`, `insecure`,
  `rotation`
* everything that Kombu's pyamqp transport takes, such as `confirm_publish`
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import sys
import threading
from collections.abc import Callable
from typing import Any

import amqp
from kombu.transport import pyamqp

from celery_mqauth import replacement
from celery_mqauth.client_certificate import with_client_certificate
from celery_mqauth.connection import RotatingConnection
from celery_mqauth.endpoints import (
    CONNECT_TIMEOUT,
    broker_options,
    hide_inline_secrets,
    source_for,
    without_secrets_shown,
)
from celery_mqauth.limits import check_heartbeat, check_virtual_host
from celery_mqauth.login import Endpoint, lets_in, sign_in
from celery_mqauth.misspelt_options import amqp_options, warn_of_misspelt
from celery_mqauth.protection import link_protection
from celery_mqauth.rotation_mode import NOT_AT_ALL, Rotation, RotationMode
from mqauth.broker_url import check_host
from mqauth.credentials import BrokerCredentials
from mqauth.rotation.source import CredentialSource


class Transport(pyamqp.Transport):
    """AMQP with renewed credentials, `mqauth://`."""

    Connection = RotatingConnection

    def __init__(self, client: Any, **options: Any) -> None:
        """Keep the Kombu connection that this transport serves."""
        super().__init__(client, **options)  # type: ignore[no-untyped-call]
        if "celery.worker" in sys.modules:
            # A worker that was not started by the `celery` command has not loaded it yet.
            importlib.import_module("celery_mqauth.remote_control")

    @property
    def default_connection_params(self) -> dict[str, Any]:
        """What a URL may leave out; unlike pyamqp's, no guest signs in by default."""
        client: Any = self.client
        return {
            "hostname": "localhost",
            "port": self.default_ssl_port if client.ssl else self.default_port,
            "login_method": "PLAIN",
        }

    def establish_connection(self) -> RotatingConnection:
        """Sign in to the broker.

        Returns:
            An open connection that is renewed for as long as it lives.

        Raises:
            ConfigurationError: What the user wrote cannot work.
            amqp.AMQPError: See `celery_mqauth.errors`.
        """
        client: Any = self.client
        # Not earlier: Kombu tells pools apart by these options, and copies them for each pool.
        hide_inline_secrets(client)
        warn_of_misspelt(client.transport_options, amqp_options())
        shared = source_for(client)
        client.transport_options = without_secrets_shown(
            client.transport_options, shared.source.provider
        )
        defaults = self.default_connection_params
        client.hostname = client.hostname or defaults["hostname"]
        client.port = client.port or defaults["port"]
        endpoint = Endpoint(
            host=client.hostname, port=client.port, virtual_host=client.virtual_host or "/"
        )
        check_host(endpoint.host)
        check_virtual_host(endpoint.virtual_host)
        limits = {
            "connect_timeout": client.connect_timeout or CONNECT_TIMEOUT,
            "heartbeat": client.heartbeat,
        }
        options = limits | broker_options(client.transport_options)
        check_heartbeat(options["heartbeat"])
        open_connection = functools.partial(
            self._prepare,
            source=shared.source,
            rotation=Rotation(
                RotationMode(shared.rotation),
                identity=shared.source.provider.identity,
                broker=str(endpoint),
            ),
            host=str(endpoint),
            virtual_host=endpoint.virtual_host,
            ssl=link_protection(client.ssl, endpoint.host, insecure=shared.insecure),
            **options,
        )
        return self._sign_in(shared.source, endpoint, open_connection)

    def _sign_in(
        self,
        source: CredentialSource,
        endpoint: Endpoint,
        open_connection: Callable[..., RotatingConnection],
    ) -> RotatingConnection:
        connection = sign_in(source, endpoint, open_connection)
        connection.reopen = functools.partial(self._sign_in, source, endpoint, open_connection)
        connection.lets_in = functools.partial(
            lets_in,
            # Whoever only looks is told of no renewal.
            open_connection=functools.partial(open_connection, rotation=NOT_AT_ALL),
            endpoint=endpoint,
        )
        return connection

    def verify_connection(self, connection: Any) -> bool:
        """Return whether Kombu is to go on with a connection.

        In the place of another it opens a new one by itself and without a word. Whoever consumes
        would wait there for ever, as nothing was subscribed to: the read has to fail first.
        """
        return bool(connection.connected) or connection.end_is_news

    def drain_events(self, connection: Any, **options: Any) -> Any:
        """Read, over the connection that carries the newest credential."""
        before = replacement.handled.events
        connection = replacement.up_to_date(connection)
        if replacement.handled.events != before:
            # What the caller waits for may have come meanwhile: nothing more might come.
            return None
        return connection.drain_events(**options)

    def heartbeat_check(self, connection: Any, rate: int = 2) -> Any:
        """Send heartbeats, on earlier connections too."""
        for old in list(connection.predecessors):
            with contextlib.suppress(OSError, amqp.AMQPError):
                old.heartbeat_tick(rate=rate)
        return connection.heartbeat_tick(rate=rate)

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Have an event loop read the connection."""
        connection.hub, connection.hub_thread = loop, threading.get_ident()
        if connection.left_behind:
            replacement.await_end(connection)
        super().register_with_event_loop(connection, loop)  # type: ignore[no-untyped-call]

    def on_readable(self, connection: Any, loop: Any) -> None:
        """Read what has arrived; called by the event loop.

        Kombu's own keeps to the connection that it first saw.
        """
        if connection.retired:
            replacement.read_on(connection)
            return
        connection = replacement.up_to_date(connection)
        if not connection.connected:
            raise amqp.RecoverableConnectionError("Socket was disconnected")
        try:
            connection.drain_events(timeout=0)
        except TimeoutError:
            return
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EINTR):
                return
            raise
        loop.call_soon(self.on_readable, connection, loop)

    def _prepare(self, credentials: BrokerCredentials, **options: Any) -> RotatingConnection:
        if credentials.certificate is not None:
            options["ssl"] = with_client_certificate(options["ssl"], credentials.certificate)
        connection = self.Connection(credentials=credentials, **options)
        connection.client = self.client
        return connection


class SSLTransport(Transport):
    """AMQP over TLS with renewed credentials, `mqauths://`."""

    def __init__(self, client: Any, **options: Any) -> None:
        """Switch TLS on."""
        super().__init__(client, **options)
        if not client.ssl:
            client.ssl = True
