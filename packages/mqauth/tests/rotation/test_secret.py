"""A secret shows nowhere unless somebody asks for it in so many words."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from mqauth import (
    BrokerCredentials,
    CredentialRenewed,
    CredentialSource,
    MQAuthError,
    RenewalFailed,
    Secret,
)
from mqauth.config.resolution import resolve, secret_options
from mqauth.shared import shared_source
from mqauth_sandbox.faults import FaultMode
from mqauth_sandbox.oidc import OidcIssuer

if TYPE_CHECKING:
    from packages.mqauth.tests.rotation.conftest import Listener, Recorder

CANARY = "canary-9f86d081884c7d65"


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        ascii,
        pprint.pformat,
        "{}".format,
        "{!r:>40}".format,
        "{:.3}".format,
        lambda secret: f"{secret:^30}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - as loggers format
        lambda secret: json.dumps({"password": secret}, default=str),
        lambda secret: repr(vars(type(secret))),
    ],
)
def test_no_text_of_a_secret_shows_it(show: Callable[[Secret], str]) -> None:
    """However a secret is turned into text, the text is not the secret."""
    text = show(Secret(CANARY))
    assert "canary" not in text
    assert "9f86" not in text
    assert "can" not in text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_not_pickled(protocol: int) -> None:
    """Whatever would send a secret elsewhere, or copy it out of sight, fails."""
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(CANARY), protocol)
    with pytest.raises(TypeError, match="not pickled"):
        copy.deepcopy({"password": Secret(CANARY)})


def test_a_secret_gives_itself_away_only_when_asked() -> None:
    """`reveal` is the one way in; equality, hash and truth work without it."""
    secret = Secret(CANARY)
    assert secret.reveal() == CANARY
    assert secret == Secret(CANARY)
    assert hash(secret) == hash(Secret(CANARY))
    assert secret != Secret("another")
    assert (secret == CANARY) is False
    assert not Secret("")
    assert not hasattr(secret, "__dict__")


def test_secrets_that_no_encoding_takes_are_compared() -> None:
    """Comparing must not end in an error that quotes one of them."""
    assert Secret(f"{CANARY}\ud800") == Secret(f"{CANARY}\ud800")
    assert Secret(f"{CANARY}\ud800") != Secret(f"{CANARY}\ud801")


def test_credentials_show_neither_password_nor_user_name() -> None:
    """The dataclass's own texts and conversions show who it is for, and nothing to sign in with."""
    credentials = BrokerCredentials(
        username=f"token-{CANARY}",  # some issuers have the token sent as the user name
        password=Secret(CANARY),
        principal="celery",
        issued_at=datetime.now(UTC),
    )
    for show in (repr, str, format, pprint.pformat):
        text = show(credentials)
        assert "celery" in text
        assert CANARY not in text
    with pytest.raises(TypeError):
        dataclasses.asdict(credentials)
    with pytest.raises(TypeError):
        pickle.dumps(credentials)


def test_a_traceback_with_locals_shows_no_secret() -> None:
    """Error pages and crash reporters print variables: wrapped ones are safe there."""

    def sign_in(credentials: BrokerCredentials, given: Secret) -> None:
        options = {"password": given, "all": [credentials]}
        raise ConnectionRefusedError(f"refused with {sorted(options)}")

    credentials = BrokerCredentials(
        username="celery", password=Secret(CANARY), issued_at=datetime.now(UTC)
    )
    with pytest.raises(ConnectionRefusedError) as caught:
        sign_in(credentials, Secret(CANARY))
    text = _with_locals(caught.value)
    assert "options = " in text
    assert CANARY not in text


@pytest.mark.parametrize(
    "mode", ["down", "error500", "throttle", "html", "not_json", "not_jwt", "expired", "garbage"]
)
def test_a_failed_fetch_shows_no_secret_with_locals(
    issuer: OidcIssuer, source: CredentialSource, mode: FaultMode, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the issuer answers, neither error, traceback with variables nor log has a secret."""
    caplog.set_level(logging.DEBUG)
    issuer.faults.mode = mode
    with pytest.raises(MQAuthError) as caught:
        source.get()
    shown = [str(caught.value), repr(caught.value), _with_locals(caught.value), _log(caplog)]
    assert "\n" not in shown[0]
    for text in shown:
        assert issuer.client_secret not in text
        assert "eyJ" not in text, "a token, or a part of one"


def test_rotation_leaves_no_secret_in_any_log_or_event(
    issuer: OidcIssuer,
    source: CredentialSource,
    recorder: Recorder,
    new_listener: type[Listener],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Fetches, renewals, failures and rejections at DEBUG leave no secret in log or events."""
    caplog.set_level(logging.DEBUG)
    issuer.token_lifetime = 3.0
    listener = new_listener()
    source.attach(listener)
    first = source.get()
    recorder.wait_for(CredentialRenewed, 1)
    source.invalidate(first)
    source.invalidate(source.get())
    source.get()
    issuer.faults.mode = "error500"
    recorder.wait_for(RenewalFailed)
    secrets = [issuer.client_secret, first.password.reveal()]
    secrets += [credentials.password.reveal() for credentials in listener.wait_for(1)]
    texts = [_log(caplog), repr(recorder.all), repr(source), repr(source.status())]
    texts.append(json.dumps(source.status().as_dict()))
    assert "renewed" in texts[0]
    assert "renewal failed" in texts[0]
    for text in texts:
        for secret in secrets:
            assert secret not in text
            assert secret[-20:] not in text


def test_a_resolved_configuration_shows_no_secret(config: dict[str, Any]) -> None:
    """What the user wrote is wrapped before anything else sees it."""
    config.pop("provider")
    resolved = resolve("oauth2", explicit={**config, "client_secret": CANARY})
    assert resolved.options["client_secret"] == Secret(CANARY)
    assert CANARY not in repr(resolved)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": "soon"},
        {"provider": "oauth3"},
        {"provider": "static"},
        {"client_secre": f"{CANARY}-2"},
        {"passphrase": f"{CANARY}-2"},
        {"client_secret_file": "/run/secret"},
        {"client_secret": f"{CANARY}\ud800"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_wrong_configuration_shows_no_secret_with_locals(
    wrong: dict[str, str],
) -> None:
    """A wrong setting, provider or name of an option: no frame of ours holds a secret in clear."""
    config = {"provider": "oauth2", "client_id": "celery", "client_secret": CANARY, **wrong}
    provider, options = config["provider"], {k: v for k, v in config.items() if k != "provider"}
    for attempt in (
        lambda: CredentialSource.from_config(config),
        lambda: shared_source(provider, explicit=options),
        lambda: resolve(provider, explicit=options),
    ):
        with pytest.raises(MQAuthError) as caught:
            attempt()
        trace = caught.value.__traceback__
        while trace is not None and "mqauth/tests" in trace.tb_frame.f_code.co_filename:
            trace = trace.tb_next
        assert trace is not None
        assert CANARY not in _with_locals(caught.value.with_traceback(trace))


@pytest.mark.parametrize("variable", ["MQAUTH_TIMEOUT", "MQAUTH_OAUTH2_INSECURE_ISSUER"])
def test_the_environment_does_not_show_with_locals(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong variable is reported without the others, which may hold secrets."""
    monkeypatch.setenv("MQAUTH_OAUTH2_CLIENT_SECRET", CANARY)
    monkeypatch.setenv(variable, "perhaps")
    with pytest.raises(MQAuthError) as caught:
        resolve("oauth2")
    assert variable in str(caught.value)
    assert CANARY not in _with_locals(caught.value)


def test_what_an_option_is_called_wrongly_counts_as_secret() -> None:
    """Nobody knows whether `client_secre` holds one, so it does not show."""
    given = {"client_id": "celery", "client_secre": CANARY, "cache": "off"}
    secret = secret_options("oauth2", given)
    assert {"client_secret", "client_secre"} <= secret
    assert not {"client_id", "cache"} & secret


def _with_locals(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def _log(caplog: pytest.LogCaptureFixture) -> str:
    formatter = logging.Formatter("%(name)s %(threadName)s %(message)s")
    return "\n".join(formatter.format(r) + repr(r.args) for r in caplog.records)
