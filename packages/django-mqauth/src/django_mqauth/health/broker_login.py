"""Whether the broker lets us in, and carries a message."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from typing import Any

from health_check.base import HealthCheck
from health_check.exceptions import ServiceReturnedUnexpectedResult, ServiceUnavailable

from django_mqauth.defaults import DEFAULT_ALIAS
from django_mqauth.login import (
    NoCredentialInTimeError,
    explain,
    signed_in,
    signed_in_to_kafka,
)

EXPIRES_MS = 60_000


@dataclasses.dataclass
class BrokerLogin(HealthCheck):
    """Check that the broker accepts a login, and that a message comes back from it.

    Signs in as anybody else does, by the credential at hand, and declares an exclusive queue that
    is gone with the connection.

    Kafka has no such queues. There the check signs in anew and has the broker answer a request for
    metadata, which it does for nobody who has not signed in; a message goes there and back only
    over a topic that `topic` names for it, since it stays there.

    Args:
        alias: Who signs in, a key of `MQAUTH`.
        round_trip: Whether to publish and consume a message; needs the permissions configure and
            read on the queue, and write on `amq.default`.
        queue_prefix: How the queue's name begins, for permissions that go by names.
        topic: With Kafka, a topic of this check's own; READ and WRITE must be allowed on it.
        timeout: How long all of it may take.
    """

    alias: str = DEFAULT_ALIAS
    round_trip: bool = dataclasses.field(default=True, repr=False)
    queue_prefix: str = dataclasses.field(default="mqauth.health.", repr=False)
    topic: str | None = dataclasses.field(default=None, repr=False)
    timeout: dt.timedelta = dataclasses.field(default=dt.timedelta(seconds=5), repr=False)

    def run(self) -> None:
        """Sign in, and send a message to ourselves.

        Raises:
            ServiceUnavailable: The broker does not let us in, or not do that.
            ServiceReturnedUnexpectedResult: The message did not come back.
        """
        try:
            came_back = self._signs_in(self.timeout.total_seconds())
        except Exception as error:
            raise ServiceUnavailable(
                f"broker of {self.alias}: {explain(error)}{_remedy(error, self.queue_prefix)}"
            ) from error
        if not came_back:
            raise ServiceReturnedUnexpectedResult(
                f"broker of {self.alias}: a message did not come back (is the node short of memory "
                "or disk?)"
            )

    def _signs_in(self, limit: float) -> bool:
        topic = self.topic if self.round_trip else None
        if signed_in_to_kafka(self.alias, limit, topic=topic):
            return True
        with signed_in(self.alias, limit) as connection:
            return not self.round_trip or self._send(connection)

    def _send(self, connection: Any) -> bool:
        # The connection is this check's own, so its channels go with it.
        channel = connection.default_channel
        name, token = f"{self.queue_prefix}{uuid.uuid4()}", uuid.uuid4().hex
        channel.queue_declare(
            queue=name,
            exclusive=True,
            auto_delete=True,
            arguments={"x-expires": EXPIRES_MS},
        )
        message = channel.prepare_message(
            token, content_type="text/plain", content_encoding="utf-8"
        )
        # Confirmed, so that it is there when it is looked for.
        channel.basic_publish(message, exchange="", routing_key=name, mandatory=True)
        got = channel.basic_get(queue=name, no_ack=True)
        return got is not None and _text(got.body) == token


def _text(body: Any) -> str:
    return body.decode() if isinstance(body, bytes) else str(body)


def _remedy(error: Exception, prefix: str) -> str:
    if isinstance(error, NoCredentialInTimeError):
        return " (the issuer does not answer: manage.py mqauth_doctor goes through it)"
    if isinstance(error, TimeoutError):
        return " (check host, port, firewall and the broker's load)"
    code = getattr(error, "reply_code", None)
    if code == 403 and any(what in str(error) for what in ("queue '", "exchange '")):
        return (
            f" (grant configure and read on {prefix}*, write on amq.default; or round_trip=False)"
        )
    return ""
