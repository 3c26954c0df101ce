"""Nodes of a test's own: started, stopped, killed, side by side, and gone without a trace."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import amqp
import pytest

from mqauth_sandbox import Broker, BrokerError, NotInstalledError, Sandbox, SandboxError
from mqauth_sandbox.rabbitmq import installation
from mqauth_sandbox.workdir import create_workdir, owner_of, remove_stale_workdirs, remove_workdir

LIMIT = 20.0
STARTER = "starter of the node"


@pytest.fixture(scope="module")
def which(request: pytest.FixtureRequest) -> str:
    """The RabbitMQ that this run is about."""
    return str(request.config.getoption("--mqauth-broker"))


@pytest.fixture(scope="module")
def broker(which: str) -> Iterator[Broker]:
    """A node with internal users only, which every test leaves running.

    The thread that starts it has ended by the time the tests use it.
    """
    broker = Broker(which)
    try:
        starter = threading.Thread(target=broker.start, name=STARTER)
        starter.start()
        starter.join()
        yield broker
    finally:
        broker.close()


def admin(broker: Broker) -> amqp.Connection:
    """Return an open connection of the administrator's."""
    connection = amqp.Connection(
        f"localhost:{broker.amqp_port}",
        userid=broker.admin_user,
        password=broker.admin_password,
        connect_timeout=LIMIT,
    )
    connection.connect()
    return connection


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """Return the pids of all processes below `pid`."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [one for child in map(int, children) for one in (child, *descendants(child))]


def names(pids: list[int]) -> set[str]:
    """Return the names of those processes that still run."""
    found = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX":
                found.add(Path(f"/proc/{pid}/comm").read_text().strip())
        except OSError:
            continue
    return found


def port_is_free(port: int) -> bool:
    """Whether nothing accepts connections on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_node_outlives_the_thread_that_started_it(broker: Broker) -> None:
    """A node started in a thread of its own goes on when that thread has ended."""
    assert STARTER not in [thread.name for thread in threading.enumerate()]
    admin(broker).close()


def test_restart_keeps_ports_and_messages(broker: Broker) -> None:
    """After a restart the node is at the same ports, with its users and its durable messages."""
    connection = admin(broker)
    channel = connection.channel()
    channel.queue_declare("kept", durable=True, auto_delete=False)
    message = amqp.Message("m", delivery_mode=2)
    channel.basic_publish_confirm(message, routing_key="kept", confirm_timeout=LIMIT)
    broker.restart()
    with pytest.raises((amqp.exceptions.ConnectionError, OSError)):
        connection.drain_events(timeout=LIMIT)
    connection.collect()
    connection = admin(broker)
    assert connection.channel().basic_get("kept", no_ack=True).body == "m"
    connection.close()


def test_a_killed_node_starts_again(broker: Broker) -> None:
    """After `kill` the ports are dead at once, and `start` brings the node back."""
    broker.kill()
    assert not broker.running
    assert port_is_free(broker.amqp_port)
    broker.start()
    admin(broker).close()


def test_two_nodes_run_side_by_side(broker: Broker) -> None:
    """A node of the other version runs beside this one; each answers for itself."""
    with Broker("3" if broker.version.startswith("4.") else "4") as other:
        assert other.version.split(".")[0] != broker.version.split(".")[0]
        for one in (broker, other):
            connection = admin(one)
            assert connection.server_properties["version"] == one.version
            connection.close()
            assert one.version in one.ctl("version")


def test_close_leaves_no_trace(which: str) -> None:
    """After `close` no process, directory or open port of the node is left."""
    broker = Broker(which)
    directory = broker.log_file.parents[2]
    before = set(descendants(os.getpid()))
    broker.start()
    processes = [pid for pid in descendants(os.getpid()) if pid not in before]
    assert {"beam.smp", "epmd"} <= names(processes)
    broker.close()
    broker.close()
    assert names(processes) == set()
    assert not directory.exists()
    assert port_is_free(broker.amqp_port)


def test_a_node_that_cannot_start_says_why(which: str) -> None:
    """A taken port shows up in a one-line error with the node's last words; nothing is left."""
    broker = Broker(which)
    directory = broker.log_file.parents[2]
    with socket.create_server(("127.0.0.1", broker.amqp_port)):
        before = set(descendants(os.getpid()))
        with pytest.raises(BrokerError, match="eaddrinuse") as caught, broker:
            pass
    assert "\n" not in str(caught.value)
    assert names([pid for pid in descendants(os.getpid()) if pid not in before]) == set()
    assert not directory.exists()


def test_a_node_that_takes_too_long_is_ended(which: str) -> None:
    """Past its time limit a start is given up, and what had begun is ended."""
    broker = Broker(which)
    try:
        with pytest.raises(BrokerError, match=r"not ready within 0\.5 s"):
            broker.start(timeout=0.5)
        assert not broker.running
    finally:
        broker.close()


def test_without_namespaces_the_distributions_node_leaves_nothing_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where namespaces are refused, 3 runs and its epmd ends with it; 4 says what it needs."""
    monkeypatch.setattr(installation, "isolation_failure", lambda: "Operation not permitted")
    before = set(descendants(os.getpid()))
    with Broker("3") as broker:
        processes = [pid for pid in descendants(os.getpid()) if pid not in before]
        assert "epmd" in names(processes)
        assert "unshare" not in names(processes)
        admin(broker).close()
        broker.stop()
        assert names(processes) == set()
    with pytest.raises(NotInstalledError, match=r"needs namespaces.*SYS_ADMIN"), Broker("4"):
        pass


@pytest.mark.parametrize("path", ["/nowhere", "/etc/hostname"])
def test_a_path_without_rabbitmq_is_refused(path: str) -> None:
    """A path that holds no rabbitmq-server is named in a one-line error."""
    with pytest.raises(NotInstalledError, match=f"no rabbitmq-server at {path}"):
        Broker(path)


def test_a_path_names_an_installation() -> None:
    """Wrapper, sbin folder and home of one installation all lead to the same programs."""
    home = next(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*"))
    paths = [Path("/usr/sbin/rabbitmq-server"), Path("/usr/sbin"), home / "sbin", home]
    assert {installation.installation_at(path) for path in paths} == {
        installation.Installation(sbin=home / "sbin", version=home.name.split("-")[1])
    }


def test_a_running_brokers_url_gives_issuers_only() -> None:
    """With a URL the sandbox starts no node, says so, and points the environment to the URL."""
    with Sandbox(broker="amqps://somewhere.example/x") as sandbox:
        assert sandbox.issuer.issuer_url.startswith("https://localhost:")
        assert sandbox.environment()["CELERY_BROKER_URL"] == "amqps://somewhere.example/x"
        with pytest.raises(SandboxError, match="issuers only"):
            _ = sandbox.broker
        directory = sandbox.ca_file.parent.parent
    assert not directory.exists()


def test_directories_of_dead_processes_are_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A directory goes when its owner is gone, and stays while the owner lives."""
    # Where no other sandbox of this machine, which begins just then, is faster.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    alive = create_workdir()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(create_workdir()).encode())
        os._exit(0)
    dead = Path(os.read(reader, 4096).decode())
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
    try:
        assert owner_of(alive) == os.getpid()
        assert owner_of(dead) is None
        assert dead in remove_stale_workdirs()
        assert not dead.exists()
        assert alive.exists()
    finally:
        remove_workdir(alive)
