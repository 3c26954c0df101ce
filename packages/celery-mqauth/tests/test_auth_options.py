"""Options given inline keep their secrets to themselves."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path

import kombu
import kombu.pools
import pytest
from kombu.utils.json import dumps, loads

import celery_mqauth  # noqa: F401 - registers the schemes
from celery_mqauth.auth_options import AuthOptions
from celery_mqauth.endpoints import source_for
from mqauth.errors import ConfigurationError
from mqauth.secret import Secret
from mqauth.shared import forget_shared_sources, shared_source

OPTIONS = {"client_id": "celery", "client_secret": "canary-1"}


def test_a_look_up_by_name_gives_the_value() -> None:
    """The provider gets what the user wrote."""
    options = AuthOptions(OPTIONS, ["client_secret"])
    assert dict(options) == OPTIONS
    assert options == AuthOptions(OPTIONS, [])


def test_no_text_or_message_shows_a_secret() -> None:
    """Neither `repr` nor Kombu's JSON nor a pickle holds the secret; the rest stays readable."""
    options = AuthOptions(OPTIONS, ["client_secret"])
    for shown in (repr(options), dumps({"auth": options}), repr(pickle.dumps(options))):
        assert "canary" not in shown
        assert "celery" in shown
    assert loads(dumps(options))["client_id"] == "celery"


def test_pools_of_different_secrets_stay_apart() -> None:
    """Kombu takes options of equal `repr` for the same, so different secrets look different."""
    one, same, wrapped, other = (
        AuthOptions({"client_secret": secret}, ["client_secret"])
        for secret in ("canary-1", "canary-1", Secret("canary-1"), "canary-2")
    )
    assert repr(one) == repr(same) == repr(wrapped) != repr(other)


def connection(who: str, *, scheme: str = "mqauths", **options: str) -> kombu.Connection:
    """Return a connection whose options hold a secret, and that nobody has opened."""
    auth = {"client_secret": OPTIONS["client_secret"], **options}
    return kombu.Connection(f"{scheme}://{who}@localhost/v", transport_options={"auth": auth})


@pytest.mark.parametrize("scheme", ["mqauths", "mqauths-kafka"])
@pytest.mark.parametrize("who", ["oauth2", "billing", "oauth", ""])
def test_a_connection_shows_no_secret_once_it_was_tried(
    who: str, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was to sign in, by a provider, a named entry or a name that nobody knows."""
    config = tmp_path / "mqauth.toml"
    config.write_text('[billing]\nprovider = "oauth2"\n')
    monkeypatch.setenv("MQAUTH_CONFIG", str(config))
    tried = connection(who, scheme=scheme, client_id="celery")
    with pytest.raises(ConfigurationError):
        tried.connect()
    info = tried.info()
    assert "canary" not in f"{info} {tried!r} {tried.as_uri(include_password=True)}"
    assert info["transport_options"]["auth"]["client_id"] == "celery"


def test_a_connection_that_was_not_tried_finds_its_pool() -> None:
    """Looking at a connection's description must not make it another one for Kombu's pools."""
    one, other = connection("oauth2"), connection("oauth2")
    one.info()
    assert kombu.pools.connections[one] is kombu.pools.connections[other]
    kombu.pools.reset()


def test_an_error_in_the_options_holds_no_secret() -> None:
    """Reports that show the variables of all frames show it neither as text nor in a mapping."""
    with pytest.raises(ConfigurationError, match="issuer or token_endpoint") as caught:
        connection("oauth2", client_id="celery").connect()
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "canary" not in "".join(report.format())


@pytest.mark.parametrize("scheme", ["mqauths", "mqauths-kafka"])
@pytest.mark.parametrize(
    ("who", "wrong"),
    [
        ("oauth2", {"timeout": "soon"}),
        ("oauth2", {"client_secre": "canary-2"}),
        ("oauth2", {"provider": "static"}),
        ("oauth", {}),
    ],
    ids=["setting", "option", "two providers", "no provider"],
)
def test_whatever_is_wrong_no_frame_holds_a_secret(
    scheme: str, who: str, wrong: dict[str, str]
) -> None:
    """A wrong setting or name leaves nobody to say what is secret, so that everything is."""
    with pytest.raises(ConfigurationError) as caught:
        connection(who, scheme=scheme, **wrong).connect()
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = report.stack[1:]  # the first is this test's
    assert frames
    assert "canary" not in "".join(report.stack.from_list(frames).format())


def test_what_has_worked_goes_on_though_nobody_knows_what_is_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a named entry cannot be read, its options are the same ones as before."""
    config = tmp_path / "mqauth.toml"
    config.write_text('[billing]\nprovider = "static"\n')
    monkeypatch.setenv("MQAUTH_CONFIG", str(config))
    options = {"auth": {"username": "celery", "password": "canary-1"}}
    client = kombu.Connection("mqauths://billing@localhost/v", transport_options=options)
    try:
        before = source_for(client)
        config.write_text("[billing")
        assert source_for(client) is before
    finally:
        forget_shared_sources()


@pytest.mark.parametrize("secret", ["canary\ud800", "canary\udce4ss"])
def test_a_secret_that_is_no_text_shows_nowhere(secret: str) -> None:
    """Neither its digest nor its refusal ends in an error that quotes it."""
    options = {"auth": {"username": "celery", "password": secret}}
    tried = kombu.Connection("mqauths://static@localhost/v", transport_options=options)
    with pytest.raises(ConfigurationError, match="option password") as caught:
        tried.connect()
    assert "canary" not in f"{caught.value!r} {caught.value.__context__!r} {tried.info()}"


def test_wrapped_secrets_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a configuration cannot be read, nobody goes on with another one's source."""
    secrets = [Secret("canary-1"), Secret("canary-2")]
    config = tmp_path / "mqauth.toml"
    config.write_text('[billing]\nprovider = "static"\nusername = "celery"\n')
    monkeypatch.setenv("MQAUTH_CONFIG", str(config))
    try:
        before = [shared_source("billing", explicit={"password": secret}) for secret in secrets]
        config.write_text("[billing")
        after = [shared_source("billing", explicit={"password": secret}) for secret in secrets]
    finally:
        forget_shared_sources()
    assert before[0] is not before[1]
    assert after == before
