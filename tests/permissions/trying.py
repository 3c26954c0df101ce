"""Tries operations on a real broker and says whether it lets them pass."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import amqp
import urllib3
from amqp.exceptions import AccessRefused, AMQPError, NotAllowed

from mqauth.permissions.operations import Operation
from mqauth_sandbox.broker import Broker

INVALID = {"alternate-exchange": 5}
"""Arguments that keep a declaration from having an effect: they are looked at after permissions."""
INVALID_QUEUE = {"x-expires": -1}


class Management:
    """Sets up a broker, and users of its own.

    Args:
        broker: The broker.
    """

    def __init__(self, broker: Broker) -> None:
        """Connect nowhere yet."""
        self._http = urllib3.HTTPConnectionPool(
            "localhost", broker.management_port, timeout=10, retries=False
        )
        login = f"{broker.admin_user}:{broker.admin_password}"
        self._headers = urllib3.make_headers(basic_auth=login) | {
            "Content-Type": "application/json"
        }

    def put(self, path: tuple[str, ...], content: dict[str, Any]) -> None:
        """Create or replace something."""
        self._request("PUT", path, content)

    def delete(self, path: tuple[str, ...]) -> None:
        """Delete something, if it is there."""
        self._request("DELETE", path, None)

    def get(self, *path: str) -> Any:
        """Return something."""
        return self._request("GET", path, None).json()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _request(self, method: str, path: tuple[str, ...], content: object) -> Any:
        url = "/api/" + "/".join(quote(part, safe="") for part in path)
        body = None if content is None else json.dumps(content)
        response = self._http.request(method, url, body=body, headers=self._headers)
        assert response.status in (200, 201, 204, 404), (
            method,
            url,
            response.status,
            response.data,
        )
        return response


@contextlib.contextmanager
def admitted(
    broker: Broker, vhost: str, password: str, username: str = ""
) -> Iterator[amqp.Connection | None]:
    """Connect to a virtual host; None where the broker does not let this user in."""
    connection = amqp.Connection(
        host=f"localhost:{broker.amqp_port}",
        userid=username,
        password=password,
        virtual_host=vhost,
        login_method="PLAIN",
        connect_timeout=10,
        read_timeout=10,
        write_timeout=10,
    )
    try:
        try:
            connection.connect()
        except NotAllowed:
            yield None
            return
        yield connection
    finally:
        with contextlib.suppress(OSError, AMQPError):
            connection.close()


class Trying:
    """Tries operations over one connection.

    Args:
        connection: An open connection of the user in question.
        clean_up: Called with the names of a queue and an exchange that may have come to be.
    """

    def __init__(self, connection: amqp.Connection, clean_up: Callable[[str, str], None]) -> None:
        """Open no channel yet."""
        self._connection = connection
        self._clean_up = clean_up
        self._channel: Any = None
        self._transactional: Any = None

    def passes(self, operation: Operation) -> bool:
        """Try an operation; False if the broker answers 403, True whatever else it answers."""
        method: Callable[[Operation], None] = getattr(
            self, "_" + operation.kind.name.replace(".", "_")
        )
        try:
            method(operation)
        except AccessRefused:
            return False
        except AMQPError as error:
            if error.reply_code not in (404, 405, 406):
                raise
        return True

    @property
    def channel(self) -> Any:
        """A channel that is open."""
        if self._channel is None or not self._channel.is_open:
            self._channel = self._connection.channel()
        return self._channel

    def _exchange_declare(self, operation: Operation) -> None:
        if operation.kind.variant == "with AE":
            arguments: dict[str, Any] = {"alternate-exchange": operation.alternate}
            self.channel.exchange_declare(
                operation.exchange, "fanout", arguments=arguments, auto_delete=False
            )
            self._clean_up("", operation.exchange)
        else:
            self.channel.exchange_declare(
                operation.exchange,
                "fanout",
                passive=operation.kind.variant == "passive",
                arguments=INVALID,
            )

    def _exchange_delete(self, operation: Operation) -> None:
        self.channel.exchange_delete(operation.exchange)

    def _queue_declare(self, operation: Operation) -> None:
        if operation.kind.variant == "with DLX":
            arguments: dict[str, Any] = {"x-dead-letter-exchange": operation.dead_letter}
            self.channel.queue_declare(operation.queue, arguments=arguments, auto_delete=False)
            self._clean_up(operation.queue, "")
        else:
            self.channel.queue_declare(
                operation.queue,
                passive=operation.kind.variant == "passive",
                arguments=INVALID_QUEUE,
                auto_delete=False,
            )

    def _queue_delete(self, operation: Operation) -> None:
        self.channel.queue_delete(operation.queue)

    def _exchange_bind(self, operation: Operation) -> None:
        self.channel.exchange_bind(operation.destination, operation.source, operation.routing_key)

    def _exchange_unbind(self, operation: Operation) -> None:
        self.channel.exchange_unbind(operation.destination, operation.source, operation.routing_key)

    def _queue_bind(self, operation: Operation) -> None:
        self.channel.queue_bind(operation.queue, operation.exchange, operation.routing_key)

    def _queue_unbind(self, operation: Operation) -> None:
        self.channel.queue_unbind(operation.queue, operation.exchange, operation.routing_key)

    def _basic_publish(self, operation: Operation) -> None:
        if self._transactional is None or not self._transactional.is_open:
            self._transactional = self._connection.channel()
        # Each time: after a refusal py-amqp opens the channel again, and without a transaction.
        self._transactional.tx_select()
        headers = {"CC": list(operation.also_to)} if operation.also_to else {}
        message = amqp.Message("", application_headers=headers)
        self._transactional.basic_publish(message, operation.exchange, operation.routing_key)
        self._transactional.tx_rollback()  # permissions are looked at before

    def _basic_get(self, operation: Operation) -> None:
        self.channel.basic_get(operation.queue, no_ack=True)

    def _basic_consume(self, operation: Operation) -> None:
        tag = self.channel.basic_consume(operation.queue, no_ack=True, callback=_ignore)
        self.channel.basic_cancel(tag)

    def _queue_purge(self, operation: Operation) -> None:
        self.channel.queue_purge(operation.queue)


def _ignore(message: amqp.Message) -> None:
    """Take a message: queues here are empty, but for what a lost rollback would leave."""
