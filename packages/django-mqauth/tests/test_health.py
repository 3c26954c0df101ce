"""Health checks through the real view and the `health_check` command, on a real broker."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import AsyncClient, Client
from health_check.exceptions import ServiceUnavailable

import django_mqauth
from django_mqauth.health import BrokerLogin, CredentialFreshness
from django_mqauth.kombu_connections import new_connection
from django_mqauth.login import bounded, sign_in_once
from mqauth.events import CredentialRenewed, subscribe
from mqauth.shared import shared_sources
from mqauth_sandbox import FaultMode, Sandbox, TcpProxy

LIMIT = 20.0
FAULTS: tuple[FaultMode, ...] = ("none", "error500")
FRESHNESS = "CredentialFreshness(alias='default')"
LOGIN = "BrokerLogin(alias='default')"


def ask(tier: str) -> tuple[int, dict[str, str]]:
    """Return what the view of a tier says in JSON."""
    answer = Client().get(f"/health/{tier}/", {"format": "json"})
    return answer.status_code, json.loads(answer.content)


def metrics(tier: str) -> dict[str, float]:
    """Return the figures of a tier in OpenMetrics."""
    answer = Client().get(f"/health/{tier}/", {"format": "openmetrics"})
    assert answer.status_code == 200
    text = answer.content.decode()
    assert text.endswith("# EOF\n")
    assert text.count("# EOF") == 1
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def command(tier: str) -> tuple[int, str]:
    """Return what `manage.py health_check` ends with and says."""
    output = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("health_check", f"mqauth_health:{tier}", use_http=False, stdout=output)
    return int(ended.value.code or 0), output.getvalue()


def test_all_is_well(site: Sandbox) -> None:
    """With issuer and broker up both tiers are green, in every form."""
    assert ask("node") == (200, {FRESHNESS: "OK"})
    assert ask("application") == (200, {FRESHNESS: "OK", LOGIN: "OK"})
    assert command("application") == (0, f"{FRESHNESS}: OK\n{LOGIN}: OK\n")


def test_figures_of_a_credential(site: Sandbox) -> None:
    """OpenMetrics tell the time left, rotations and failures, labelled without a secret."""
    ask("node")
    figures = metrics("application")
    identity = django_mqauth.source().provider.identity
    labels = f'{{alias="default",provider="oauth2",identity="{identity}"}}'
    left = figures[f"mqauth_credential_remaining_seconds{labels}"]
    assert 0 < left <= site.issuer.token_lifetime
    assert figures[f"mqauth_credential_rotations_total{labels}"] == 0
    assert figures[f"mqauth_credential_fetches_total{labels}"] == 1
    assert figures[f"mqauth_credential_failures_total{labels}"] == 0
    assert figures['django_health_check_status{check="BrokerLogin",alias="default"}'] == 1


def test_no_secret_in_any_form(site: Sandbox) -> None:
    """Neither the client's secret nor a token shows in HTML, text, JSON, feeds or figures."""
    token = django_mqauth.source().get().password.reveal()
    for form in ("html", "text", "json", "openmetrics", "atom", "rss"):
        for fault in FAULTS:
            site.issuer.faults.mode = fault
            text = Client().get("/health/application/", {"format": form}).content.decode()
            site.issuer.faults.reset()
            assert token not in text
            assert site.issuer.client_secret not in text


@pytest.fixture
def short_life(site: Sandbox) -> Sandbox:
    """A credential of seconds, renewed all along."""
    site.issuer.token_lifetime = 6
    return site


def healthy(tier: str, check: str) -> bool:
    """Return what OpenMetrics say of a check."""
    return metrics(tier)[f'django_health_check_status{{check="{check}",alias="default"}}'] == 1


def test_the_issuer_may_be_down_until_the_threshold(short_life: Sandbox) -> None:
    """With the issuer down freshness stays green, turns red below its threshold, and recovers."""
    issuer = short_life.issuer
    assert ask("node")[0] == 200
    issuer.faults.mode = "error500"
    held = django_mqauth.source().get()
    while held.remaining() >= held.lifetime / 4:
        status = ask("node")[0]
        # One more may have been on its way; and time goes on while it is looked.
        held = django_mqauth.source().current or held
        assert status == 200 or held.remaining() < held.lifetime / 4
    status, said = ask("node")
    assert status == 500
    assert "less than" in said[FRESHNESS] or "500" in said[FRESHNESS]
    assert not healthy("node", "CredentialFreshness")
    assert command("node")[0] == 1
    issuer.faults.reset()
    wait_until(lambda: ask("node")[0] == 200)


def test_staff_alone_may_look(site: Sandbox, database: None) -> None:
    """The view is guarded as any other of Django's: visitors are asked to sign in."""
    visitor = Client()
    answer = visitor.get("/staff/health/", {"format": "json"})
    assert (answer.status_code, answer["Location"][:14]) == (302, "/admin/login/?")
    visitor.force_login(User.objects.create_user("prober", is_staff=True))
    assert visitor.get("/staff/health/", {"format": "json"}).json() == {FRESHNESS: "OK"}


def test_a_threshold_of_ones_own(site: Sandbox) -> None:
    """A threshold in seconds counts instead of a part of the life."""
    CredentialFreshness(threshold=dt.timedelta(seconds=1)).run()
    longer = CredentialFreshness(threshold=dt.timedelta(seconds=site.issuer.token_lifetime * 2))
    with pytest.raises(ServiceUnavailable, match="less than 10 min 0 s"):
        longer.run()


def test_an_unknown_alias_is_told(site: Sandbox) -> None:
    """A check for an alias that is not there says so."""
    with pytest.raises(ServiceUnavailable, match="did you mean default"):
        CredentialFreshness(alias="defualt").run()
    with pytest.raises(ServiceUnavailable, match="did you mean default"):
        BrokerLogin(alias="defualt").run()


def test_the_broker_is_stopped(site: Sandbox) -> None:
    """Without a broker the login fails with a remedy, the node tier stays green, both recover."""
    assert ask("application")[0] == 200
    site.broker.stop()
    status, said = ask("application")
    assert status == 500
    assert said[FRESHNESS] == "OK"
    assert "check host, port, firewall and that the broker runs" in said[LOGIN]
    assert ask("node")[0] == 200
    assert not healthy("application", "BrokerLogin")
    code, text = command("application")
    assert code == 1
    assert "no connection to the broker" in text
    site.broker.start()
    wait_until(lambda: ask("application")[0] == 200)


def test_a_broker_that_hangs(
    site: Sandbox, use: Callable[..., None], alias: Callable[..., dict[str, Any]]
) -> None:
    """A link that goes dead in the midst of it ends with the check's time, not with a thread."""
    with TcpProxy(site.broker.amqp_port) as proxy:
        use(MQAUTH={"default": alias(tls=False, port=proxy.port)})
        well, quick = (BrokerLogin(timeout=dt.timedelta(seconds=limit)) for limit in (LIMIT, 1))
        well.run()
        proxy.stall()
        before = threading.active_count()
        with pytest.raises(ServiceUnavailable, match=r"did not answer|no answer within 1 s"):
            quick.run()
        proxy.resume()
        well.run()
        wait_until(lambda: threading.active_count() <= before)


def test_an_issuer_that_hangs(site: Sandbox) -> None:
    """A check ends with its own time, the wait for the issuer included, and names who is silent."""
    with site.issuer.faults.during("hang"):
        with pytest.raises(ServiceUnavailable, match=r"no credential within 0\.5 s.*the issuer"):
            BrokerLogin(timeout=dt.timedelta(seconds=0.5)).run()
        with pytest.raises(ServiceUnavailable, match=r"the issuer does not answer within 0\.5 s"):
            CredentialFreshness(timeout=dt.timedelta(seconds=0.5)).run()
        assert sign_in_once("default", 0.5) == "no credential within 0.5 s"
        assert not [each for each in shared_sources() if each.status().failures]


def test_a_login_that_comes_too_late_is_dropped(site: Sandbox) -> None:
    """Once nobody waits for it any more, a connection does not stay open."""
    site.issuer.faults.delay = 1.5
    late, others = new_connection("default", connect_timeout=LIMIT), set(threading.enumerate())
    with site.issuer.faults.during("slow"), pytest.raises(TimeoutError), bounded(late, 0.5):
        pass
    for thread in set(threading.enumerate()) - others:
        if thread.name == "mqauth-login":
            thread.join(LIMIT)
    status = django_mqauth.source().status()
    assert (status.fetches, status.connections, late.connected) == (1, 0, False)


def test_a_permission_that_is_missing(site: Sandbox) -> None:
    """A token without the permission for a queue of its own is told what to grant."""
    issuer = site.issuer
    scopes = list(issuer.scopes)
    issuer.scopes = [scope for scope in scopes if ".configure:" not in scope]
    try:
        with pytest.raises(ServiceUnavailable, match=r"grant configure and read on mqauth.health"):
            BrokerLogin().run()
        BrokerLogin(round_trip=False).run()
    finally:
        issuer.scopes = scopes


def test_a_cut_before_there_is_a_link_holds(site: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that ends just when its time is over gets no further time without an end."""
    connection, cut = new_connection("default"), threading.Event()
    connect: Callable[[], Any] = connection.connect

    def timer(_: float, what: Callable[[], None]) -> threading.Timer:
        def do() -> None:
            what()
            cut.set()

        return usual(0, do)

    def connect_late() -> Any:
        assert cut.wait(LIMIT)
        return connect()

    usual = threading.Timer
    monkeypatch.setattr(threading, "Timer", timer)
    monkeypatch.setattr(connection, "connect", connect_late)
    with pytest.raises(TimeoutError), bounded(connection, LIMIT):
        pytest.fail("the link was handed out")
    assert not connection.connected


def test_an_event_loop_is_not_blocked(site: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a check waits for its issuer, the loop that serves it goes on."""
    provider, turned = type(django_mqauth.source().provider), threading.Event()
    fetch = provider.fetch

    def fetch_once_it_turned(self: Any, *, timeout: float) -> Any:
        turned.wait(LIMIT)
        return fetch(self, timeout=timeout)

    monkeypatch.setattr(provider, "fetch", fetch_once_it_turned)

    async def both() -> int:
        client = AsyncClient()

        async def tick() -> None:
            for _ in range(20):
                await asyncio.sleep(0.01)
            turned.set()

        ticking = asyncio.create_task(tick())
        answer = await client.get("/health/node/", {"format": "json"})
        ticking.cancel()
        return int(answer.status_code)

    assert asyncio.run(both()) == 200
    assert turned.is_set()


def test_rotations_are_counted(short_life: Sandbox) -> None:
    """A rotation shows in the figures."""
    renewed = threading.Event()

    def note(event: Any) -> None:
        if isinstance(event, CredentialRenewed):
            renewed.set()

    unsubscribe = subscribe(note)
    try:
        ask("node")
        assert renewed.wait(LIMIT)
    finally:
        unsubscribe()
    figures = metrics("node")
    (rotations,) = [v for k, v in figures.items() if k.startswith("mqauth_credential_rotations")]
    assert rotations >= 1


def wait_until(condition: Callable[[], object]) -> None:
    """Look until a condition holds."""
    end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=LIMIT)
    pause = threading.Event()
    while not condition():
        assert dt.datetime.now(dt.UTC) < end
        pause.wait(0.05)
