"""Whatever is wrong, it is one line of the right class that names cause and remedy."""

from __future__ import annotations

import socket
import ssl
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest

from celery_mqauth.errors import (
    BrokerUnreachableError,
    CredentialUnavailableError,
    TokenTooLargeError,
    VirtualHostError,
)
from celery_mqauth.protection import reason_of_tls
from mqauth import ConfigurationError, InsecureTransportError, MQAuthError, UnknownProviderError
from mqauth.config.registry import provider_names
from mqauth_sandbox import Broker, OidcIssuer
from mqauth_sandbox.tls import create_certificates

Connect = Callable[..., kombu.Connection]
NOWHERE = "192.0.2.1"
"""An address for documentation (RFC 5737): nothing is ever there."""
PROVIDER = {"issuer": "https://localhost:1", "client_id": "x", "client_secret": "s3cret"}


def failure(connection: kombu.Connection) -> BaseException:
    """Return what one attempt to connect raises, after checking what holds for all of them."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - the caller looks at it
        connection.transport.establish_connection()
    error = raised.value
    assert isinstance(error, MQAuthError)
    assert error.remedy
    assert "\n" not in str(error)
    assert "s3cret" not in "".join(traceback.format_exception(error))
    return error


def configured(url: str, auth: Any = None, **settings: Any) -> kombu.Connection:
    """Return a connection that is wrong before anything is asked of anybody."""
    options = {"auth": PROVIDER if auth is None else auth, **settings.pop("options", {})}
    return kombu.Connection(url, transport_options=options, **settings)


def test_a_wrong_scheme_suggests_the_nearest() -> None:
    """Kombu itself names the scheme it does not know and the one that was meant."""
    with pytest.raises(KeyError, match=r"No such transport: mqauthz.*Did you mean mqauth"):
        kombu.Connection("mqauthz://oauth2@localhost//")


@pytest.mark.parametrize(
    ("url", "auth", "kind", "says"),
    [
        ("mqauth://oauth@localhost//", {}, UnknownProviderError, "did you mean oauth2?"),
        (
            "mqauth://kerberos@localhost//",
            {},
            UnknownProviderError,
            f"known providers: {', '.join(provider_names())}; named entries: none",
        ),
        ("mqauth://localhost//", {}, ConfigurationError, "does not say who signs in"),
        ("mqauth://oauth2@localhost//", {}, ConfigurationError, "MQAUTH_OAUTH2_CLIENT_ID"),
        (
            "mqauth://oauth2@localhost//",
            {"provider": "static"},
            ConfigurationError,
            "names 'oauth2' and the options name 'static'",
        ),
        (
            "mqauth://oauth2@localhost//",
            {**PROVIDER, "client_idd": "x"},
            ConfigurationError,
            "no option client_idd - did you mean client_id?",
        ),
        (
            "mqauth://oauth2@localhost//",
            {**PROVIDER, "client_secret_file": "/x"},
            ConfigurationError,
            "got both client_secret and client_secret_file",
        ),
        (
            "mqauth://oauth2@localhost//",
            {**PROVIDER, "timeout": "soon"},
            ConfigurationError,
            "the setting timeout must be a number",
        ),
        ("mqauth://oauth2@localhost//", "oauth2", ConfigurationError, "'auth' is a str"),
        ("mqauth://oauth2@localhost//", 5, ConfigurationError, "'auth' is an int"),
        (
            "mqauth://oauth2:s3cret@localhost//",
            PROVIDER,
            ConfigurationError,
            "the broker URL holds a password",
        ),
    ],
    ids=lambda value: value.rsplit("//")[-1] if isinstance(value, str) else "",
)
def test_what_cannot_work_is_said_before_anything_is_tried(
    url: str, auth: Any, kind: type[Exception], says: str
) -> None:
    """Wrong names, missing, contradictory and mistyped options, and a password in the URL."""
    connection = configured(url, auth)
    error = failure(connection)
    assert type(error) is kind
    assert says in str(error)
    assert not isinstance(error, connection.recoverable_connection_errors)


@pytest.mark.parametrize(
    "option", ["authentication", "login_method", "password", "userid", "ssl", "host"]
)
def test_transport_options_do_not_sign_in_by_other_means(option: str) -> None:
    """Options of py-amqp that contradict the URL are refused, not ignored."""
    url = "mqauth://oauth2@localhost//"
    error = failure(configured(url, options={option: "s3cret"}))
    assert type(error) is ConfigurationError
    assert f"the transport option '{option}' contradicts the broker URL" in str(error)


@pytest.mark.parametrize("option", ["credentials", "source", "frame_writer"])
def test_transport_options_do_not_take_the_place_of_ours(option: str) -> None:
    """What the transport itself hands to its connections is none of the user's."""
    error = failure(configured("mqauth://oauth2@localhost//", options={option: "s3cret"}))
    assert type(error) is ConfigurationError
    assert f"the transport option '{option}' contradicts" in str(error)


@pytest.mark.parametrize("option", ["provider", "rotation", "cache", "renew_at", "insecure"])
def test_settings_belong_inside_of_auth(option: str) -> None:
    """Beside it nobody would read them, `insecure` and `cache` among them."""
    error = failure(configured("mqauth://oauth2@localhost//", options={option: "replace"}))
    assert type(error) is ConfigurationError
    assert f"'{option}' stands beside 'auth'" in str(error)
    assert "write it inside 'auth'" in str(error)


@pytest.mark.parametrize("scheme", ["mqauths", "mqauths-kafka"])
@pytest.mark.parametrize("host", ["rabbit..example.com", f"{'a' * 64}.example.com", ".example.com"])
def test_a_host_that_is_no_name_is_refused(host: str, scheme: str) -> None:
    """Python fails on an empty or overlong label with an error that is no network's."""
    error = failure(configured(f"{scheme}://oauth2@{host}/prod"))
    assert type(error) is ConfigurationError
    assert "the host of the broker URL is no host name" in str(error)


def test_a_virtual_host_that_no_frame_has_room_for_is_refused() -> None:
    """255 bytes are the most that AMQP's short strings hold."""
    error = failure(configured(f"mqauth://oauth2@localhost/{'%C3%BC' * 128}"))
    assert type(error) is ConfigurationError
    assert "the virtual host in the broker URL has 256 bytes" in str(error)


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("?heartbeat=-5", {}),
        ("", {"heartbeat": -1}),
        ("", {"heartbeat": 70000}),
        ("", {"heartbeat": "often"}),
        ("", {"heartbeat": float("nan")}),
    ],
    ids=["URL", "negative", "long", "text", "no number"],
)
def test_a_heartbeat_that_cannot_be_sent_is_refused(query: str, options: dict[str, Any]) -> None:
    """py-amqp would fail while it packs the frame, in the middle of the handshake."""
    error = failure(configured(f"mqauth://oauth2@localhost//{query}", options=options))
    assert type(error) is ConfigurationError
    assert "the heartbeat of the broker connection is" in str(error)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ciphers": "NONSENSE"}, "ciphers of broker_use_ssl cannot be used: this host's OpenSSL"),
        ({"ciphers": 5}, "ciphers of broker_use_ssl cannot be used: it is an int"),
        ({"ca_certs": 5}, "names as ca_certs cannot be used: it is an int"),
        ({"certfile": "a\0b"}, "names as certfile cannot be used: no path has such characters"),
        ({"context": {"cafile": 5}}, "names as context.cafile cannot be used: it is an int"),
        ({"server_hostname": "a..b"}, "server_hostname of broker_use_ssl is no host name"),
        ({"server_hostname": 5}, "server_hostname of broker_use_ssl is no host name"),
    ],
    ids=["ciphers", "no ciphers", "no path", "NUL", "no path in context", "name", "no name"],
)
def test_tls_options_that_no_library_takes_are_named(options: dict[str, Any], says: str) -> None:
    """Seen before anything is tried, as Python's own errors are not those of a network."""
    error = failure(configured("mqauths://oauth2@localhost//", ssl=options))
    assert type(error) is ConfigurationError
    assert says in str(error)


@pytest.mark.parametrize(
    ("error", "otherwise", "told"),
    [
        (ssl.SSLError("No cipher can be selected."), None, "No cipher can be selected."),
        (ssl.SSLError("No cipher can be selected."), "no certificates", "no certificates"),
        (ssl.SSLError(8, "EOF occurred"), None, "EOF occurred"),
        (ssl.SSLError(), None, "SSLError"),
    ],
    ids=["its words", "other words", "with a number", "no words"],
)
def test_an_error_of_tls_without_a_reason_is_told(
    error: ssl.SSLError, otherwise: str | None, told: str
) -> None:
    """Python's own errors of this class have no `reason` at all."""
    assert reason_of_tls(error, otherwise) == told


@pytest.mark.parametrize("password", ["s3cret", lambda: "s3cret"], ids=["text", "callable"])
def test_a_password_beside_the_url_is_refused(password: Any) -> None:
    """`broker_password` would be ignored; better to say so."""
    error = failure(configured("mqauth://oauth2@localhost//", password=password))
    assert "holds a password" in str(error)


@pytest.mark.parametrize("host", [NOWHERE, "broker.example", "[2001:db8::1]"])
def test_no_credential_crosses_a_network_in_clear(
    prepared: Connect, issuer: OidcIssuer, host: str
) -> None:
    """Plain AMQP to another host fails before a credential is fetched or a host looked up."""
    before = issuer.requests
    error = failure(prepared(host=host))
    assert type(error) is InsecureTransportError
    assert "in clear text" in str(error)
    assert "use mqauths://" in str(error)
    assert issuer.requests == before


def test_who_says_insecure_in_so_many_words_may(prepared: Connect) -> None:
    """With `insecure` the attempt is made; it fails here only because nobody is there."""
    error = failure(prepared(host=NOWHERE, auth={"insecure": True}, connect_timeout=0.5))
    assert type(error) is BrokerUnreachableError


@pytest.mark.parametrize(
    "options",
    [
        {"cert_reqs": ssl.CERT_NONE},
        {"cert_reqs": ssl.CERT_OPTIONAL},
        {"context": {"check_hostname": False}},
    ],
    ids=["none", "optional", "host name"],
)
def test_verification_is_not_switched_off(options: dict[str, Any]) -> None:
    """A peer that nobody has verified gets no credential."""
    error = failure(configured("mqauths://oauth2@localhost//", ssl=options))
    assert type(error) is InsecureTransportError
    assert "switches the verification of the broker's certificate off" in str(error)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ca_cert": "x"}, "no option 'ca_cert' here (known options: ca_certs, "),
        ({"context": {"ca_file": "x"}}, "no option 'ca_file' here (known options: cadata, cafile"),
        ({"context": {"capath": "/"}, "ca_certs": "x"}, "no option 'ca_certs' here"),
        ({"ca_certs": "/nowhere.pem"}, "/nowhere.pem that broker_use_ssl names as ca_certs"),
        ({"ca_certs": __file__}, "names as ca_certs cannot be used: NO_CERTIFICATE"),
        ({"certfile": "/nowhere.pem"}, "names as certfile cannot be used: No such file"),
    ],
    ids=["name", "name in context", "both", "no file", "no certificates", "no client file"],
)
def test_tls_options_that_cannot_work_are_named(
    prepared: Connect, options: dict[str, Any], says: str
) -> None:
    """A misspelt option or an unusable file is a matter of configuration, not of the network."""
    error = failure(prepared(tls=True, ssl=options))
    assert type(error) is ConfigurationError
    assert says in str(error)


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("html", "answered with a web page instead of JSON"),
        ("not_json", "instead of JSON"),
        ("not_jwt", "the token is no JWT"),
        ("expired", "gave a token that expired"),
        ("garbage", "which is no token"),
        ("error500", "cannot serve now: HTTP 500"),
        ("throttle", "cannot serve now: HTTP 429"),
        ("down", "cannot be reached"),
        ("hang", "no complete answer within 3.0 s"),
    ],
)
def test_an_issuer_that_fails_is_a_recoverable_error(
    prepared: Connect, issuer: OidcIssuer, mode: Any, says: str
) -> None:
    """Whatever the issuer does, Kombu and Celery retry, and the text says what it did."""
    connection = prepared(auth={"timeout": 3 if mode == "hang" else 20})
    with issuer.faults.during(mode):
        error = failure(connection)
    assert type(error) is CredentialUnavailableError
    assert isinstance(error, connection.recoverable_connection_errors)
    assert says in str(error)


def test_a_client_that_the_issuer_does_not_know(prepared: Connect, auth: dict[str, Any]) -> None:
    """The issuer's refusal comes with its code and what to check."""
    wrong = {**auth, "client_secret": "s3cret-of-another"}
    del wrong["client_secret_file"]
    error = failure(prepared(only_auth=wrong))
    assert type(error) is CredentialUnavailableError
    assert "refused: HTTP 401 invalid_client" in str(error)
    assert "check client_id, auth_method, and client_secret, key or certificate" in str(error)


def test_a_token_too_big_for_the_first_frame(
    prepared: Connect, issuer: OidcIssuer, broker: Broker
) -> None:
    """RabbitMQ cuts such a login off without a word; the error knows the limit of its version."""
    limit = 8192 if broker.version.startswith("4.") else 4096
    issuer.scopes = [*issuer.scopes, *(f"rabbitmq.read:{n:04}/*/*" for n in range(limit // 25))]
    with ThreadPoolExecutor() as threads:  # the broker takes three seconds over each
        errors = list(threads.map(failure, (prepared(tls=True), prepared(tls=False))))
    for error in errors:
        assert type(error) is TokenTooLargeError
        assert isinstance(error, amqp.AMQPError)
        assert f"RabbitMQ {broker.version} at localhost" in str(error)
        assert f"does not fit into its first frame of {limit} bytes" in str(error)
        assert "ask the issuer for fewer scopes or claims" in str(error)


def test_a_token_just_small_enough_signs_in(
    connect: Connect, issuer: OidcIssuer, broker: Broker, mint: Callable[..., Any]
) -> None:
    """What fits is not refused: a token of about nine tenths of the limit."""
    limit = 8192 if broker.version.startswith("4.") else 4096
    while len(mint().password.reveal()) < limit * 0.88:
        issuer.scopes = [*issuer.scopes, f"rabbitmq.read:{len(issuer.scopes):04}/*/*"]
    assert connect().connected


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_broker_that_is_not_there(*, prepared: Connect, tls: bool) -> None:
    """Names that nobody knows and ports where nobody listens are connection errors."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        connection = prepared(tls=tls, host="localhost", port=nobody.getsockname()[1])
        error = failure(connection)
    assert type(error) is BrokerUnreachableError
    assert isinstance(error, connection.recoverable_connection_errors)
    assert "Connection refused" in str(error)
    assert "check host, port, firewall and that the broker runs" in str(error)


def test_a_host_that_nobody_knows(prepared: Connect) -> None:
    """A name that does not resolve is a connection error."""
    error = failure(prepared(tls=True, host="no-such-host.invalid"))
    assert type(error) is BrokerUnreachableError
    assert "no connection to the broker no-such-host.invalid:" in str(error)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_peer_that_never_answers(*, prepared: Connect, tls: bool) -> None:
    """A port that accepts and stays silent costs no more than the time limit."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        error = failure(prepared(tls=tls, host="127.0.0.1", port=port, connect_timeout=0.5))
    assert type(error) is BrokerUnreachableError
    assert "did not answer within 0.5 s" in str(error)


def test_the_wrong_one_of_both_ports(prepared: Connect, broker: Broker) -> None:
    """TLS to the plain port and the other way round say what was probably meant."""
    error = failure(prepared(tls=True, port=broker.amqp_port))
    assert type(error) is BrokerUnreachableError
    assert "is this the TLS port?" in str(error)
    error = failure(prepared(port=broker.amqps_port))
    assert type(error) is BrokerUnreachableError
    assert "a TLS port wants mqauths://" in str(error)


def test_an_authority_that_is_not_trusted(prepared: Connect, tmp_path: Path) -> None:
    """Neither the system's authorities nor another one's vouch for the broker."""
    other = create_certificates(tmp_path / "other")
    for options in (True, {"ca_certs": str(other.ca_file)}):
        error = failure(prepared(tls=True, ssl=options))
        assert type(error) is BrokerUnreachableError
        assert "is not to be trusted: " in str(error)
        assert "name its CA" in str(error)


def test_a_certificate_for_another_name(prepared: Connect, broker: Broker) -> None:
    """A certificate of the right authority for the wrong host is refused, however TLS is set."""
    authority = str(broker.ca_file)
    for trust in ({"ca_certs": authority}, {"context": {"cafile": authority}}):
        wrong = {**trust, "server_hostname": "another.example"}
        error = failure(prepared(tls=True, ssl=wrong))
        assert type(error) is BrokerUnreachableError
        assert "Hostname mismatch" in str(error)
        assert "connect to a name that the certificate bears" in str(error)
        connection = prepared(tls=True, ssl=trust)
        assert connection.connect().connected
        connection.release()


@pytest.mark.parametrize(
    ("vhost", "scope", "says"),
    [
        ("no-such-vhost", "rabbitmq.read:*/*/*", "not found"),
        ("/", "rabbitmq.read:another/*/*", "refused for user 'celery'"),
        ("/", "another-service.read:*/*/*", "refused for user 'celery'"),
    ],
    ids=["unknown", "closed", "no scope"],
)
def test_a_virtual_host_one_cannot_enter(
    prepared: Connect, issuer: OidcIssuer, vhost: str, scope: str, says: str
) -> None:
    """One that does not exist and one that the token has no scope for: the broker's own words."""
    issuer.scopes = [scope]
    error = failure(prepared(vhost=vhost))
    assert type(error) is VirtualHostError
    assert isinstance(error, amqp.NotAllowed)
    assert isinstance(error, amqp.RecoverableConnectionError)  # so that a worker pauses
    assert f"into the virtual host '{vhost}'" in str(error)
    assert says in str(error)
    assert "name an existing virtual host in the URL, or let the credential enter it" in str(error)
