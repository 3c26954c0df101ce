"""PKCS#11 URIs, with the examples of RFC 7512."""

from __future__ import annotations

import pytest

from credproc.errors import UsageError
from credproc.identity.pkcs11_uri import Pkcs11Uri, parse

EXAMPLES: dict[str, dict[str, object]] = {
    "pkcs11:": {},
    "pkcs11:object=my-pubkey;type=public": {"object": "my-pubkey", "type": "public"},
    "pkcs11:object=my-key;type=private?pin-source=file:/etc/token": {
        "object": "my-key",
        "type": "private",
        "pin_source": "file:/etc/token",
    },
    "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;"
    "manufacturer=Snake%20Oil,%20Inc.;model=1.0;object=my-certificate;type=cert;"
    "id=%69%95%3E%5C%F4%BD%EC%91;serial=": {
        "token": "The Software PKCS#11 Softtoken",
        "manufacturer": "Snake Oil, Inc.",
        "model": "1.0",
        "object": "my-certificate",
        "type": "cert",
        "id": bytes.fromhex("69953e5cf4bdec91"),
        "serial": "",
    },
    "pkcs11:object=my-sign-key;type=private?module-name=mypkcs11": {
        "object": "my-sign-key",
        "type": "private",
        "module_name": "mypkcs11",
    },
    "pkcs11:slot-description=Sun%20Metaslot": {"slot_description": "Sun Metaslot"},
    "pkcs11:slot-id=0x1f": {"slot_id": 31},
    "pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=b%C3%A9b%C3%A9": {
        "token": "A name with a substring %;",
        "object": "bébé",
    },
    "pkcs11:token=a;x-vendor=1?x-other=2": {"token": "a"},
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples(text: str) -> None:
    """Each attribute is decoded, vendors' own are ignored, all others stay open."""
    assert parse(text) == Pkcs11Uri(**EXAMPLES[text])  # type: ignore[arg-type]


def test_pin_value_is_a_secret() -> None:
    """The PIN does not show in any representation of the URI."""
    uri = parse("pkcs11:token=a?pin-value=1234%26")
    assert uri.pin_value is not None
    assert uri.pin_value.reveal() == "1234&"
    assert "1234" not in f"{uri!r} {uri}"


@pytest.mark.parametrize(
    "text",
    [
        "file:/a",
        "pkcs11:token",
        "pkcs11:tokens=a",
        "pkcs11:token=a;token=b",
        "pkcs11:pin-value=1234",
        "pkcs11:token=a?token=b",
        "pkcs11:id=%1",
        "pkcs11:id=%zz",
        "pkcs11:token=%ff",
        "pkcs11:type=certificate",
        "pkcs11:slot-id=first",
        "pkcs11:a?pin-value=12&34",
    ],
)
def test_what_is_no_uri(text: str) -> None:
    """Whatever cannot be meant is refused, and what may be part of a PIN is not repeated."""
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert "34" not in str(caught.value)


def test_tokens_that_match() -> None:
    """An attribute that the URI names has to be the token's; others do not matter."""
    uri = parse("pkcs11:token=a;serial=7")
    assert uri.token_matches(token="a", serial="7", model="m")
    assert not uri.token_matches(token="a", serial="8", model="m")
    assert parse("pkcs11:").token_matches(token="a", serial="8")
    assert parse("pkcs11:id=%01").names_object
    assert not uri.names_object
