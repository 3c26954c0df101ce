"""System checks and `broker_url()` in one settings file: what newcomers get wrong there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from check_settings import CANARY

NEWCOMER = """
import django_mqauth
from mqauth import Secret
SECRET_KEY = "x"
INSTALLED_APPS = ["django_mqauth"]
ENTRY = {
    "BROKER": "amqps://rabbit.example.com/prod",
    "PROVIDER": "oauth2",
    "OPTIONS": {
        "issuer": "https://login.example.com/realms/prod",
        "client_id": "celery",
        "client_secret": Secret("c4n4ry-5ecret"),
    },
}
MQAUTH = {"default": ENTRY}
"""
URL = """
CELERY_BROKER_URL = django_mqauth.broker_url()
CELERY_BROKER_USE_SSL = django_mqauth.broker_use_ssl()
"""
# What a newcomer writes above or (where URL stands in it) around the lines of URL, and the id.
MISTAKES = {
    "MQAUTH = [ENTRY]": "E001",
    "MQAUTH = None": "E001",
    "MQAUTH = 'amqps://celery:c4n4ry-5ecret@rabbit.example.com/'": "E001",
    "MQAUTH = {'my broker': ENTRY}": "E002",
    "MQAUTH = {7: ENTRY}": "E002",
    "MQAUTH = {'default': None}": "E003",
    "MQAUTH = {'default': 'amqps://celery:c4n4ry-5ecret@rabbit.example.com/'}": "E003",
    "ENTRY['broker'] = ENTRY.pop('BROKER')": "E004",
    "ENTRY['PASSWORD'] = 'c4n4ry-5ecret'": "E004",
    "ENTRY[5] = 6": "E004",
    "ENTRY['OPTIONS'] = [1]": "E005",
    "ENTRY['OPTIONS'] = 'client_id'": "E005",
    "ENTRY['TRANSPORT_OPTIONS'] = 5": "E005",
    "ENTRY['OPTIONS']['x'] = ENTRY['OPTIONS']": "E016",
    "ENTRY['OPTIONS']['token_parameters'] = ENTRY": "E016",
    "ENTRY['default'] = MQAUTH": "E004",
    "URL; ENTRY['TLS'] = LOOP = {}; LOOP['x'] = LOOP": "E010",
    "URL; ENTRY['TRANSPORT_OPTIONS'] = LOOP = {5: 6}; LOOP['x'] = LOOP": "E031",
    "URL; CELERY_BROKER_TRANSPORT_OPTIONS = LOOP = {5: 6}; LOOP['x'] = LOOP": "E031",
    "ENTRY['TLS'] = 'x'": "E005",
    "ENTRY['TLS'] = True": "E005",
    "ENTRY['BROKER'] = []": "E006",
    "ENTRY['BROKER'] = 5": "E007",
    "ENTRY['BROKER'] = [5]": "E007",
    "ENTRY['BROKER'] = {'host': 'rabbit.example.com'}": "E007",
    "ENTRY['BROKER'] = 'rabbit.example.com:5671'": "E007",
    "ENTRY['BROKER'] = 'amqps://[::1/'": "E007",
    "ENTRY['BROKER'] = 'amqps://rabbit.example.com:0/'": "E007",
    "ENTRY['BROKER'] = 'celery:c4n4ry-5ecret@rabbit.example.com'": "E008",
    "ENTRY['BROKER'] = 'amqps://a.example.com/;amqps://u:c4n4ry-5ecret@b.example.com/'": "E008",
    "ENTRY['BROKER'] = 'amqps://rabbit.example.com/?password=c4n4ry-5ecret'": "E008",
    "ENTRY['BROKER'] = 'amqp://rabbit.example.com/'": "E009",
    "ENTRY['TLS'] = {5: 6}": "E010",
    "ENTRY['TLS'] = {'cert_reqs': 'CERT_NONE'}": "E011",
    "ENTRY['TLS'] = {'ca_certs': 5}": "E012",
    "ENTRY['TLS'] = {'certfile': '/nowhere/client.pem'}": "E012",
    "del ENTRY['PROVIDER']": "E013",
    "ENTRY['PROVIDER'] = ['oauth2']": "E014",
    "ENTRY['PROVIDER'] = 'OAuth2'": "E014",
    "ENTRY['OPTIONS']['timeout'] = float('nan')": "E015",
    "ENTRY['OPTIONS']['insecure'] = 'maybe'": "E015",
    "ENTRY['OPTIONS'][5] = 6": "E016",
    "ENTRY['OPTIONS']['issuer'] = ['x']": "E016",
    "del ENTRY['OPTIONS']": "E016",
    "URL; CELERY_BROKER_URL = django_mqauth.broker_url('defualt')": "E020",
    "URL; CELERY_BROKER_URL = django_mqauth.broker_url(5)": "E020",
    "MQAUTH = {}": "E020",
    "del MQAUTH": "E020",
    "HELD = MQAUTH; del MQAUTH; URL; MQAUTH = HELD": "E028",
    "URL; MQAUTH = {'default': {**ENTRY, 'BROKER': 'amqps://other.example.com/'}}": "E028",
    "ENTRY['TLS'] = {'context': 'x'}": "E029",
    "MQAUTH_CELERY_APP = 5": "E030",
    "ENTRY['TRANSPORT_OPTIONS'] = {5: 6}": "E031",
    "ENTRY['TRANSPORT_OPTIONS'] = {'auth': {'provider': 'oaut'}}": "E032",
    "URL; CELERY_BROKER_URL = 5": "E033",
    "URL; CELERY_BROKER_URL += ';amqps://u:c4n4ry-5ecret@b.example.com/'": "W009",
    "URL; BROKER_URL = CELERY_BROKER_URL; del CELERY_BROKER_URL": "W012",
    "MQAUTH_CELERY_NAMESPACE = 'celery'": "E025",
}


@pytest.mark.timeout(300)
def test_mistakes_of_newcomers() -> None:
    """With `broker_url()` in the settings, each mistake has an id, a hint and no traceback."""
    sources = {"right": NEWCOMER + URL}
    for mistake in MISTAKES:
        lines = mistake.split("; ") if "URL; " in mistake else [mistake, "URL"]
        sources[mistake] = NEWCOMER + "\n".join(URL if line == "URL" else line for line in lines)
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "many_settings.py"],
        input=json.dumps(sources),
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
    )
    said = json.loads(done.stdout)
    assert said.pop("right") == "System check identified no issues (0 silenced).\n"
    assert said.keys() == MISTAKES.keys()
    for mistake, text in said.items():
        identifier = MISTAKES[mistake]
        assert f"(mqauth.{identifier}) " in text, (mistake, text)
        assert f"System checks: {identifier})" in text, (mistake, text)
        assert "Traceback" not in text, (mistake, text)
        assert CANARY not in text, (mistake, text)
