"""Options given inline keep their secrets to themselves."""

from __future__ import annotations

import pickle

from kombu.utils.json import dumps, loads

from celery_mqauth.auth_options import AuthOptions
from mqauth.secret import Secret

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
