"""One running sandbox: what its broker accepts, refuses, logs and hides."""

from __future__ import annotations

import os
import re
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import amqp
import pytest
import trustme

from mqauth_sandbox import Broker, BrokerError, OidcIssuer, Sandbox, TcpProxy

LIMIT = 30.0


@pytest.fixture(autouse=True)
def _lasting(mqauth_issuer: OidcIssuer) -> None:
    """Let tokens outlast `rabbitmqctl`, which may take longer than the usual ones live."""
    mqauth_issuer.token_lifetime = 300.0


@contextmanager
def login(port: int, password: str, user: str = "", **options: Any) -> Iterator[amqp.Connection]:
    """Open a connection, and close it unless it is closed already."""
    connection = amqp.Connection(
        f"localhost:{port}",
        userid=user,
        password=password,
        login_method="PLAIN",
        connect_timeout=LIMIT,
        **options,
    )
    try:
        connection.connect()
        yield connection
        if connection.connected:
            connection.close()
    finally:
        connection.collect()


def wait_for_log(broker: Broker, pattern: str, since: int) -> str:
    """Return the log from `since` on once `pattern` matches in it."""
    deadline = time.monotonic() + LIMIT
    while not re.search(pattern, log := broker.log_text(since)):
        assert time.monotonic() < deadline, f"{pattern!r} is not in: {log}"
        time.sleep(0.05)
    return log


def the_only_one(broker: Broker) -> dict[str, Any]:
    """Return the one open connection, once the broker has noticed that earlier ones have ended."""
    deadline = time.monotonic() + LIMIT
    while len(rows := broker.connections()) != 1:
        assert time.monotonic() < deadline, rows
    return rows[0]


def test_a_token_signs_in_and_works(mqauth_broker: Broker, mqauth_issuer: OidcIssuer) -> None:
    """A fresh token may declare, publish and fetch, topics included, under the token's subject."""
    with login(mqauth_broker.amqp_port, mqauth_issuer.mint()) as connection:
        assert connection.server_properties["version"] == mqauth_broker.version
        channel = connection.channel()
        queue = channel.queue_declare(exclusive=True).queue
        channel.exchange_declare("test.topic", "topic", auto_delete=True)
        channel.queue_bind(queue, "test.topic", "#")
        channel.basic_publish(amqp.Message("hello"), "test.topic", "a.b")
        assert channel.basic_get(queue).body == "hello"
        assert the_only_one(mqauth_broker)["user"] == mqauth_issuer.client_id


def test_tls_is_verified_against_the_sandbox_authority(
    mqauth_broker: Broker, mqauth_issuer: OidcIssuer, tmp_path: Path
) -> None:
    """AMQPS speaks TLS 1.3 for `localhost` under the sandbox's authority and no other."""
    options = {"ca_certs": str(mqauth_broker.ca_file), "server_hostname": "localhost"}
    with login(mqauth_broker.amqps_port, mqauth_issuer.mint(), ssl=options) as connection:
        assert connection.transport.sock.version() == "TLSv1.3"
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        login(mqauth_broker.amqps_port, "x", ssl=options | {"ca_certs": str(other)}),
    ):
        pass


def test_tls_below_1_2_is_refused(mqauth_broker: Broker) -> None:
    """The AMQPS listener does not talk TLS 1.1."""
    context = ssl.create_default_context(cafile=mqauth_broker.ca_file)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", mqauth_broker.amqps_port), LIMIT) as client,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(client, server_hostname="localhost")


@pytest.mark.parametrize(
    ("claims", "refusal"),
    [
        ({"lifetime": -5}, amqp.exceptions.AccessRefused),
        ({"aud": "somebody-else"}, amqp.exceptions.AccessRefused),
        ({"scope": "rabbitmq.tag:monitoring"}, amqp.exceptions.NotAllowed),
    ],
    ids=["expired", "others", "no-vhost"],
)
def test_tokens_that_do_not_fit_are_refused(
    mqauth_broker: Broker,
    mqauth_issuer: OidcIssuer,
    claims: dict[str, Any],
    refusal: type[Exception],
) -> None:
    """Expired tokens, others' tokens and tokens without any access to the vhost do not sign in."""
    with (
        pytest.raises(refusal),
        login(mqauth_broker.amqp_port, mqauth_issuer.mint(**claims)),
    ):
        pass


def test_a_rotated_key_is_fetched(mqauth_broker: Broker, mqauth_issuer: OidcIssuer) -> None:
    """A token signed with a key that the broker has not seen yet signs in."""
    mqauth_issuer.rotate_keys()
    with login(mqauth_broker.amqp_port, mqauth_issuer.mint()) as connection:
        assert connection.connected


def test_internal_users_work_beside_tokens(mqauth_broker: Broker) -> None:
    """A user of the broker's own may do what its permissions say, on its vhost only."""
    mqauth_broker.add_vhost("blue box")
    mqauth_broker.add_user(
        "anna", "pass: word", permissions=("^mine", "^$", ".*"), vhost="blue box"
    )
    with login(
        mqauth_broker.amqp_port, "pass: word", "anna", virtual_host="blue box"
    ) as connection:
        assert connection.channel().queue_declare("mine.1", exclusive=True).queue == "mine.1"
        with pytest.raises(amqp.exceptions.AccessRefused):
            connection.channel().queue_declare("yours", exclusive=True)
    with (
        pytest.raises(amqp.exceptions.NotAllowed),
        login(mqauth_broker.amqp_port, "pass: word", "anna"),
    ):
        pass


def test_connections_are_listed_as_the_broker_sees_them(mqauth_broker: Broker) -> None:
    """The list holds user, vhost, protection, state and what the client says about itself."""
    options = {"ca_certs": str(mqauth_broker.ca_file), "server_hostname": "localhost"}
    admin = mqauth_broker.admin_user, mqauth_broker.admin_password
    with login(
        mqauth_broker.amqps_port,
        admin[1],
        admin[0],
        ssl=options,
        client_properties={"connection_name": "the one"},
    ):
        row = the_only_one(mqauth_broker)
    assert row["user"] == admin[0]
    assert row["vhost"] == "/"
    assert row["ssl"] is True
    assert row["state"] == "running"
    assert "the one" in str(row["client_properties"])


def test_the_log_tells_an_orderly_end_from_a_lost_client(
    mqauth_broker: Broker, mqauth_issuer: OidcIssuer, mqauth_proxy: TcpProxy
) -> None:
    """An orderly close is one info line; a lost client is a warning of two lines."""
    since = mqauth_broker.log_size()
    with login(mqauth_broker.amqp_port, mqauth_issuer.mint()) as connection:
        port = connection.transport.sock.getsockname()[1]
        wait_for_log(mqauth_broker, "authenticated and granted access to vhost '/'", since)
    wait_for_log(mqauth_broker, rf"\[info\] .* closing AMQP connection .*:{port} -> ", since)

    since = mqauth_broker.log_size()
    with login(mqauth_proxy.port, mqauth_issuer.mint()) as connection:
        mqauth_proxy.cut()
        with pytest.raises(ConnectionResetError):
            connection.drain_events(timeout=LIMIT)
        connection.collect()
    lost = (
        r"\[warning\] .* closing AMQP connection .*\n.* client unexpectedly closed TCP connection"
    )
    wait_for_log(mqauth_broker, lost, since)


def test_expiry_closes_the_connection_from_4_3_on(
    mqauth_broker: Broker, mqauth_issuer: OidcIssuer
) -> None:
    """From 4.3 on a connection ends when its token does, and the log says so; 3.x lets it live."""
    since = mqauth_broker.log_size()
    with login(mqauth_broker.amqp_port, mqauth_issuer.mint(lifetime=8)) as connection:
        if mqauth_broker.version.startswith("3."):
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=9.5)
            assert "expired" not in mqauth_broker.log_text(since)
            return
        with pytest.raises(amqp.exceptions.ConnectionForced, match="credential expired"):
            connection.drain_events(timeout=LIMIT)
    log = wait_for_log(mqauth_broker, "duration:", since)
    assert "credential has expired" in log
    assert "credential expired" in log


def test_a_failing_command_is_one_line(mqauth_broker: Broker) -> None:
    """What rabbitmqctl refuses comes back as one line that names the command."""
    with pytest.raises(BrokerError, match="rabbitmqctl set_user_tags failed") as caught:
        mqauth_broker.ctl("set_user_tags", "nobody-of-that-name", "monitoring")
    assert "\n" not in str(caught.value)


def test_a_slow_command_is_given_up(mqauth_broker: Broker) -> None:
    """A command that takes longer than its limit raises instead of waiting."""
    with pytest.raises(BrokerError, match=r"did not end within 0\.2 s"):
        mqauth_broker.ctl("eval", "timer:sleep(60000).", timeout=0.2)


def test_nothing_listens_beyond_loopback(mqauth_broker: Broker) -> None:
    """Every port of the node, epmd's and Erlang's included, is bound to 127.0.0.1 or ::1 only."""
    ports = mqauth_broker._node._ports
    wanted = {ports.amqp, ports.amqps, ports.management, ports.epmd, ports.distribution}
    loopback = {"0100007F", "00000000000000000000000001000000"}
    seen = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            if line.split()[3] == "0A" and int(port, 16) in wanted:
                assert address in loopback
                seen.add(int(port, 16))
    assert seen == wanted


def test_files_and_arguments_keep_secrets(mqauth_sandbox: Sandbox) -> None:
    """Nobody else can read the sandbox's files, and no process shows a secret as an argument."""
    directory = mqauth_sandbox.ca_file.parent.parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    environment = mqauth_sandbox.environment()
    for name in ("MQAUTH_OAUTH2_CLIENT_SECRET_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        assert stat.S_IMODE(Path(environment[name]).stat().st_mode) == 0o600
    key = mqauth_sandbox.ca_file.parent / "server.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    secrets = (
        mqauth_sandbox.broker.admin_password,
        mqauth_sandbox.issuer.client_secret,
        mqauth_sandbox.sts.secret_access_key,
    )
    for process in Path("/proc").glob("[0-9]*"):
        try:
            shown = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        assert not any(secret.encode() in shown for secret in secrets), process
    assert not any(secret in str(environment) for secret in secrets)


def test_a_forked_child_leaves_the_sandbox_alone(mqauth_sandbox: Sandbox) -> None:
    """A process that was forked off may run the sandbox's clean-up without ending anything."""
    child = os.fork()
    if child == 0:
        try:
            mqauth_sandbox.close()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert mqauth_sandbox.broker.running
    assert mqauth_sandbox.ca_file.exists()
