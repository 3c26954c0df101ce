"""`connection.update-secret` on real connections: taken over, refused, caught up."""

from __future__ import annotations

import dataclasses
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import amqp
import kombu
import pytest

from celery_mqauth.connection import RotatingConnection
from celery_mqauth.errors import CredentialRefusedError
from celery_mqauth.unanswered import KEPT, Unanswered
from celery_mqauth.update_secret import encode_update_secret
from mqauth.credentials import BrokerCredentials
from mqauth.secret import Secret
from mqauth.shared import shared_sources
from mqauth_sandbox import OidcIssuer, TcpProxy

Connect = Callable[..., kombu.Connection]
Mint = Callable[..., BrokerCredentials]
READ_ONLY = ["rabbitmq.read:*/*/*"]


def drain_until_closed(raw: RotatingConnection) -> None:
    """Wait for what the broker says until it ends the connection."""
    while True:
        raw.drain_events(timeout=10)


def test_the_frame_is_what_the_protocol_asks_for() -> None:
    """Class 10, method 70 on channel 0, the secret as long string, the reason as short string."""
    frame = encode_update_secret("sécret", "because")
    kind, channel, size = struct.unpack(">BHI", frame[:7])
    assert (kind, channel, size) == (1, 0, len(frame) - 8)
    assert frame[-1] == 0xCE
    assert frame[7:-1] == b"\0\x0a\0\x46" + b"\0\0\0\x07" + "sécret".encode() + b"\x07because"


def test_a_reason_is_cut_to_what_a_short_string_holds() -> None:
    """A reason may not be longer than 255 bytes on the wire."""
    frame = encode_update_secret("s", "r" * 300)
    assert frame[7:-1].endswith(b"\xff" + b"r" * 255)


def test_the_new_secret_is_in_force_at_once(
    connect: Connect, issuer: OidcIssuer, queue: str, mint: Mint
) -> None:
    """What the old token does not allow is allowed as soon as the new one has been sent."""
    everything = mint()
    issuer.scopes = READ_ONLY
    raw = connect().connection
    with pytest.raises(amqp.AccessRefused):
        raw.channel().basic_publish_confirm(amqp.Message("no"), routing_key=queue)
    assert raw.credentials_renewed(everything)
    raw.channel().basic_publish_confirm(amqp.Message("yes"), routing_key=queue)
    assert raw.channel().basic_get(queue, no_ack=True).body == "yes"


def test_the_same_secret_is_not_sent_again(
    connect: Connect, renewals_of: Callable[[Any], int], mint: Mint, eventually: Callable[..., None]
) -> None:
    """A connection that already carries a credential does not send it."""
    raw = connect().connection
    newer = mint()
    for _ in range(3):
        assert raw.credentials_renewed(raw.credentials)
        assert raw.credentials_renewed(newer)
    raw.channel()
    eventually(lambda: renewals_of(raw))
    assert renewals_of(raw) == 1


def test_a_refused_secret_is_a_recoverable_error(connect: Connect, mint: Mint) -> None:
    """The broker closes the connection; the error says so, and Kombu and Celery reconnect on it."""
    connection = connect()
    raw = connection.connection
    foreign = mint(aud=["another-service"])
    assert raw.credentials_renewed(foreign)
    with pytest.raises(CredentialRefusedError) as raised:
        raw.drain_events(timeout=10)
    assert isinstance(raised.value, connection.recoverable_connection_errors)
    text = str(raised.value)
    assert "oauth2 client celery" in text
    assert "the broker's log has the reason" in text
    assert "\n" not in text
    assert foreign.password.reveal() not in text
    assert not raw.connected


@pytest.fixture
def thrown_away(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> list[BrokerCredentials]:
    """What the source was told to throw away."""
    connect().release()
    (source,) = shared_sources()
    gone: list[BrokerCredentials] = []
    monkeypatch.setattr(source, "invalidate", gone.append)
    return gone


def test_a_secret_that_the_broker_stumbles_over_is_refused(
    connect: Connect, mint: Mint, thrown_away: list[BrokerCredentials]
) -> None:
    """A token cut short makes RabbitMQ fail; the connection is lost, and nothing else."""
    connection = connect()
    raw = connection.connection
    whole = mint()
    begin, _, signature = whole.password.reveal().rpartition(".")
    cut = dataclasses.replace(whole, password=Secret(f"{begin}.{signature[:101]}"))
    assert raw.credentials_renewed(cut)
    with pytest.raises(CredentialRefusedError, match="INTERNAL_ERROR") as raised:
        drain_until_closed(raw)
    assert isinstance(raised.value, connection.recoverable_connection_errors)
    assert thrown_away == [cut]
    assert raw.rotation.in_place


def test_a_broker_that_fails_for_other_reasons_refuses_nothing(
    connect: Connect, mint: Mint, thrown_away: list[BrokerCredentials]
) -> None:
    """Once a renewal is answered, an internal error is an internal error."""
    raw = connect().connection
    assert raw.credentials_renewed(mint())
    raw.channel()
    with pytest.raises(amqp.InternalError):
        raw._on_close(541, "INTERNAL_ERROR", 0, 0)
    assert thrown_away == []


def test_the_refused_one_is_thrown_away_and_no_later_one(
    connect: Connect, mint: Mint, thrown_away: list[BrokerCredentials]
) -> None:
    """What was sent after the refused secret, before anybody read the refusal, is not blamed."""
    raw = connect().connection
    foreign = mint(aud=["another-service"])
    for credentials in (mint(), foreign, mint()):
        assert raw.credentials_renewed(credentials)
    with pytest.raises(CredentialRefusedError):
        drain_until_closed(raw)
    assert thrown_away == [foreign]


def test_renewals_that_nobody_reads_about_are_not_kept_for_ever(mint: Mint) -> None:
    """Only the last few are kept, and each answer still counts for the renewal it belongs to."""
    sent = [mint() for _ in range(KEPT + 2)]
    unanswered = Unanswered()
    for credentials in sent:
        unanswered.add(credentials)
    for _ in range(2):
        assert unanswered.next is None
        assert unanswered.answered() is None
    for credentials in sent[2:]:
        assert unanswered.next is not None
        assert unanswered.next.credentials is credentials
        unanswered.answered()
    assert unanswered.next is None
    assert unanswered.answered() is None


@pytest.mark.parametrize("sandbox", ["4"], indirect=True)
def test_another_user_is_refused(connect: Connect, mint: Mint) -> None:
    """RabbitMQ 4 does not let a connection change its user, and says who refused."""
    raw = connect().connection
    assert raw.credentials_renewed(mint(sub="somebody-else"))
    with pytest.raises(CredentialRefusedError, match="refused the renewed credential"):
        raw.channel()


def test_only_the_refused_credential_is_thrown_away(connect: Connect, mint: Mint) -> None:
    """A refusal of an older or foreign token leaves the newest one in use."""
    raw = connect().connection
    other = connect().connection
    (source,) = shared_sources()
    good = source.current
    assert raw.credentials_renewed(mint(aud=["another-service"]))
    with pytest.raises(CredentialRefusedError):
        raw.drain_events(timeout=10)
    assert source.current is good
    assert (source.status().invalidations, source.status().connections) == (0, 1)
    assert other.connected


def test_a_refused_renewal_of_the_issuer_is_replaced(
    connect: Connect, issuer: OidcIssuer, eventually: Callable[..., None]
) -> None:
    """When the issuer's newest token is refused nobody keeps it; the next login fetches anew."""
    issuer.token_lifetime = 20
    connection = connect(auth={"renew_at": 0.02})
    raw = connection.connection
    (source,) = shared_sources()
    carried = raw.credentials
    issuer.resource_server_id = "another-service"
    issuer.token_lifetime = 300  # so that no newer one comes before it is thrown away
    eventually(lambda: raw.credentials is not carried, "the renewal")
    with pytest.raises(CredentialRefusedError):
        drain_until_closed(raw)
    assert source.status().invalidations == 1
    issuer.resource_server_id = "rabbitmq"
    assert connection.connect() is not raw
    assert connection.connected


def test_answers_that_nobody_read_do_not_matter(
    connect: Connect, mint: Mint, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that was renewed often and never read from closes in order, without a word."""
    connection = connect()
    raw = connection.connection
    for _ in range(20):
        assert raw.credentials_renewed(mint())
    raw.close()
    assert not raw.connected
    assert [record.message for record in caplog.records if record.levelname != "INFO"] == []


def test_a_login_overtaken_by_a_renewal_catches_up(
    connect: Connect,
    issuer: OidcIssuer,
    plain_proxy: TcpProxy,
    eventually: Callable[..., None],
) -> None:
    """What is renewed while a handshake is under way reaches that connection, too."""
    issuer.token_lifetime = 20
    early = {"renew_at": 0.02}
    connect(auth=early)
    (source,) = shared_sources()
    overtaken: list[kombu.Connection] = []
    plain_proxy.stall()
    thread = threading.Thread(
        target=lambda: overtaken.append(connect(auth=early, port=plain_proxy.port))
    )
    thread.start()
    eventually(lambda: plain_proxy.links == 1, "the connection")
    first = source.current
    eventually(lambda: source.current is not first, "the renewal")
    issuer.token_lifetime = 300
    eventually(lambda: source.current is not None and source.current.lifetime > 100)
    plain_proxy.resume()
    thread.join(10)
    assert overtaken[0].connection.credentials is source.current
    overtaken[0].connection.channel().close()


def test_a_renewal_kept_back_is_not_sent_after_a_newer_one(
    connect: Connect, mint: Mint, renewals_of: Callable[[Any], int], eventually: Callable[..., None]
) -> None:
    """What met a busy owner once, and was then sent, never goes out again."""
    raw = connect().connection
    first, second = mint(), mint(lifetime=600)
    with raw.frame_lock, ThreadPoolExecutor(1) as renewal:
        assert not renewal.submit(raw.credentials_renewed, first).result(10)
    assert raw.credentials_renewed(first)
    assert raw.credentials_renewed(second)
    raw.send_heartbeat()
    raw.channel()
    eventually(lambda: renewals_of(raw) == 2)
    assert raw.credentials is second


def test_a_write_that_is_struck_down_ends_the_link(connect: Connect, queue: str) -> None:
    """Nothing may follow half a message: a time limit that strikes in its midst ends the link."""
    raw = connect().connection
    channel = raw.channel()
    send = raw._transport._send_now
    sent: list[int] = []

    def strike(data: memoryview) -> int:
        if sent:
            raise KeyboardInterrupt
        sent.append(len(data))
        return int(send(data[:100]))

    raw._transport._send_now = strike
    with pytest.raises(KeyboardInterrupt):
        channel.basic_publish(amqp.Message(b"x" * 1_000_000), routing_key=queue)
    raw._transport._send_now = send
    assert not raw.connected
