"""The options of oauth2: which addresses may be, and what cannot work."""

from __future__ import annotations

import pytest

from mqauth.errors import ConfigurationError, InsecureTransportError, MQAuthError
from mqauth.provider import Provider
from packages.mqauth.tests.oauth2.building import SECRET, Build, build, failure


def test_a_file_of_authorities_without_any(client: Build) -> None:
    """The file is blamed, before anybody is asked."""
    with pytest.raises(
        ConfigurationError, match=r"ca_file /etc/passwd .* holds no PEM certificate"
    ):
        client(ca_file="/etc/passwd")


@pytest.mark.parametrize(
    ("options", "kind", "complaint"),
    [
        ({}, ConfigurationError, "issuer or token_endpoint"),
        ({"issuer": "http://issuer.example"}, InsecureTransportError, "plain HTTP"),
        ({"token_endpoint": "http://10.0.0.1/token"}, InsecureTransportError, "plain HTTP"),
        ({"issuer": "http://localhost.example"}, InsecureTransportError, "plain HTTP"),
        ({"issuer": "issuer.example"}, ConfigurationError, "no absolute URL"),
        ({"issuer": "ftp://issuer.example"}, ConfigurationError, "no absolute URL"),
        ({"issuer": "https://issuer.example:x"}, ConfigurationError, "no absolute URL"),
        ({"issuer": "https://[::1"}, ConfigurationError, "no absolute URL"),
        ({"issuer": "https://a b"}, ConfigurationError, "no absolute URL"),
        ({"issuer": "https://a..b/"}, ConfigurationError, "option issuer is no host name"),
        ({"token_endpoint": f"https://{'a' * 64}.b/"}, ConfigurationError, "no host name"),
        ({"issuer": "https://me:canary@issuer.example"}, ConfigurationError, "user name"),
        ({"issuer": "https://i", "auth_method": "none"}, ConfigurationError, "auth_method"),
        ({"issuer": "https://i", "token_format": "saml"}, ConfigurationError, "token_format"),
        ({"issuer": "https://i", "ca_file": "/not/there"}, ConfigurationError, "ca_file"),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    options: dict[str, str], kind: type[MQAuthError], complaint: str
) -> None:
    """Contradictions and unsafe addresses are found before anything is sent."""
    with pytest.raises(kind, match=complaint) as caught:
        build(client_id="celery", client_secret=SECRET, **options)
    assert type(caught.value) is kind
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"issuer": "http://localhost:8080/realms/jobs"},
        {"issuer": "http://127.0.0.7"},
        {"issuer": "http://[::1]:8080"},
        {"issuer": "http://keycloak:8080", "insecure_issuer": "yes"},
        {"issuer": "https://issuer.example", "token_endpoint": "https://issuer.example/token"},
    ],
)
def test_what_may_be_is_accepted(options: dict[str, str]) -> None:
    """Loopback needs no TLS, and elsewhere the user may insist."""
    assert build(client_id="celery", client_secret=SECRET, **options).identity


def test_what_is_on_this_host_passes_no_proxy(
    client: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that the environment names never sees what goes to a loopback address."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client().fetch(timeout=10).password


@pytest.mark.parametrize(
    "proxy", ["http://", "ftp://h", "http://h:99999", "http://u:canary@", "squid:3128"]
)
def test_a_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """The variable is blamed and not the issuer, and nothing of it is quoted."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    error = failure(asking_elsewhere("issuer.example"))
    assert isinstance(error, ConfigurationError)
    assert "the proxy that HTTPS_PROXY names" in str(error)
    assert "http://host:port" in str(error.remedy)
    assert "canary" not in str(error)


@pytest.mark.parametrize(
    ("file", "problem"), [("/not/there", "No such file"), ("/etc/passwd", "holds no PEM")]
)
def test_a_bundle_that_is_none(monkeypatch: pytest.MonkeyPatch, file: str, problem: str) -> None:
    """A variable that names no authorities is told before the network is blamed."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", file)
    error = failure(asking_elsewhere("issuer.example"))
    assert isinstance(error, ConfigurationError)
    assert f"{file} that REQUESTS_CA_BUNDLE names" in str(error)
    assert problem in str(error)


def test_a_host_that_is_none() -> None:
    """A host name that no look-up takes is a fault of the URL's."""
    with pytest.raises(ConfigurationError, match="host in the option token_endpoint is no host"):
        asking_elsewhere(f"{'a' * 70}.example")


def asking_elsewhere(host: str) -> Provider:
    """Build a provider whose issuer is on another host."""
    return build(client_id="celery", client_secret=SECRET, token_endpoint=f"https://{host}/token")
