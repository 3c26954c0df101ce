"""Signing in by a client certificate (SASL EXTERNAL), on real brokers that read it from TLS."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest

from celery_mqauth.errors import (
    BrokerUnreachableError,
    CredentialUnavailableError,
    LoginRefusedError,
)
from mqauth.errors import ConfigurationError
from mqauth.shared import shared_sources
from mqauth_sandbox import Broker
from mqauth_sandbox.rabbitmq.configuration import CertificateLogin
from mqauth_sandbox.tls import CertificateAuthority, ClientCertificateFiles

ROTATIONS = 5
NAME = "celery-worker"

_numbers = itertools.count(1)


class Site:
    """A broker that lets clients in by certificate, and the authority that issues them."""

    def __init__(self, authority: CertificateAuthority, broker: Broker, folder: Path) -> None:
        """Remember the parts."""
        self.authority = authority
        self.broker = broker
        self.folder = folder

    def issue(
        self, name: str = NAME, lifetime: float = 3600, **more: Any
    ) -> ClientCertificateFiles:
        """Issue a certificate to a file of that name."""
        return self.authority.issue_client(self.folder, name, lifetime)

    def connection(
        self, files: ClientCertificateFiles, *, tls: bool = True, ssl: Any = None, **auth: Any
    ) -> kombu.Connection:
        """Return a connection that is not open yet."""
        given = {
            "certificate_file": files.certificate_file,
            "private_key_file": files.key_file,
            **auth,
        }
        port = self.broker.amqps_port if tls else self.broker.amqp_port
        if tls:
            ssl = {"ca_certs": str(self.broker.ca_file), **(ssl or {})}
        return kombu.Connection(
            f"mqauth{'s' if tls else ''}://external@localhost:{port}//",
            transport_options={"auth": given},
            ssl=ssl,
        )


@pytest.fixture(scope="module", params=["4", "3"], ids=lambda which: f"rabbitmq{which}")
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A broker that takes the user's name from the certificate's common name."""
    with running(request.param, "common_name", tmp_path_factory.mktemp("external")) as found:
        found.broker.add_user(NAME, "not used")
        yield found


@contextlib.contextmanager
def running(which: str, login: CertificateLogin | None, folder: Path) -> Iterator[Site]:
    """Start a broker and describe it."""
    authority = CertificateAuthority()
    with Broker(
        which, certificates=authority.server_files(folder / "tls"), certificate_login=login
    ) as broker:
        yield Site(authority, broker, folder / "clients")


def sign_in(connection: kombu.Connection) -> Any:
    """Open the raw connection, without Kombu's retries."""
    return connection.transport.establish_connection()


def works(raw: Any) -> None:
    """Publish and get a message back."""
    channel = raw.channel()
    name = f"external-{next(_numbers)}"
    channel.queue_declare(name, exclusive=True)
    channel.basic_publish(amqp.Message("x"), routing_key=name)
    assert channel.basic_get(name, no_ack=True).body == "x"


@pytest.fixture
def user_of_port(eventually: Callable[..., None]) -> Callable[[Broker, Any], str]:
    """Return a function that tells whom a broker let in on a raw connection."""

    def look(broker: Broker, raw: Any) -> str:
        line = re.compile(rf":{raw.sock.getsockname()[1]} -> .*user '(.*?)' authenticated")
        eventually(lambda: line.search(broker.log_text()), "the broker's log of the login")
        return str(line.findall(broker.log_text())[-1])

    return look


def test_five_certificates_one_after_another(
    site: Site, user_of_port: Callable[[Broker, Any], str]
) -> None:
    """Each new connection shows the newest certificate, and the broker reads the user from it."""
    serials = set()
    for _ in range(ROTATIONS + 1):
        files = site.issue(lifetime=60)
        with contextlib.closing(sign_in(site.connection(files))) as raw:
            works(raw)
            assert user_of_port(site.broker, raw) == NAME
            assert "EXTERNAL" in repr(raw.authentication).upper()
            serials.add(files.certificate_file.read_bytes())
    assert len(serials) == ROTATIONS + 1


def test_the_source_follows_what_is_renewed_on_disk(
    site: Site, eventually: Callable[..., None]
) -> None:
    """A source in use reads renewed files by itself, five times in a row, and each one signs in."""
    files = site.issue(lifetime=25)
    with contextlib.closing(sign_in(site.connection(files, renew_at=0.02))) as first:
        (source,) = shared_sources()
        for rotation in range(1, ROTATIONS + 1):
            site.issue(lifetime=25)
            eventually(lambda: source.status().rotations >= rotation, "a rotation")  # noqa: B023
            with contextlib.closing(sign_in(site.connection(files, renew_at=0.02))) as raw:
                works(raw)
        eventually(lambda: first.superseded, "the sign to replace the first connection")
        assert first.connected
    status = source.status()
    assert status.failures == 0
    assert NAME in str(status.principal)


def test_the_whole_name_can_be_the_user(tmp_path: Path) -> None:
    """Where the broker goes by the distinguished name, the refusal spells the one it lacks."""
    with running("4", "distinguished_name", tmp_path) as site:
        connection = site.connection(site.issue())
        with pytest.raises(LoginRefusedError, match=f"is there a user for CN={NAME},") as caught:
            sign_in(connection)
        name = str(caught.value).partition("a user for ")[2].partition(", by its")[0]
        site.broker.add_user(name, "not used")
        with contextlib.closing(sign_in(connection)) as raw:
            works(raw)


def test_an_unknown_user(site: Site) -> None:
    """A certificate that names no user of the broker is refused, with what to check."""
    with pytest.raises(LoginRefusedError, match="is there a user for CN=stranger"):
        sign_in(site.connection(site.issue("stranger")))


def test_an_authority_that_the_broker_does_not_know(site: Site, tmp_path: Path) -> None:
    """A certificate of another authority is refused by TLS, and the error says whose it must be."""
    files = CertificateAuthority().issue_client(tmp_path, NAME)
    with pytest.raises(
        BrokerUnreachableError, match=r"refuse[sd] the client certificate.*cacertfile"
    ):
        sign_in(site.connection(files))


def test_a_key_that_does_not_fit(site: Site, tmp_path: Path) -> None:
    """Another certificate's key is found out before anything is sent, as what may pass."""
    key = site.authority.issue_client(tmp_path, "other").key_file
    with pytest.raises(CredentialUnavailableError, match="does not fit the certificate"):
        sign_in(site.connection(site.issue(), private_key_file=key))


def test_files_that_turn_bad_between_two_logins(site: Site) -> None:
    """What is half renewed when a connection is made is an error that Celery retries."""
    files = site.issue("turning")
    site.broker.add_user("turning", "not used")
    connection = site.connection(files)
    with contextlib.closing(sign_in(connection)) as raw:
        works(raw)
    whole = files.key_file.read_bytes()
    files.key_file.write_bytes(site.issue("another").key_file.read_bytes())
    with pytest.raises(CredentialUnavailableError, match="client certificate cannot be used"):
        sign_in(connection)
    files.key_file.write_bytes(whole)
    with contextlib.closing(sign_in(connection)) as raw:
        works(raw)


def test_an_expired_certificate(site: Site) -> None:
    """A certificate that nobody renewed is not shown to any broker."""
    with pytest.raises(CredentialUnavailableError, match=r"expired 1 min \d+ s ago .*renewed"):
        sign_in(site.connection(site.issue("late", lifetime=-60)))


def test_it_needs_tls(site: Site) -> None:
    """Without TLS there is nothing that could show a certificate."""
    with pytest.raises(ConfigurationError, match=r"no TLS \(use mqauths://"):
        sign_in(site.connection(site.issue(), tls=False))


@pytest.mark.parametrize("key", ["certfile", "keyfile", "context"])
def test_two_certificates_contradict_each_other(site: Site, key: str) -> None:
    """TLS options that bring a certificate of their own are refused."""
    files = site.issue()
    value = {} if key == "context" else str(files.certificate_file)
    if key == "context":
        value = {"cafile": str(site.broker.ca_file)}
        connection = site.connection(files)
        connection.ssl = {"context": value}
    else:
        connection = site.connection(files, ssl={key: value})
    with pytest.raises(ConfigurationError, match=f"'{key}'.*take it out"):
        sign_in(connection)


def test_a_broker_that_asks_for_no_certificate(tmp_path: Path) -> None:
    """A broker without the mechanism is told apart from one that is down."""
    with (
        running("4", None, tmp_path) as site,
        pytest.raises(LoginRefusedError, match=r"rabbitmq_auth_mechanism_ssl"),
    ):
        sign_in(site.connection(site.issue()))
