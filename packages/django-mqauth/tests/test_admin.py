"""The status page: who may see it, what is behind it, a thousand workers, and no secret."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import path

import django_mqauth
from choir import Choir, answer
from django_mqauth.admin import CredentialAdmin
from django_mqauth.models import Credential
from django_mqauth.status import workers
from django_mqauth.status.permissions import explained
from django_mqauth.workers import asking, memory
from mqauth_sandbox import Sandbox

LIMIT = 60.0
PAGE = "/admin/mqauth/"
PROCESS = "/admin/mqauth/credential/process/"
WORKERS = "/admin/mqauth/credential/workers/"


def person(name: str, **rights: Any) -> Client:
    """Return a browser in which somebody has signed in."""
    User.objects.filter(username=name).delete()
    may_view = rights.pop("may_view", False)
    user = User.objects.create_user(name, password="pass", **rights)
    if may_view:
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label="mqauth", codename="view_credential")
        )
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def operator(database: None) -> Client:
    """Somebody who may look at credentials, and at nothing else."""
    return person("operator", is_staff=True, may_view=True)


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, operator: Client) -> Callable[..., dict[str, Any]]:
    """Return a function that asks for workers anew and returns the document."""

    def document(**query: str) -> dict[str, Any]:
        monkeypatch.setattr(workers, "_memo", workers._Memo())
        found: dict[str, Any] = operator.get(WORKERS, query).json()
        return found

    return document


@pytest.fixture
def app(
    site: Sandbox, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Celery]:
    """The site's Celery app."""
    monkeypatch.setattr(asking, "_SLACK", LIMIT)
    memory.forget()
    app = Celery(
        "site",
        broker=django_mqauth.broker_url(),
        broker_use_ssl=django_mqauth.broker_use_ssl(),
        set_as_current=False,
    )
    use(MQAUTH_CELERY_APP=app, MQAUTH_ADMIN_TIMEOUT=1.0)
    yield app
    app.close()
    memory.forget()


@pytest.fixture
def admin_url(site: Sandbox) -> str:
    """The broker by a login that does not expire."""
    broker = site.broker
    return f"amqp://{broker.admin_user}:{broker.admin_password}@localhost:{broker.amqp_port}//"


@pytest.mark.parametrize("address", [PAGE, PROCESS, WORKERS, "/admin/mqauth/credential/"])
def test_a_visitor_is_asked_to_sign_in(site: Sandbox, database: None, address: str) -> None:
    """Anonymous visitors and customers get Django's usual answer: the login of the admin."""
    for client in (Client(), person("customer", is_staff=False, may_view=True)):
        answered = client.get(address)
        assert answered.status_code == 302
        assert answered.headers["Location"].startswith("/admin/login/")


def test_staff_without_the_permission_is_turned_away(site: Sandbox, database: None) -> None:
    """Staff who may not look get Django's usual answers, and no link on the index."""
    client = person("clerk", is_staff=True)
    assert client.get(PAGE).status_code == 404
    for address in (PROCESS, WORKERS, "/admin/mqauth/credential/"):
        assert client.get(address).status_code == 403
    assert b"Broker credentials" not in client.get("/admin/").content


def test_nothing_can_be_changed(operator: Client) -> None:
    """The page offers nothing to add, change or delete."""
    for address in ("add/", "1/change/", "1/delete/"):
        assert operator.get(f"/admin/mqauth/credential/{address}").status_code == 404
    assert operator.post(PROCESS).status_code in (200, 405)


def test_the_page_is_on_the_index(site: Sandbox, operator: Client) -> None:
    """The admin's index leads to the page."""
    assert b'href="/admin/mqauth/"' in operator.get("/admin/").content
    assert operator.get("/admin/mqauth/credential/").headers["Location"] == PAGE


def test_a_second_admin_leads_to_its_own_page(
    site: Sandbox, operator: Client, use: Callable[..., None]
) -> None:
    """Each admin site has a page, and stays with it."""
    second = admin.AdminSite("second")
    second.register(Credential, CredentialAdmin)
    patterns = [path("admin/", admin.site.urls), path("second/", second.urls)]
    use(ROOT_URLCONF=type("Urls", (), {"urlpatterns": patterns}))
    led = operator.get("/second/mqauth/credential/")
    assert led.headers["Location"] == "/second/mqauth/"
    shown = operator.get("/second/mqauth/").content.decode()
    assert 'data-process="/second/mqauth/credential/process/"' in shown


def test_the_page_needs_nothing_from_elsewhere(site: Sandbox, operator: Client) -> None:
    """No inline script or style, nothing of another host: a strict policy lets it live."""
    html = operator.get(PAGE).content.decode()
    ours = html[html.index('id="content"') :]
    assert not re.search(r"<script(?![^>]* src=)", html)
    assert not re.search(r"<style|\sstyle=|\son\w+=", ours)
    assert not re.search(r"(src|href)=\"(https?:)?//", html)
    for name in ("status.js", "status.css"):
        assert f"/static/django_mqauth/{name}" in html
        path = finders.find(f"django_mqauth/{name}")
        assert isinstance(path, str)
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - what Django found
            text = file.read()
        assert not re.search(r"https?://|innerHTML|eval\(|@import|\burl\(['\"a-z]", text)


def test_documents_are_never_cached(site: Sandbox, operator: Client) -> None:
    """No cache keeps a state that was true a moment ago."""
    assert "no-store" in operator.get(PROCESS).headers["Cache-Control"]


def test_this_process(site: Sandbox, operator: Client) -> None:
    """The document tells who signs in where, time left, rotations and permissions."""
    django_mqauth.source().get()
    (entry,) = operator.get(PROCESS).json()["identities"]
    assert entry["alias"] == "default"
    assert entry["source"]["identity"].startswith("oauth2 client celery of")
    assert entry["source"]["lifetime"] == site.issuer.token_lifetime
    assert 0 < entry["source"]["remaining"] <= site.issuer.token_lifetime
    assert entry["source"]["events"][-1]["kind"] == "fetched"
    assert any("consume from" in each["means"] for each in entry["permissions"])
    assert entry["host"]["shares"] is False


def test_looking_fetches_nothing(site: Sandbox, operator: Client) -> None:
    """An alias that this process has not used shows as such, and stays unused."""
    before = site.issuer.fetches
    (entry,) = operator.get(PROCESS).json()["identities"]
    assert entry["source"] is None
    assert site.issuer.fetches == before


def test_what_cannot_work_has_its_remedy(
    site: Sandbox, operator: Client, use: Callable[..., None]
) -> None:
    """An alias that cannot work shows what is wrong and what to do."""
    use(MQAUTH={"default": {"BROKER": "rabbit.example.com", "PROVIDER": "oauth2"}})
    (entry,) = operator.get(PROCESS).json()["identities"]
    assert "is no broker URL" in entry["problem"]
    assert "amqps://" in entry["remedy"]


def test_failures_show_with_their_remedy(site: Sandbox, operator: Client) -> None:
    """A failed attempt is in the timeline and in the last error."""
    with site.issuer.faults.during("error500"), pytest.raises(Exception, match="500"):
        django_mqauth.source().get()
    (entry,) = operator.get(PROCESS).json()["identities"]
    assert entry["source"]["failures"] == 1
    assert "500" in entry["source"]["last_error"]
    assert "failed" in [event["kind"] for event in entry["source"]["events"]]


def test_a_thousand_workers(
    app: Celery, admin_url: str, ask: Callable[..., dict[str, Any]], use: Callable[..., None]
) -> None:
    """A thousand workers are summed up and paged, the troubled ones first."""
    use(MQAUTH_ADMIN_TIMEOUT=LIMIT)  # one thread answers for all of them
    said: dict[str, Any] = {f"worker-{n:04}@host-{n % 40}": answer() for n in range(998)}
    said |= {"lost@z": answer(source={"expires_at": "2020-01-01T00:00:00+00:00"}), "odd@z": 7}
    memory.update(said, set())  # so that nobody waits for others once these have answered
    with Choir(admin_url, said):
        first = ask()
        last = ask(page="20")
        found = ask(search="WORKER-0123")
        trouble = ask(state="trouble")
        beyond = ask(page="999999999999")
    assert first["summary"]["total"] == 1000
    assert first["summary"]["trouble"] == 2
    assert first["summary"]["soonest"]["worker"] == "lost@z"
    assert (first["page"], first["pages"], len(first["workers"])) == (1, 20, 50)
    assert [worker["name"] for worker in first["workers"][:2]] == ["lost@z", "odd@z"]
    assert (last["page"], len(last["workers"])) == (20, 50)
    assert [worker["name"] for worker in found["workers"]] == ["worker-0123@host-3"]
    assert trouble["found"] == 2
    assert beyond["page"] == 1
    assert len(json.dumps(first)) < 60_000


def test_many_visitors_ask_once(
    app: Celery,
    admin_url: str,
    operator: Client,
    use: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Visitors within a moment share one question to the workers."""
    monkeypatch.setattr(workers, "_memo", workers._Memo())
    use(MQAUTH_ADMIN_TIMEOUT=LIMIT, MQAUTH_ADMIN_REFRESH=LIMIT)
    memory.update(["one@a"], set())
    with Choir(admin_url, {"one@a": answer()}) as choir:
        for _ in range(5):
            assert operator.get(WORKERS).json()["summary"]["total"] == 1
    assert choir.questions == 1


@pytest.mark.usefixtures("app")
def test_no_secret_anywhere(
    site: Sandbox,
    operator: Client,
    use: Callable[..., None],
    alias: Callable[..., dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither the secret, even if it stands in the settings, nor a token shows anywhere."""
    entry = alias(client_secret=site.issuer.client_secret)
    del entry["OPTIONS"]["client_secret_file"]
    login = f"amqps://u:{site.issuer.client_secret}@localhost:1/"
    both = f"{django_mqauth.broker_url()};{login}"
    celery = {f"CELERY_BROKER_{kind}URL": both for kind in ("", "READ_", "WRITE_")}
    use(MQAUTH={"default": entry}, DEBUG=True, **celery)
    with caplog.at_level(logging.DEBUG):
        token = django_mqauth.source().get().password.reveal()
        said = [operator.get(address).content.decode() for address in (PAGE, PROCESS, WORKERS)]
        operator.raise_request_exception = False
        error = operator.get("/defect/", headers={"accept": "text/html"})
        plain = operator.get("/defect/", headers={"accept": "text/plain"})
    assert error.status_code == 500
    assert b"a defect with" in error.content
    assert b"MQAUTH" in error.content
    said += [error.content.decode(), plain.content.decode(), caplog.text]
    for text in said:
        assert site.issuer.client_secret not in text
        assert token not in text
        assert token[:40] not in text


SCOPES = {
    "rabbitmq.read:*/*/*": (
        "may consume from and bind any queue or exchange in any virtual host, topics included"
    ),
    "rabbitmq/write:prod/celery": (
        "may publish to and bind what is called celery in the virtual host prod, topic exchanges "
        "left out (Celery's events need them)"
    ),
    "rabbitmq.configure:%2F/celery*": (
        "may declare and delete what is called celery* in the virtual host /"
    ),
    "rabbitmq.write:prod/celeryev/worker.#": (
        "may publish to and bind what is called celeryev in the virtual host prod, topics by the "
        "routing key worker.#"
    ),
    "rabbitmq.tag:administrator": "has the tag administrator in RabbitMQ's management",
    "rabbitmq.read:/celery": (
        "permits less than it looks: its virtual host is empty; / is written %2F: read:%2F/"
    ),
    "rabbitmq.read:%2F/celery/key/more": (
        "means nothing to RabbitMQ's permissions: it has 4 segments, not two or three; write a / "
        "in a name as %2F"
    ),
    "openid": (
        "means nothing to RabbitMQ's permissions: it does not begin with configure:, write:, read: "
        "or tag:"
    ),
}


@pytest.mark.parametrize("scope", SCOPES)
def test_scopes_in_words(scope: str) -> None:
    """Each scope is told in words."""
    assert explained([scope]) == [{"scope": scope, "means": SCOPES[scope]}]
