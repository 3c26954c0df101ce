"""Users with a password, as ApsaraMQ's open-source authentication has them, whose password changes.

Virtual hosts and regular-expression permissions are the broker's own, on RabbitMQ 4 and 3.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest

from celery_mqauth.errors import LoginRefusedError, VirtualHostError
from mqauth.shared import shared_sources
from mqauth_sandbox import Broker

ROTATIONS = 5
Connect = Callable[..., kombu.Connection]
Rotate = Callable[[], str]


@pytest.fixture
def user(broker: Broker) -> Iterator[str]:
    """A user who may only touch what begins with `orders`."""
    name = f"worker-{time.monotonic_ns()}"
    broker.add_user(
        name,
        secrets.token_urlsafe(12),
        permissions=("^orders", "^(orders|amq\\.default)", "^orders"),
    )
    yield name
    broker.ctl("delete_user", name)


@pytest.fixture
def rotate(broker: Broker, user: str) -> Rotate:
    """Return a function that gives the user another password and returns it."""

    def change() -> str:
        password = secrets.token_urlsafe(16)
        broker.ctl("change_password", user, stdin=f"{password}\n")
        return password

    return change


Place = tuple[dict[str, Any], Callable[[str], None]]


@pytest.fixture(params=["file", "environment", "named entry"])
def place(
    request: pytest.FixtureRequest, user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Place:
    """Options, and a function that writes a password to where they point."""
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    if request.param == "file":
        options = {"username": user, "password_file": str(file)}
        return options, lambda password: _write(file, f"{password}\n")
    if request.param == "environment":
        monkeypatch.setenv("MQAUTH_STATIC_USERNAME", user)
        return {}, lambda password: monkeypatch.setenv("MQAUTH_STATIC_PASSWORD", password)
    monkeypatch.setenv("MQAUTH_CONFIG", str(file))
    entry = f'[shop]\nprovider = "static"\nusername = "{user}"\npassword = "%s"\n'
    return {"who": "shop"}, lambda password: _write(file, entry % password)


def _write(file: Path, text: str) -> None:
    file.write_text(text)


@pytest.mark.timeout(240)  # rabbitmqctl, nine times
def test_a_password_may_change_where_it_stands(
    connect: Connect, place: Place, rotate: Rotate
) -> None:
    """Five new passwords are noticed at the next login, and what is open stays open."""
    options, write = dict(place[0]), place[1]
    who = options.pop("who", "static")
    write(rotate())
    lasting = connect(who=who, only_auth=options)
    queue = kombu.Queue("orders.in", auto_delete=True, durable=False)
    queue(lasting.default_channel).declare()
    reader = lasting.SimpleQueue(queue)
    for number in range(ROTATIONS):
        write(rotate())
        with connect(who=who, only_auth=options) as later:
            kombu.Producer(later.channel()).publish(number, routing_key="orders.in")
        message = reader.get(timeout=20)
        assert message.payload == number
        message.ack()
    reader.close()
    assert lasting.connected


def test_a_setting_may_change(connect: Connect, user: str, rotate: Rotate) -> None:
    """Another password in the options counts from the next connection on."""
    for _ in range(2):
        with connect(who="static", only_auth={"username": user, "password": rotate()}) as one:
            assert one.connected
    assert all(source.provider.name == "static" for source in shared_sources())


def test_a_refused_password_is_read_again(
    connect: Connect, user: str, rotate: Rotate, tmp_path: Path
) -> None:
    """One connection's own reconnect takes the new password, without any error to the caller."""
    file = tmp_path / "password"
    file.write_text(rotate())
    connection = connect(who="static", only_auth={"username": user, "password_file": str(file)})
    file.write_text(rotate())
    connection.collect()
    connection.connect()
    connection.default_channel.queue_declare("orders.x", auto_delete=True)
    (source,) = shared_sources()
    assert source.status().invalidations == 1


def test_a_wrong_password_is_refused_with_its_remedy(connect: Connect, user: str) -> None:
    """The first login with a wrong password says what to check, without the password."""
    with pytest.raises(LoginRefusedError, match="check the user name, the password") as refused:
        connect(who="static", only_auth={"username": user, "password": "canary-x1"})
    assert "canary" not in str(refused.value)
    # It was sent once: what was fetched anew is the same.
    assert f"refused the login of static user {user}, and there is no other" in str(refused.value)


@pytest.mark.parametrize("vhost", ["closed", "nowhere"])
def test_a_virtual_host_that_is_not_open(
    connect: Connect, broker: Broker, user: str, rotate: Rotate, vhost: str
) -> None:
    """A virtual host that is closed to the user, or not there, is named."""
    if vhost == "closed" and vhost not in broker.ctl("list_vhosts"):
        broker.add_vhost(vhost)
    with pytest.raises(VirtualHostError, match=vhost):
        connect(who="static", vhost=vhost, only_auth={"username": user, "password": rotate()})


def test_permissions_are_regular_expressions(connect: Connect, user: str, rotate: Rotate) -> None:
    """Configure, write and read hold for matching names and nothing else."""
    connection = connect(who="static", only_auth={"username": user, "password": rotate()})
    channel = connection.channel()
    channel.queue_declare("orders.in", auto_delete=True)
    kombu.Producer(channel).publish("x", routing_key="orders.in")
    assert channel.basic_get("orders.in", no_ack=True) is not None
    for operation, arguments in (
        ("queue_declare", ("invoices",)),
        ("exchange_declare", ("invoices", "topic")),
        ("queue_bind", ("orders.in", "amq.topic", "x")),
        ("basic_get", ("invoices",)),
    ):
        with pytest.raises(amqp.AccessRefused, match="ACCESS_REFUSED"):
            getattr(connection.channel(), operation)(*arguments)
    assert connection.connected
