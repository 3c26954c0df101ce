"""What an app's configuration says of the queues that its tasks go through."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from celery import Celery
from kombu import Exchange, Queue, binding
from kombu.common import Broadcast

from celery_mqauth.diagnosis import operations_of
from celery_mqauth.least.grants import not_counted, role_grants
from mqauth.errors import ConfigurationError
from mqauth.permissions.least import Use
from mqauth.permissions.name_patterns import Blank, named
from mqauth.permissions.operations import UnknownOperationError


def nothing() -> None:
    """Do nothing."""


def made(**conf: Any) -> Celery:
    """Make an app with one task."""
    app = Celery("least", broker="amqp://localhost//", set_as_current=False)
    app.conf.update(**conf)
    app.task(name="work", shared=False)(nothing)
    return app


def scopes(app: Celery, role: str, **given: Any) -> set[str]:
    """Return the scopes of a role on the virtual host v."""
    (grant,) = role_grants(app, [role], **given)
    return {element.scope("v") for element in grant.scopes}


MORE = ("configure:v/more", "read:v/more/a.%2A")
MAIN = ("configure:v/main", "read:v/main/new")


def several(*, kombu: tuple[int, int] = (5, 5), monkeypatch: Any, **conf: Any) -> Celery:
    """Make an app with a queue of several bindings, on this version of Kombu."""
    monkeypatch.setattr("kombu.VERSION", (*kombu, 0))
    more = binding(Exchange("more", type="topic"), routing_key="a.*")
    return made(
        task_queues=[Queue("q", [more])],
        task_default_exchange="main",
        task_default_exchange_type="topic",
        task_default_routing_key="new",
        **conf,
    )


@pytest.mark.parametrize("role", ["worker", "producer", "beat"])
def test_a_queue_of_several_bindings(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is bound as its bindings say; Celery's default exchange is only published to."""
    found = scopes(several(monkeypatch=monkeypatch), role, queues=["q"])
    assert {*MORE, "write:v/main/new"} <= found
    assert found.isdisjoint(MAIN)
    assert not [scope for scope in found if scope.startswith("write:v/more")]


@pytest.mark.parametrize(
    "given", [{"task_publish_retry": False}, {"kombu": (5, 4)}], ids=["no retry", "old Kombu"]
)
def test_a_main_binding_besides_others(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who publishes without retries, or with an old Kombu, binds a queue to its exchange too."""
    app = several(monkeypatch=monkeypatch, **given)
    assert {*MORE, *MAIN} <= scopes(app, "producer")
    assert scopes(app, "worker", queues=["q"]).isdisjoint(MAIN)
    app = several(monkeypatch=monkeypatch, task_default_queue="q", **given)
    assert {*MORE, *MAIN} <= scopes(app, "worker")


def test_each_binding_is_delayed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Native delayed delivery goes by the bindings that a queue has."""
    app = several(monkeypatch=monkeypatch)
    app.amqp.queues["q"].queue_arguments = {"x-queue-type": "quorum"}
    if "worker_detect_quorum_queues" not in app.conf:
        pytest.skip("this Celery knows no native delayed delivery")
    found = scopes(app, "delayed")
    assert {"write:v/more", "read:v/more/%23.a.%2A"} <= found
    assert not [scope for scope in found if ":v/main" in scope]


def test_what_is_tried_of_a_family() -> None:
    """Several names and keys are, one of each family first, and not each with each."""
    queue, key = named(Blank.UUID, ".", Blank.ANY), named(*(Blank.ANY for _ in range(20)))
    binds = Use(operation="queue.bind", on=(("queue", queue), ("exchange", named("e"))), key=key)
    reads = Use(operation="basic.consume", on=(("queue", queue),))
    tried = operations_of([binds, reads], "/")
    assert [each.kind.name for each in tried] == [
        *("queue.bind", "basic.consume"),
        *("queue.bind", "basic.consume"),
    ]
    assert len({each.queue for each in tried}) == 2
    assert len({each.routing_key for each in tried if each.routing_key}) == 2


def test_what_celery_does_not_declare() -> None:
    """Exchanges of the broker's own are not declared, nor are queues to all by producers."""
    own, news = Exchange("amq.topic", type="topic"), Broadcast("news", queue="news.all")
    app = made(task_queues=[Queue("q", own, "a"), news], task_default_queue="q")
    found = scopes(app, "producer")
    assert "configure:v/amq.topic" not in found
    assert "configure:v/news.all" not in found
    assert "configure:v/news.all" in scopes(app, "worker")


@pytest.mark.parametrize(
    ("route", "scope"),
    [
        ({"exchange": "elsewhere", "routing_key": "k"}, "write:v/elsewhere/k"),
        ({"queue": "t", "routing_key": "order.new"}, "write:v/topics/order.new"),
        ({"queue": "t", "exchange": "plain", "routing_key": "k"}, "write:v/plain"),
    ],
)
def test_routes_that_name_exchanges(route: dict[str, str], scope: str) -> None:
    """A route's exchange and key are published to; an unknown exchange may be a topic exchange."""
    queues = [
        Queue("t", Exchange("topics", type="topic"), "t"),
        Queue("p", Exchange("plain"), "p"),
    ]
    app = made(task_queues=queues, task_default_queue="p", task_routes={"work": route})
    assert scope in scopes(app, "producer")


def test_looking_changes_nothing() -> None:
    """The app does not get the queues that its routes name, whatever is asked about it."""
    app = made(task_routes={"work": "w", "other.*": "o"})
    assert {"configure:v/w", "configure:v/o"} <= scopes(app, "producer", queues=["z"])
    assert set(app.amqp.queues) == {"celery"}


def test_a_queue_of_one_worker_by_its_name() -> None:
    """A producer that sends to one worker declares that worker's own queue and its exchange."""
    app = made(worker_direct=True)
    found = scopes(app, "producer", sent=["w1@host.dq2"])
    assert {"configure:v/w1@host.dq2", "configure:v/C.dq2"} <= found


def test_what_is_told_not_to_be_counted() -> None:
    """Routers that fail without arguments, and routes to queues that nobody creates, are told."""

    def fails(name: str, args: Any, *rest: Any, **options: Any) -> dict[str, str]:
        del name, rest, options
        return {"queue": args[0]}

    (router, task) = not_counted(made(task_routes=fails))
    assert "fails" in router
    assert "IndexError where work comes" in task
    (lost,) = not_counted(made(task_routes={"work": "w"}, task_create_missing_queues=False))
    assert "'w'" in lost


def test_beat_without_entries_or_with_another_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no configuration says what beat sends, it gets what producers get."""
    app = made(task_routes={"work": "w"})
    assert scopes(app, "beat") == scopes(app, "producer")
    entries = {"e": {"task": "x", "schedule": 1.0, "options": {"queue": "often"}}}
    elsewhere = made(
        task_routes={"work": "w"}, beat_scheduler="of.another:Kind", beat_schedule=entries
    )
    assert {"configure:v/w", "configure:v/often"} <= scopes(elsewhere, "beat")
    known = made(task_routes={"work": "w"}, beat_schedule=entries)
    assert "configure:v/w" not in scopes(known, "beat")
    monkeypatch.setitem(sys.modules, "django_celery_beat", sys)
    assert "configure:v/w" in scopes(known, "beat")


def test_beat_cleans_up() -> None:
    """The task that removes old results is sent by beat, wherever routes send it."""
    entries = {"e": {"task": "x", "schedule": 1.0, "options": {"queue": "often"}}}
    app = made(beat_schedule=entries, task_routes={"celery.*": "cleaning"})
    assert "configure:v/cleaning" in scopes(app, "beat")
    assert "configure:v/celery" not in scopes(app, "beat")
    app = made(beat_schedule=entries, task_routes={"celery.*": "cleaning"}, result_expires=None)
    assert "configure:v/cleaning" not in scopes(app, "beat")


def test_modules_that_cannot_be_imported() -> None:
    """An app whose tasks cannot be imported is told so, and nothing is printed for half of them."""
    with pytest.raises(ConfigurationError, match=r"task modules cannot be imported.*no_such"):
        role_grants(made(imports=["no_such_module_of_tasks"]), ["producer"])


def test_an_operation_that_there_is_not() -> None:
    """A mistake in a table is an error with a name, also where Python leaves assertions out."""
    with pytest.raises(UnknownOperationError, match=r"queue\.steal"):
        operations_of([Use(operation="queue.steal", on=())], "/")
