"""Plain Kombu in views, signals, and life without Celery, on a real broker."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

import django_mqauth
from django_mqauth.kombu_connections import new_connection
from mqauth import CredentialRenewed, RenewalFailed
from mqauth_sandbox import Sandbox

LIMIT = 20.0

WITHOUT_CELERY = """
import json, sys
for name in json.loads(sys.argv[1]):
    sys.modules[name] = None
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import django
from django.conf import settings
import project_settings
given = project_settings.settings(Path(sys.argv[3]))
given["ROOT_URLCONF"] = "django.contrib.auth.urls"
given["INSTALLED_APPS"].remove("health_check")
settings.configure(**given, MQAUTH=json.loads(sys.argv[4]))
django.setup()
import django_mqauth
from django.core.management import call_command
call_command("check")
print(django_mqauth.source().get().provider)
try:
    name, options = "without-celery", {"expires": 60}
    with django_mqauth.connections["default"].SimpleQueue(name, queue_opts=options) as queue:
        queue.put("hello")
        print(queue.get(timeout=5).payload)
    django_mqauth.connections.close_all()
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_message_goes_there_and_back(site: Sandbox) -> None:
    """A view publishes by alias, without Celery's configuration."""
    connection = django_mqauth.connections["default"]
    queue = connection.SimpleQueue("django-mqauth-greetings", queue_opts={"expires": 60})
    queue.put({"hello": "world"})
    message = queue.get(timeout=5)
    message.ack()
    queue.close()
    assert message.payload == {"hello": "world"}
    django_mqauth.connections.close_all()


def test_a_connection_stays_with_its_thread(site: Sandbox) -> None:
    """Views of one thread share a connection, other threads have their own."""
    here = django_mqauth.connections["default"]
    assert django_mqauth.connections["default"] is here
    elsewhere: list[Any] = []
    thread = threading.Thread(target=lambda: elsewhere.append(django_mqauth.connections["default"]))
    thread.start()
    thread.join(LIMIT)
    assert elsewhere[0] is not here
    assert list(django_mqauth.connections) == ["default"]


def test_a_forked_child_opens_its_own(site: Sandbox) -> None:
    """A child of a fork leaves its parent's connection alone."""
    connection = django_mqauth.connections["default"]
    pid = os.fork()
    if pid == 0:
        os._exit(0 if django_mqauth.connections["default"] is not connection else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert django_mqauth.connections["default"] is connection


def test_an_unknown_alias_is_told(site: Sandbox) -> None:
    """A misspelt alias is Django's own error."""
    with pytest.raises(ImproperlyConfigured, match="did you mean default"):
        django_mqauth.connections["defaul"]


def test_a_renewal_is_a_signal(site: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """`credential_renewed` names the alias; the log of `django_mqauth` says the same."""
    site.issuer.token_lifetime = 4
    renewed = threading.Event()
    seen: list[tuple[str, Any]] = []

    def receive(sender: Any, *, alias: str, event: Any, **_: Any) -> None:
        seen.append((alias, event))
        renewed.set()

    django_mqauth.credential_renewed.connect(receive, sender=CredentialRenewed)
    try:
        with caplog.at_level(logging.INFO, "django_mqauth"), new_connection("default") as held:
            held.connect()
            assert renewed.wait(LIMIT)
    finally:
        django_mqauth.credential_renewed.disconnect(receive, sender=CredentialRenewed)
    assert seen[0][0] == "default"
    assert any(line.startswith("default (oauth2 client") for line in caplog.messages)


def test_a_failure_is_a_signal(site: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """`credential_failed` carries the reason; a receiver that fails harms nobody."""
    seen: list[Any] = []

    def receive(sender: Any, *, event: Any, **_: Any) -> None:
        seen.append(event)
        raise ValueError("a receiver's own affair")

    django_mqauth.credential_failed.connect(receive, sender=RenewalFailed)
    try:
        with site.issuer.faults.during("error500"), pytest.raises(Exception, match="500"):
            django_mqauth.source().get()
    finally:
        django_mqauth.credential_failed.disconnect(receive, sender=RenewalFailed)
    assert seen[0].retryable
    assert "failed: ValueError" in caplog.text


def without(modules: list[str], alias: dict[str, Any], tmp_path: Path) -> list[str]:
    """Run the project where some modules cannot be imported; return what it printed."""
    arguments = [json.dumps(modules), str(Path(__file__).parent), str(tmp_path), json.dumps(alias)]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_CELERY, *arguments],
        env={**os.environ, "MQAUTH_CACHE": "off"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_celery_is_optional(
    sandbox: Sandbox, alias: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Without Celery the app loads, checks, signs in, and Kombu carries messages."""
    said = without(["celery"], {"default": alias()}, tmp_path)
    assert said == ["System check identified no issues (0 silenced).", "oauth2", "hello"]


def test_kombu_is_optional(
    sandbox: Sandbox, alias: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Without Kombu there still are credentials, and connections say what to install."""
    said = without(["celery", "kombu", "celery_mqauth", "amqp"], {"default": alias()}, tmp_path)
    assert said[1] == "oauth2"
    assert 'pip install "django-mqauth[celery]"' in said[2]
