"""Which texts are host names, and who looks before a socket fails on them."""

from __future__ import annotations

import pytest

from mqauth.diagnosis.target import Target
from mqauth.errors import ConfigurationError
from mqauth.host_names import is_host_name

LONG = "a" * 64


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "rabbit.example.com", "example.com.", "127.0.0.1", "::1", "fe80::1%eth0"),
        *("b\xfccher.example", "a_b", f"{LONG[1:]}.example"),
    ],
)
def test_names_and_addresses_are_hosts(host: str) -> None:
    """What a resolver may know, it is asked for."""
    assert is_host_name(host)


@pytest.mark.parametrize(
    "host", ["rabbit..example.com", ".example.com", ".", f"{LONG}.example", LONG, "a\0b", "a\udce4"]
)
def test_what_no_resolver_takes_is_no_host(host: str) -> None:
    """Empty and overlong labels, and characters that no name has."""
    assert not is_host_name(host)


@pytest.mark.parametrize("scheme", ["mqauths", "amqps", "mqauths-kafka"])
def test_a_broker_url_without_a_host_name_is_refused(scheme: str) -> None:
    """One line, which says what is wrong, before anybody looks the name up."""
    with pytest.raises(ConfigurationError, match="the host of the broker URL is no host name"):
        Target.parse(f"{scheme}://oauth2@rabbit..example.com/prod")
