"""An AMQP connection whose credential is renewed while it is open."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import amqp
from amqp import spec
from kombu.transport import pyamqp

from celery_mqauth import replacement
from celery_mqauth.channel import Channel
from celery_mqauth.confirms import Confirms
from celery_mqauth.errors import CredentialRanOutError, CredentialRefusedError, OneLineError
from celery_mqauth.exclusive_queues import ExclusiveQueue
from celery_mqauth.rotation_mode import Rotation
from celery_mqauth.sasl import answer_with
from celery_mqauth.sockets import NothingCameError, TCPSocketTransport, TLSSocketTransport
from celery_mqauth.unanswered import Sent, Unanswered
from celery_mqauth.update_secret import (
    INTERRUPTED,
    UPDATE_SECRET,
    UPDATE_SECRET_OK,
    encode_update_secret,
    locked_frame_writer,
    methods_with_update_secret,
)
from mqauth import forks
from mqauth.credentials import BrokerCredentials
from mqauth.rotation.clock import steady_time
from mqauth.rotation.source import CredentialSource

logger = logging.getLogger(__name__)

_Error = TypeVar("_Error", bound=OneLineError)

REASON = "credential renewed"
UNKNOWN_METHOD = frozenset({503, 540})
"""Reply codes of a broker that does not know `update-secret`: COMMAND_INVALID, NOT_IMPLEMENTED."""
INTERNAL_ERROR = 541
"""What RabbitMQ answers if it stumbles over a secret, such as half a token: no method is named."""
PROMPT = 5.0
"""Seconds after a renewal was sent within which a login tells why it was refused."""
IN_FLIGHT_MARGIN = 1.0
"""Seconds before expiry at which publishing stops: what is written later may arrive too late."""


LAPSE_MARGIN = 2.0
"""Seconds after expiry from which on the broker must have closed the connection."""
CLOSES_AT_EXPIRY = (4, 2, 6)
"""RabbitMQ's first version that closes a connection whose credential has expired."""


def _is_an_end(error: BaseException) -> bool:
    """Return whether this is what a connection raises that was closed."""
    return isinstance(error, amqp.AMQPError | OSError) and not isinstance(error, TimeoutError)


def _number(error: BaseException) -> None:
    """Give the end of a connection a number.

    When a worker begins to consume, it reads once and takes whatever has none for a time-out. It
    would then wait for ever on a connection that was closed at that moment.
    """
    if _is_an_end(error) and getattr(error, "errno", None) is None:
        error.errno = errno.ECONNRESET  # type: ignore[attr-defined]  # both have it


def usable_until(credentials: BrokerCredentials) -> float:
    """Return until when something may be sent with a credential, as `time.time()` counts."""
    return credentials.local_expiry - min(IN_FLIGHT_MARGIN, credentials.lifetime / 20)


class RotatingConnection(pyamqp.Connection):
    """py-amqp's connection plus `connection.update-secret`.

    Args:
        source: Where newer credentials come from.
        credentials: The snapshot to sign in with.
        rotation: How it may come to newer ones.
        options: Everything `amqp.Connection` takes.
    """

    Channel = Channel
    _METHODS = methods_with_update_secret()
    # Answers that nobody has read yet arrive when the connection is closed; no cause to warn.
    _ALLOWED_METHODS_WHEN_CLOSING = (
        *amqp.Connection._ALLOWED_METHODS_WHEN_CLOSING,  # noqa: SLF001 - no public way
        UPDATE_SECRET_OK,
    )

    usable_until: float = math.inf
    """`time.time()` from which on nothing may be published any more."""
    lapses_at: float = math.inf
    """`steady_time()` from which on the broker has closed it, if it is one that does."""
    postponed: BrokerCredentials | None = None
    """A renewal that could not be sent because the owner was writing; the owner sends it."""
    client: Any = None
    """The Kombu connection that it serves."""
    reopen: Callable[[], RotatingConnection] | None = None
    """Opens another connection that signs in with the present credential."""
    lets_in: Callable[[BrokerCredentials], bool] | None = None
    """Says whether the broker lets a credential in on a new connection."""
    on_trial: bool = False
    """Whether it was sent a new secret only to see whether the broker takes it."""
    superseded: bool = False
    """Whether there is a newer credential that it cannot take over; see `replacement`."""
    retired: bool = False
    """Whether another connection has taken its place."""
    consumers_ended: bool = False
    """Whether the broker has been told to end its consumers, as another takes its place."""
    replace_at: float = 0.0
    """`time.monotonic()` from which on it may be replaced."""
    told_immovable: bool = False
    """Whether the log says already that it cannot be replaced."""
    end_told: bool = False
    """Whether somebody has met the end of the link by reading, or by opening a channel."""
    busy: int = 0
    """How many reads are under way; nothing may be replaced meanwhile."""
    writing: bool = False
    """Whether a method's frames are being written, under `frame_lock`."""
    hub: Any = None
    """The event loop that reads it, if one does."""
    hub_thread: int = 0
    """The thread that runs the event loop."""
    end_awaited: bool = False
    """Whether the event loop is to look at it when its credential runs out."""
    inherited: bool = False
    """Whether this process was forked from the one whose connection it is."""

    left_behind: bool = False
    """Whether there is a newer credential that nothing is done about; see `rotation_mode`."""
    user_changes: bool = False
    """Whether the newer credential is another user's."""

    def __init__(
        self,
        *,
        source: CredentialSource,
        credentials: BrokerCredentials,
        rotation: Rotation,
        **options: Any,
    ) -> None:
        """Prepare; `connect` opens the connection and signs in."""
        self.rotation = rotation
        # Reentrant, so that a signal's handler can tell that it has interrupted a write.
        self.frame_lock = threading.RLock()
        # `now`: whether this thread waits for a frame or reads one, and has handed none over.
        self._reading = threading.local()
        self.predecessors: list[RotatingConnection] = []
        self.exclusive_queues: dict[str, ExclusiveQueue] = {}
        self.confirms: dict[int, Confirms] = {}
        self.source = source
        self.unanswered = Unanswered()
        self._renewal_answered = False
        self._carry(credentials)
        super().__init__(
            authentication=answer_with(credentials), frame_writer=locked_frame_writer, **options
        )
        forks.after_in_child(self, RotatingConnection._mark_as_inherited)

    def Transport(  # noqa: N802 - py-amqp's name
        self,
        host: str,
        connect_timeout: float | None,
        ssl: Any,
        *timeouts: float | None,
        **options: Any,
    ) -> Any:
        """Return a transport to which the renewal thread may write."""
        read_timeout, write_timeout = timeouts or (None, None)
        options |= {"read_timeout": read_timeout, "write_timeout": write_timeout}
        if ssl:
            return TLSSocketTransport(host, connect_timeout=connect_timeout, ssl=ssl, **options)
        return TCPSocketTransport(host, connect_timeout=connect_timeout, **options)

    def _setup_listeners(self) -> None:
        super()._setup_listeners()
        self._callbacks[UPDATE_SECRET_OK] = self._on_update_secret_ok

    def connect(self, callback: Any = None) -> Any:
        """Open the connection, sign in, and take part in renewals from then on."""
        result = super().connect(callback)
        self.source.attach(self)
        newest = self.source.current
        # Renewed while the handshake was under way, so nobody has told this connection.
        if newest is not None and not self.credentials_renewed(newest):
            self.postponed = newest
        return result

    def credentials_renewed(self, credentials: BrokerCredentials) -> bool:
        """Send `credentials` to the broker without waiting for its answer.

        Called on the renewal thread. Order on the wire is all that matters: what the owner writes
        afterwards is judged by the new credential.

        Returns:
            False if the owner is writing or the link is full at the moment.
        """
        if self.inherited or not self._can_take_over(credentials):
            if self._is_outdated_by(credentials):
                self._outdated_by(credentials)
            return True
        if not self.frame_lock.acquire(blocking=False):
            self.postponed = credentials
            return False
        try:
            if self.writing:  # by this very thread, which a signal's handler has interrupted
                self.postponed = credentials
                return False
            if not self._can_take_over(credentials):  # sent by the owner in the meantime
                return True
            return self._write_alone(credentials)
        except OSError as error:
            # Its owner, who alone can act on it, meets the same at the next read.
            logger.info("a connection broke before it was renewed: %s", error)
            self.source.detach(self)
            return True
        finally:
            self.frame_lock.release()

    def _is_outdated_by(self, credentials: BrokerCredentials) -> bool:
        """Return whether `credentials` are others; a certificate's fingerprint is its password."""
        present = self.credentials
        return (credentials.username, credentials.password) != (present.username, present.password)

    def _outdated_by(self, credentials: BrokerCredentials) -> None:
        self.user_changes = credentials.username != self.credentials.username
        if self.rotation.by_replacement:
            self.superseded = not (self.inherited or self.retired)
        else:
            self.left_behind = True
        hub = self.hub
        # An idle event loop would notice at the broker's next heartbeat only.
        if hub is not None and self.superseded:
            hub.call_soon(self.client.transport.on_readable, self, hub)
        elif hub is not None and self.left_behind:
            hub.call_soon(replacement.await_end, self)

    def send_postponed(self) -> None:
        """Send the renewal that the renewal thread could not; the caller holds the frame lock."""
        credentials, self.postponed = self.postponed, None
        # Another may have come since, or the broker may have refused this one.
        if credentials is None or credentials is not self.source.current:
            return
        if self._can_take_over(credentials):
            self._write_renewal(credentials, wait=True)

    @property
    def lapsed(self) -> bool:
        """Whether the broker must have closed this connection, and taken back its messages.

        A process that was suspended finds deliveries in the socket that others have got since.
        """
        # Only a token tells the broker its end; certificates and users that change do not.
        silent = self.user_changes or self.credentials.certificate is not None
        if steady_time() < self.lapses_at or silent:
            return False
        numbers = str(self.server_properties.get("version", "")).split(".")[:3]
        version = tuple(int(number) for number in numbers if number.isdigit())
        return len(version) == len(CLOSES_AT_EXPIRY) and version >= CLOSES_AT_EXPIRY

    def _can_take_over(self, credentials: BrokerCredentials) -> bool:
        """Return whether this is another secret of the same user, and may be sent.

        RabbitMQ closes a connection that is told a secret of another user (since 4.0.5).
        """
        return self.rotation.in_place and self._is_another_secret(credentials)

    def _is_another_secret(self, credentials: BrokerCredentials) -> bool:
        present = self.credentials
        if present.certificate is not None:  # it was shown when the link was made, and never again
            return False
        if credentials.username != present.username:
            return False
        # A token of another subject is another user's, whatever the login said.
        subjects = {credentials.principal, present.principal} - {None}
        return credentials.password != present.password and len(subjects) < 2

    def try_in_place(self, credentials: BrokerCredentials) -> None:
        """Send a secret that is known to be good over a connection that is about to be closed.

        The answer, which closing waits for, tells whether others may be renewed in place again.
        """
        if not (self.rotation.trial_due and self._is_another_secret(credentials)):
            return
        # Another thread may be stuck on a link that takes nothing.
        if not self.frame_lock.acquire(blocking=False):
            return
        try:
            if self.writing:  # by this very thread, which a signal's handler has interrupted
                return
            self.on_trial = True
            with contextlib.suppress(OSError):
                self._write_alone(credentials)
        finally:
            self.frame_lock.release()

    def _write_alone(self, credentials: BrokerCredentials) -> bool:
        """Write a renewal of which no signal's handler gets into the middle.

        The owner's thread does so as well, as soon as it is connected.
        """
        transport = self._transport
        begun = 0 if transport is None else transport.writes
        self.writing = True
        try:
            return self._write_renewal(credentials, wait=False)
        except BaseException:
            if transport is not None and transport.writes != begun:
                transport.break_off()
            raise
        finally:
            self.writing = False

    def _write_renewal(self, credentials: BrokerCredentials, *, wait: bool) -> bool:
        transport = self._transport
        if transport is None or not transport.connected or self.is_closing or self.lapsed:
            return True
        # Not bytes: reports that show a traceback's variables would show the secret.
        frame = memoryview(encode_update_secret(credentials.password.reveal(), REASON))
        self.unanswered.add(credentials)
        if wait:
            transport.write(frame)
        elif not transport.try_write(frame):
            self.unanswered.take_back()
            return False
        self.bytes_sent += 1
        self._carry(credentials)
        return True

    def drain_events(self, timeout: float | None = None) -> Any:
        """Read until something has arrived that the caller may be waiting for.

        The broker's answer to a renewal is no such thing. `celery inspect` waits so long for each
        next reply: counting it as one would have that wait begin anew with every renewal.
        """
        if timeout == 0 and self._transport is not None and self._transport.nothing_to_read():
            raise TimeoutError("timed out")
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            result = self._drain(timeout)
            if not self._renewal_answered:
                return result
            if deadline is not None:
                timeout = max(0.0, deadline - time.monotonic())

    def _drain(self, timeout: float | None) -> Any:
        reading, transport = self._reading, self._transport
        interrupted = getattr(reading, "now", False)
        if interrupted and transport is not None and transport.in_frame:
            # The handler of a signal, as Celery's beat has one, would take the rest of the frame
            # for the beginning of another, and might wait for an end of it that never comes.
            transport.lose_step()
            raise amqp.RecoverableConnectionError(INTERRUPTED)
        self.busy += 1
        reading.now = True
        try:
            return super().drain_events(timeout)
        except BaseException as error:
            if isinstance(error, NothingCameError) and error.transport is transport:
                raise
            # A task's time limit, say, has struck before a frame was handed over.
            self.struck = reading.now
            if reading.now and transport is not None and transport.in_frame:
                transport.lose_step()
            _number(error)
            if reading.now:
                self.meet(error)
            raise
        finally:
            reading.now = interrupted
            self.busy -= 1
            if interrupted and transport is not None:
                transport.go_on_between_frames()

    def blocking_read(self, timeout: float | None = None) -> Any:
        """Read one frame and hand it over; return whether that completes something."""
        transport = self.transport
        limits = transport.limits
        before = getattr(limits, "seconds", None)
        # Not by a context manager: what strikes at the beginning of its end would leave the limit.
        try:
            if timeout is not None:
                limits.seconds = timeout
            frame = transport.read_frame()
        finally:
            limits.seconds = before
        return self.on_inbound_frame(frame)

    def channel(self, channel_id: int | None = None, callback: Any = None) -> Any:
        """Open a channel, or return the one of a number."""
        if not self.connected:  # and the attempt says so
            self.end_told = True
        return super().channel(channel_id, callback)

    def meet(self, error: BaseException) -> None:
        """Note whether this error has told somebody of the link's end."""
        if _is_an_end(error) and not self.connected:
            self.end_told = True

    @property
    def struck(self) -> bool:
        """Whether this thread's last read was broken off before it handed a frame over."""
        struck: bool = self._reading.struck
        return struck

    @struck.setter
    def struck(self, struck: bool) -> None:
        self._reading.struck = struck

    @property
    def end_is_news(self) -> bool:
        """Whether the link has ended, and nobody has told those who consume over it."""
        if self.connected or self._transport is None or self.inherited or self.end_told:
            return False
        channels = list((self.channels or {}).items())
        return any(number and channel.subscriptions for number, channel in channels)

    def lose_step(self) -> None:
        """End the link, if there is one still: an answer comes that nobody waits for any more."""
        if self._transport is not None:
            self._transport.lose_step()

    def on_inbound_method(
        self, channel_id: int, method_sig: tuple[int, int], payload: bytes, content: Any
    ) -> None:
        """Handle what has arrived, and remember whether it was no more than such an answer."""
        reading, transport = self._reading, self._transport
        before = getattr(reading, "now", False)
        # A delivery is lost by whatever strikes before its channel calls the consumer's callback.
        channel = (self.channels or {}).get(channel_id)
        if method_sig != spec.Basic.Deliver or channel is None or channel.connection is not self:
            reading.now = False
            if transport is not None:
                transport.in_frame = False
        super().on_inbound_method(channel_id, method_sig, payload, content)
        if transport is not None:
            transport.in_frame = False  # a channel that is being closed calls no callback
        reading.now = before  # not after an error, which is then known to be of the callback
        # Only now: a callback may have waited for something else, and read answers meanwhile.
        self._renewal_answered = method_sig == UPDATE_SECRET_OK

    def give_up_expired(self) -> NoReturn:
        """Close what the broker has closed or will refuse, and say so to the caller.

        Raises:
            CredentialRanOutError: Always; Kombu and Celery reconnect on it.
        """
        if self.inherited:
            self.give_up_inherited()
        error = self.expired_for(CredentialRanOutError)
        self.collect()
        raise error

    def expired_for(self, kind: type[_Error]) -> _Error:
        """Return the error for what cannot be sent since the credential has run out."""
        failure = self.source.status().last_error
        if self.left_behind:
            failure = self._why_left_behind()
        return kind(
            f"the credential of this connection ran out: {failure or 'it was not renewed in time'}",
            remedy="nothing was sent; the next connection signs in anew",
        )

    def _why_left_behind(self) -> str:
        mode = f"rotation = {self.rotation.mode}"
        if not self.rotation.in_place:
            return f"{mode} leaves it to the next connection to renew it"
        if self.credentials.certificate is not None:
            return f"{mode} renews it in place only, and a link shows its certificate once"
        return f"{mode} renews it in place only, and the newer one is another user's"

    def give_up_inherited(self) -> NoReturn:
        """Let go of the connection of the process that this one was forked from.

        Raises:
            amqp.RecoverableConnectionError: Always; Kombu and Celery connect anew on it.
        """
        self.collect()
        raise amqp.RecoverableConnectionError(
            "the connection belongs to the process that this one was forked from"
        )

    def close(self, *args: Any, **kwargs: Any) -> Any:
        """Close the connection in order, unless it is another process's."""
        if self.inherited:
            return self.collect()
        try:
            for old in list(self.predecessors):
                replacement.dismiss(old)
            self.predecessors = []
            return super().close(*args, **kwargs)
        except BaseException:
            # The end of a consumer, say, whose queue was deleted, read before the broker's answer;
            # or a task's time limit, after which the broker would throw away what is published.
            self.collect()
            raise

    def collect(self) -> None:
        """Let go of the socket and of renewals."""
        self.source.detach(self)
        predecessors, self.predecessors = self.predecessors, []
        for old in predecessors:
            old.collect()
        super().collect()

    def _mark_as_inherited(self) -> None:
        # Reading would harm the parent as much as writing: it would miss what this process reads.
        self.inherited = True
        self.usable_until = -math.inf
        if self._transport is not None:
            self._transport.forget()

    def _carry(self, credentials: BrokerCredentials) -> None:
        self.usable_until = usable_until(credentials)
        self.lapses_at = steady_time() + credentials.remaining() + LAPSE_MARGIN
        self.credentials = credentials
        # What was to be sent before this one is older: sending it now would undo the renewal.
        self.postponed = None

    def _on_update_secret_ok(self) -> None:
        sent = self.unanswered.answered()
        if sent is not None:
            self.rotation.taken_in_place(sent.at)
        logger.debug("the broker accepted the renewed credential")

    def _on_close(self, reply_code: int, reply_text: str, class_id: int, method_id: int) -> None:
        refused = self.unanswered.next
        try:
            super()._on_close(reply_code, reply_text, class_id, method_id)
        except amqp.AMQPError:
            stumbled = reply_code == INTERNAL_ERROR and refused is not None
            if (class_id, method_id) != UPDATE_SECRET and not stumbled:
                raise
            if reply_code in UNKNOWN_METHOD:
                self.rotation.not_in_place()
            elif refused is not None and not self._is_methods_fault(refused, stumbled=stumbled):
                self.source.invalidate(refused.credentials)
            raise CredentialRefusedError(
                f"the broker refused the renewed credential of {self.source.provider.identity}: "
                f"{reply_text}",
                remedy="the broker's log has the reason; the next connection signs in anew",
            ) from None

    def _is_methods_fault(self, refused: Sent, *, stumbled: bool) -> bool:
        """Find out whether a renewal was refused though nothing is wrong with its secret."""
        rotation, secret = self.rotation, refused.credentials.password
        if self.on_trial:  # it is in use on the connection that has taken this one's place
            rotation.not_in_place()
            return True
        if stumbled or not rotation.in_place:
            return not stumbled  # another connection has found out
        if time.monotonic() - refused.at > PROMPT:
            # A login may succeed by now because the broker can reach the issuer's keys again.
            rotation.refused_for_whatever_reason(secret)
        elif self.lets_in is not None and rotation.worth_a_login(secret):
            if self.lets_in(refused.credentials):
                rotation.not_in_place()
                return True
            rotation.secret_is_no_good(secret)
        return False
