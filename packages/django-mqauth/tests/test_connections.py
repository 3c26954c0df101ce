"""Plain Kombu in views, signals, and life without Celery, on a real broker."""

from __future__ import annotations

import asyncio
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
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

import django_mqauth
from django_mqauth import kombu_connections
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
        print(queue.get(timeout=20).payload)
    django_mqauth.connections.close_all()
except Exception as error:
    print(type(error).__name__, error)
"""

GREENLETS = """
import sys
patch = {
    "gevent": lambda: __import__("gevent.monkey").monkey.patch_all(),
    "eventlet": lambda: __import__("eventlet").monkey_patch(),
}[sys.argv[1]]
patch()
from django.conf import settings
broker = {"BROKER": "amqp://localhost/", "PROVIDER": "token-file", "OPTIONS": {"path": "/x"}}
settings.configure(INSTALLED_APPS=["django_mqauth"], MQAUTH={"default": broker})
import django, threading, time
django.setup()
from django_mqauth import connections
held = []
def view():
    held.append(connections["default"])
    time.sleep(0.1)
    assert connections["default"] in held
for _ in range(2):
    threads = [threading.Thread(target=view) for _ in range(3)]
    for each in threads: each.start()
    for each in threads: each.join()
print(len({id(each) for each in held[:3]}), len({id(each) for each in held}))
"""


def test_a_message_goes_there_and_back(site: Sandbox) -> None:
    """A view publishes by alias, without Celery's configuration."""
    connection = django_mqauth.connections["default"]
    queue = connection.SimpleQueue("django-mqauth-greetings", queue_opts={"expires": 60})
    queue.put({"hello": "world"})
    message = queue.get(timeout=20)
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


def publish() -> Any:
    """Publish by the connection of whatever thread this is, and return the connection."""
    connection = django_mqauth.connections["default"]
    with connection.Producer() as producer:
        producer.publish({"order": 7}, exchange="amq.topic", routing_key="orders")
    return connection


def test_threads_of_an_event_loop_share_no_connection(site: Sandbox) -> None:
    """A context that was copied to several threads at a time brings no connection along."""
    together = threading.Barrier(3)

    def together_with_others() -> tuple[int, Any]:
        together.wait(LIMIT)
        return threading.get_ident(), publish()

    async def views() -> list[tuple[int, Any]]:
        await sync_to_async(publish)()
        several = [sync_to_async(together_with_others, thread_sensitive=False) for _ in range(3)]
        return await asyncio.wait_for(asyncio.gather(*(each() for each in several)), LIMIT)

    found = asyncio.run(views())
    assert len({thread for thread, _ in found}) == 3
    assert len({id(connection) for _, connection in found}) == 3
    django_mqauth.connections.close_all()


def test_tasks_of_an_event_loop_share_its_connection(site: Sandbox) -> None:
    """On the loop's own thread there is one connection, however many tasks publish."""

    async def view() -> Any:
        await asyncio.sleep(0)
        return publish()

    async def views() -> list[Any]:
        return await asyncio.gather(*(view() for _ in range(10)))

    assert {id(each) for each in asyncio.run(views())} == {id(django_mqauth.connections["default"])}
    django_mqauth.connections.close_all()


def test_requests_under_asgi_keep_their_connections(site: Sandbox) -> None:
    """Django gives the synchronous part of each request a thread, and yet nobody signs in anew."""

    async def request() -> Any:
        async with ThreadSensitiveContext():
            return threading.get_ident(), await sync_to_async(publish)()

    async def requests() -> list[Any]:
        return [
            connection
            for _ in range(4)
            for _, connection in await asyncio.gather(*(request() for _ in range(4)))
        ]

    django_mqauth.connections.close_all()
    signed_in = asyncio.run(requests())
    assert len({id(each) for each in signed_in}) <= 4
    django_mqauth.connections.close_all()
    assert not any(each.connected for each in signed_in)


def test_connections_of_ended_threads_are_bounded(
    site: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many threads that end, a few connections are kept and the others are closed."""
    monkeypatch.setattr(kombu_connections, "MOST_SPARE", 2)
    django_mqauth.connections.close_all()
    together, opened = threading.Barrier(6), []

    def view() -> None:
        opened.append(publish())
        together.wait(LIMIT)

    threads = [threading.Thread(target=view) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert len({id(each) for each in opened}) == 6
    assert sum(each.connected for each in opened) == 2
    assert publish() in opened
    django_mqauth.connections.close_all()
    assert not any(each.connected for each in opened)


def test_new_settings_leave_no_old_connection(site: Sandbox, use: Callable[..., None]) -> None:
    """A thread that began under other settings closes what it has when it ends."""
    began, changed, opened = threading.Event(), threading.Event(), []

    def view() -> None:
        opened.append(publish())
        began.set()
        assert changed.wait(LIMIT)

    thread = threading.Thread(target=view)
    thread.start()
    assert began.wait(LIMIT)
    use(MQAUTH={"default": settings.MQAUTH["default"]})
    changed.set()
    thread.join(LIMIT)
    assert not opened[0].connected
    assert publish() is not opened[0]
    django_mqauth.connections.close_all()


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_a_greenlet_is_a_thread(library: str) -> None:
    """Greenlets that run at a time share no connection, and the next ones go on with theirs."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GREENLETS, library],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "3 3\n", done.stderr


def test_a_fork_leaves_connections_of_other_threads_alone(site: Sandbox) -> None:
    """What another thread of the parent holds stays as it is, without a twin in the child."""
    began, forked, opened = threading.Event(), threading.Event(), []

    def view() -> None:
        opened.append(publish())
        began.set()
        assert forked.wait(LIMIT)
        opened.append(publish())

    thread = threading.Thread(target=view)
    thread.start()
    assert began.wait(LIMIT)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if django_mqauth.connections["default"] is not opened[0] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    forked.set()
    thread.join(LIMIT)
    assert opened[0] is opened[1]
    assert publish() is opened[0]
    django_mqauth.connections.close_all()


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
