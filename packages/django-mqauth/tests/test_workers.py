"""What workers answer is understood, whatever it is; the broker under it is real."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.core.cache import cache
from health_check.exceptions import ServiceUnavailable
from kombu.pidbox import Mailbox

import django_mqauth
from choir import Choir, answer
from django_mqauth.health import WorkerCredentials
from django_mqauth.workers import asking, memory
from django_mqauth.workers.asking import Answers, ask_workers
from django_mqauth.workers.replies import understand
from mqauth_sandbox import Sandbox

EXPIRED = "2020-01-01T00:00:00+00:00"
LIMIT = 20.0
WAIT = timedelta(seconds=LIMIT)
"""For those who answer at once, on a machine that stands still now and then."""
SOON = {"issued_at": EXPIRED, "clock_skew": 0.0}


@pytest.fixture
def app(
    site: Sandbox, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Celery]:
    """The site's Celery app, and nobody remembered."""
    monkeypatch.setattr(asking, "_SLACK", LIMIT)
    memory.forget()
    app = Celery(
        "site",
        broker=django_mqauth.broker_url(),
        broker_use_ssl=django_mqauth.broker_use_ssl(),
        set_as_current=False,
    )
    use(MQAUTH_CELERY_APP=app)
    yield app
    app.close()
    memory.forget()


@pytest.fixture
def admin_url(site: Sandbox) -> str:
    """The broker by a login that does not expire."""
    broker = site.broker
    return f"amqp://{broker.admin_user}:{broker.admin_password}@localhost:{broker.amqp_port}//"


def ask(*workers: str) -> Answers:
    """Ask until all of these have answered."""
    return ask_workers(LIMIT, expected=workers)


def states(answers: Answers) -> dict[str, str]:
    """Return each worker's state."""
    return {worker.name: worker.state for worker in answers.workers}


SAID: dict[str, tuple[Any, str]] = {
    "all is well": (answer(), "ok"),
    "never expires": (answer(source={"expires_at": None, "remaining": None}), "ok"),
    "renewal fails": (answer(source={"failures_in_a_row": 2, "last_error": "HTTP 500"}), "failing"),
    "expired": (answer(source={"expires_at": EXPIRED}), "expired"),
    "no queues": (answer(queues=[]), "idle"),
    "no sources": ({"sources": []}, "static"),
    "an error": ({"error": "KeyError('mqauth')"}, "unreadable"),
    "text": ("hello", "unreadable"),
    "nothing": (None, "unreadable"),
    "a number": (7, "unreadable"),
    "a list": ([answer()], "unreadable"),
    "sources as text": ({"sources": "oauth2"}, "unreadable"),
    "sources of texts": ({"sources": ["oauth2"]}, "unreadable"),
    "empty sources": ({"sources": [{}] * 5000}, "unreadable"),
    "an error of another kind": ({"error": 5}, "unreadable"),
    "queues as a number": (answer(queues=7), "unreadable"),
    "queues of numbers": (answer(queues=[7]), "unreadable"),
    "a queue that AMQP cannot name": (answer(queues=["x" * 256]), "unreadable"),
    "one expired among many": (
        {
            "sources": [
                *answer()["sources"] * 50,
                *answer(source={"expires_at": EXPIRED})["sources"],
            ]
        },
        "expired",
    ),
    **{
        f"{field} is {str(value)[:20]}": (answer(source={field: value}), "unreadable")
        for field, value in [
            ("provider", 5),
            ("provider", ""),
            ("identity", ["x"]),
            ("principal", 5),
            ("issued_at", "yesterday"),
            ("expires_at", "never"),
            ("expires_at", {"at": "noon"}),
            ("remaining", "soon"),
            ("remaining", float("nan")),
            ("remaining", 10**400),
            ("clock_skew", float("inf")),
            ("rotations", -3),
            ("rotations", None),
            ("rotations", int("9" * 400)),
            ("failures", True),
            ("failures_in_a_row", "many"),
            ("connections", 1.5),
            ("last_error", {"why": "?"}),
        ]
    },
    "events of other kinds": (
        answer(recent={"oauth2 client celery of https://login.example.com": [1, {"at": 3}, {}]}),
        "ok",
    ),
}


@pytest.mark.parametrize("said", SAID)
def test_any_answer_is_understood(said: str) -> None:
    """Whatever a worker says becomes a state, with a remedy where it is not well."""
    content, state = SAID[said]
    report = understand("one@host", content)
    assert report.state == state
    assert (report.problem is None) == (state == "ok")
    assert (report.remedy is None) == (state == "ok")
    assert len(report.problem or "") < 1000
    assert "9" * 20 not in str(report)


def test_what_cannot_be_read_is_named() -> None:
    """An answer that cannot be read is told by the field that is in the way, in whole words."""
    said = {
        "expires_at is no moment but a str": answer(source={"expires_at": "never"}),
        "rotations is no count but an int (-3)": answer(source={"rotations": -3}),
        "failures is no count but an int out of all bounds": answer(source={"failures": 10**400}),
        "a source has no provider": {"sources": [{}]},
        "queues is no list but an int": answer(queues=7),
        "it answered with an int": 7,
        "it answered with nothing": None,
    }
    for words, reply in said.items():
        assert understand("one@host", reply).problem is not None
        assert words in (understand("one@host", reply).problem or "")


@pytest.mark.parametrize(("number", "words"), [(1, "1 renewal failed"), (2, "2 renewals failed")])
def test_numbers_agree_with_their_nouns(number: int, words: str) -> None:
    """One is no plural."""
    report = understand("one@host", answer(source={"failures_in_a_row": number}))
    assert words in (report.problem or "")


def test_long_texts_are_cut() -> None:
    """An answer cannot fill a page with one field, nor with many sources."""
    many = answer()
    many["sources"] = [{**many["sources"][0], "last_error": "x" * 100_000}] * 1000
    report = understand("one@host", many)
    assert len(report.sources) == 20
    assert len(report.sources[0].last_error or "") == 500


def test_workers_answer_over_the_broker(app: Celery, admin_url: str) -> None:
    """Good and garbled answers come side by side, and each is told for what it is."""
    said = {"good@a": answer(), "idle@b": answer(queues=[]), "odd@c": "what?"}
    with Choir(admin_url, said):
        answers = ask(*said)
    assert states(answers) == {"good@a": "ok", "idle@b": "idle", "odd@c": "unreadable"}
    assert answers.problem is None


@pytest.mark.parametrize(
    "raw",
    [
        (b'["no", "name"]', "application/json"),
        (b"{broken", "application/json"),
        (b"\x80\x04\x95", "application/x-python-serialize"),
        (b"\xff\xfe", "application/octet-stream"),
    ],
    ids=["list", "broken JSON", "pickle", "binary"],
)
def test_garbage_does_not_hide_the_others(
    app: Celery, admin_url: str, raw: tuple[bytes, str]
) -> None:
    """A reply that nobody can read is told, and those of others count."""
    with Choir(admin_url, {"good@a": answer()}, [raw]):
        answers = ask("good@a")
    assert states(answers) == {"good@a": "ok"}
    assert answers.problem is not None
    assert "cannot be read" in answers.problem


def test_a_claim_to_consume_is_checked(app: Celery, admin_url: str) -> None:
    """A worker that says it consumes is believed if the broker delivers to it."""
    with app.connection_for_write() as connection:
        connection.default_channel.queue_declare(
            "deserted", durable=False, auto_delete=False, arguments={"x-expires": 60_000}
        )
    with Choir(admin_url, {"one@a": answer(queues=["deserted"])}):
        (worker,) = ask("one@a").workers
    assert worker.state == "idle"
    assert "the broker knows no consumer" in (worker.problem or "")


def test_nobody_answers(app: Celery) -> None:
    """Silence is no error of ours, and takes no longer than it may."""
    started = time.monotonic()
    assert ask_workers(0.5) == Answers()
    assert time.monotonic() - started < LIMIT


def test_what_came_in_time_is_read_late(
    app: Celery, admin_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is kept from reading while answers come, as on a busy host, reads them all the same."""
    publish: Callable[..., None] = Mailbox._publish
    limit = 0.2

    def publish_and_sleep(mailbox: Any, *arguments: Any, **options: Any) -> None:
        publish(mailbox, *arguments, **options)
        link = mailbox.connection.connection.transport.sock
        assert select.select([link], [], [], LIMIT)[0], "the answer"
        time.sleep(limit)

    monkeypatch.setattr(Mailbox, "_publish", publish_and_sleep)
    with Choir(admin_url, {"good@a": answer()}):
        assert states(ask_workers(limit)) == {"good@a": "ok"}


def test_the_broker_is_not_there(
    app: Celery, use: Callable[..., None], alias: Callable[..., dict[str, Any]]
) -> None:
    """Without a broker there is one line with a remedy, within the time."""
    use(MQAUTH={"default": alias(port=1)})
    app.conf.broker_url = django_mqauth.broker_url()
    answers = ask_workers(0.5)
    assert answers.workers == ()
    assert "no connection to the broker" in (answers.problem or "")


def test_somebody_who_has_to_be_there(app: Celery, admin_url: str) -> None:
    """A worker that was named and does not answer is told by name."""
    with Choir(admin_url, {"good@a": answer()}), pytest.raises(ServiceUnavailable, match="gone@b"):
        WorkerCredentials(app=app, workers=("good@a", "gone@b")).run()


def test_too_few(app: Celery, admin_url: str) -> None:
    """Fewer answers than there should be are told."""
    good = ("good@a",)
    with Choir(admin_url, {"good@a": answer()}):
        WorkerCredentials(app=app, workers=good, wait=WAIT).run()
        with pytest.raises(ServiceUnavailable, match="1 worker answered, at least 2"):
            WorkerCredentials(app=app, workers=good, at_least=2, wait=WAIT).run()


def test_failing_renewals_are_healthy_for_a_while(app: Celery, admin_url: str) -> None:
    """A worker whose renewals fail is healthy until a quarter of the life is left."""
    failing = {"failures_in_a_row": 1, "last_error": "HTTP 500"}
    check = WorkerCredentials(app=app, workers=("one@a",), wait=WAIT)
    with Choir(admin_url, {"one@a": answer(source=failing)}):
        check.run()
    with (
        Choir(admin_url, {"one@a": answer(source={**failing, **SOON})}),
        pytest.raises(ServiceUnavailable, match="HTTP 500"),
    ):
        check.run()


def test_who_signed_off_is_forgotten(app: Celery, admin_url: str) -> None:
    """A worker whose control queue is gone has ended, and nobody misses it."""
    with Choir(admin_url, {"one@a": answer(), "two@b": answer()}):
        ask("one@a", "two@b")
    assert memory.known() == {"one@a", "two@b"}
    with Choir(admin_url, {"two@b": answer()}):
        assert states(ask_workers(5.0)) == {"two@b": "ok"}
    assert memory.known() == {"two@b"}


def frozen(admin_url: str, name: str) -> Choir:
    """Return a worker whose credential, and connection, end as soon as it was asked."""
    soon = (datetime.now(UTC) + timedelta(seconds=0.1)).isoformat()
    return Choir(admin_url, {name: answer(source={"expires_at": soon})})


def test_who_may_be_frozen_is_named(app: Celery, admin_url: str, use: Callable[..., None]) -> None:
    """A control queue that is gone with its worker's token is no sign-off: both cases are told."""
    with frozen(admin_url, "one@a"):
        ask("one@a")
    for _ in range(2):
        (worker,) = ask_workers(0.3).workers
        assert worker.state == "silent"
        assert "it has ended, or is frozen" in (worker.problem or "")
        assert "restart it; one that ended for good is named for 600 s" in (worker.remedy or "")
    with pytest.raises(ServiceUnavailable, match="one@a: it is not there"):
        WorkerCredentials(app=app).run()
    with Choir(admin_url, {"one@a": answer()}):
        assert states(ask("one@a")) == {"one@a": "ok"}
    assert ask_workers(0.3).workers == ()
    with frozen(admin_url, "one@a"):
        ask("one@a")
    use(MQAUTH_WORKERS_MISSED=0.2)
    assert states(ask_workers(0.3)) == {"one@a": "silent"}
    time.sleep(0.2)
    assert ask_workers(0.3).workers == ()
    assert memory.known() == set()


def test_who_fell_silent_does_not_sign_off(app: Celery, admin_url: str) -> None:
    """A worker that did not answer while it had a queue is named once that is gone, too."""
    with Choir(admin_url, {"one@a": answer()}):
        ask("one@a")
    with app.connection_for_write() as connection:
        channel, queue = connection.default_channel, "one@a.celery.pidbox"
        channel.queue_declare(queue, durable=False, auto_delete=False)
        assert "it does not answer" in (ask_workers(0.3).workers[0].problem or "")
        channel.queue_delete(queue)
    assert "it is not there" in (ask_workers(0.3).workers[0].problem or "")


def test_what_others_left_in_the_cache_is_passed_over() -> None:
    """What another release remembers in the same cache harms nobody."""
    cache.set(memory.KEY, {"one@a": 5.0, "two@b": (1,), 3: (1.0, 1.0, 1.0), "x": ("a", "b", "c")})
    assert memory.known() == set()
    memory.forget()


def test_memory_survives_a_broken_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Django's cache this process remembers by itself."""

    def broken(*_: Any, **__: Any) -> None:
        raise ConnectionError

    memory.forget()
    monkeypatch.setattr(cache, "get", broken)
    monkeypatch.setattr(cache, "set", broken)
    memory.update(["one@a"], [])
    assert memory.known() == {"one@a"}


def test_a_shared_cache_tells_new_processes(use: Callable[..., None], tmp_path: Path) -> None:
    """Who was seen by one process is known to the next if Django's cache outlives it."""
    files = "django.core.cache.backends.filebased.FileBasedCache"
    use(CACHES={"default": {"BACKEND": files, "LOCATION": str(tmp_path)}})
    memory.update(["one@a"], [])
    memory._here.clear()
    assert memory.known() == {"one@a"}
    memory.forget()


def test_without_celery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Celery the answer says that there is nobody to ask."""
    import sys  # noqa: PLC0415

    monkeypatch.setitem(sys.modules, "celery", None)
    assert "celery" in (ask_workers(0.5).problem or "")
