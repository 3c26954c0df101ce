"""What an app's configuration says of the queues that its tasks go through."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from celery import Celery
from kombu import Exchange, Queue, binding
from kombu.common import Broadcast
from kombu.transport import TRANSPORT_ALIASES

from celery_mqauth.diagnosis import app_read_target, app_target, app_uses, operations_of
from celery_mqauth.least.grants import not_counted, role_grants
from celery_mqauth.least.roles import WorkerOptions
from celery_mqauth.least.task_queues import delayed_keys
from mqauth.errors import ConfigurationError
from mqauth.permissions.least import Use
from mqauth.permissions.name_patterns import Blank, named
from mqauth.permissions.operations import UnknownOperationError
from mqauth.permissions.wildcards import match


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


def test_a_worker_that_greets_nobody_answers() -> None:
    """Remote control is answered through an exchange that the answering worker declares."""
    found = scopes(made(), "worker", options=WorkerOptions(mingle=False))
    assert {"configure:v/reply.celery.pidbox", "write:v/reply.celery.pidbox"} <= found
    quiet = made(worker_enable_remote_control=False)
    assert not [
        scope
        for scope in scopes(quiet, "worker", options=WorkerOptions(mingle=False))
        if "pidbox" in scope
    ]


def test_queues_to_all_workers_whose_names_are_made_up() -> None:
    """Each of them has an exchange of its own, though nothing else tells one from another."""
    app = made(
        task_queues=[Queue("celery"), Broadcast("refresh"), Broadcast("reload")],
        task_routes={"work": {"queue": "reload"}},
    )
    worker = scopes(app, "worker")
    assert {"configure:v/refresh", "read:v/refresh", "write:v/refresh"} <= worker
    assert {"configure:v/reload", "read:v/reload", "write:v/reload"} <= worker
    assert {"write:v/refresh", "write:v/reload"} <= scopes(app, "producer")


@pytest.mark.parametrize("role", ["worker", "producer"])
@pytest.mark.parametrize(("name", "checked"), [("", "amq.default"), ("dead", "dead")])
def test_dead_letters_and_alternates(role: str, name: str, checked: str) -> None:
    """The default exchange is one of those that messages can be left to, and its name is empty."""
    events = Exchange("events", type="topic", arguments={"alternate-exchange": name})
    dead = {"x-dead-letter-exchange": name}
    left = made(task_queues=[Queue("q", events, "k", queue_arguments=dead)], task_default_queue="q")
    found = scopes(left, role)
    assert {f"write:v/{checked}", "read:v/q"} <= found
    assert [scope for scope in found if scope.startswith("read:v/events")]
    kept = made(task_queues=[Queue("q", Exchange("events", "topic"), "k")], task_default_queue="q")
    assert f"write:v/{checked}" not in scopes(kept, role)
    uses = app_uses(left, app_target_of("v"), roles=[role])
    tried = {each.dead_letter for each in uses["operations"]}
    tried |= {each.alternate for each in uses["operations"]}
    assert tried == {None, name}


def app_target_of(vhost: str) -> Any:
    """Return a broker that nobody speaks to."""
    return app_target(made(broker_url=f"mqauth://static@localhost/{vhost}")).target


DEFAULT = {"configure:v/celery", "write:v/celery", "read:v/celery"}


def topical(**conf: Any) -> Celery:
    """Make an app whose workers consume a topic queue that is not the default one."""
    return made(task_queues=[Queue("q", Exchange("topics", type="topic"), "t.*")], **conf)


def test_retries_that_declare_the_default_queue() -> None:
    """Celery adds it to a task that came by an exchange, unless a route adds another."""
    assert scopes(topical(), "worker") >= DEFAULT
    assert scopes(topical(task_routes={"work": "q"}), "worker").isdisjoint(DEFAULT)
    direct = made(task_queues=[Queue("q", Exchange("e"), "q")])
    assert scopes(direct, "worker").isdisjoint(DEFAULT)


def test_retries_of_what_waits_for_a_chord() -> None:
    """It comes again with whatever backend does not count, and no route catches it."""
    app = topical(task_routes={"work": "q"}, result_backend="cache+memory://")
    assert scopes(app, "worker").isdisjoint(DEFAULT), "this one counts"
    app = topical(task_routes={"work": "q"}, result_backend="celery.backends.base:BaseBackend")
    assert scopes(app, "worker") >= DEFAULT


def skip_without_delays(app: Celery) -> None:
    """Skip a test about native delayed delivery where there is none."""
    app.finalize()
    if not app.conf.get("worker_detect_quorum_queues"):
        pytest.skip("this Celery knows no native delayed delivery")


def test_retries_are_delayed_to_the_default_queue() -> None:
    """Where Celery delays natively, a retry goes by the key of the queue that it adds."""
    quorum = {"x-queue-type": "quorum"}
    queues = [
        Queue("main", Exchange("main", type="topic"), "m.k", queue_arguments=quorum),
        Queue("q", Exchange("topics", type="topic"), "t.k", queue_arguments=quorum),
    ]
    app = made(task_queues=queues, task_default_queue="main")
    skip_without_delays(app)
    found = scopes(app, "worker", queues=["q"])
    assert {f"write:v/celery_delayed_27/*.{key}" for key in ("m.k", "t.k")} <= found


@pytest.mark.parametrize("backend", ["rpc://", "celery.backends.rpc:RPCBackend"])
@pytest.mark.parametrize("ignored", [True, False])
def test_results_through_the_broker(backend: str, *, ignored: bool) -> None:
    """A task may want its result whatever is the rule, however the backend is named."""
    app = made(result_backend=backend, task_ignore_result=ignored)
    assert "configure:v/*-*-*-*-*" in scopes(app, "producer")
    assert "read:v/*-*-*-*-*" in scopes(app, "results")
    assert role_grants(made(result_backend="cache+memory://"), ["results"]) == ()


def test_a_task_for_later_past_all_queues() -> None:
    """A route that names an exchange is delayed by its own key, where it says of what type."""
    quorum = Queue("q", Exchange("t", "topic"), "k", queue_arguments={"x-queue-type": "quorum"})
    route = {"exchange": "t", "routing_key": "audit.zz"}
    conf: dict[str, Any] = {"task_queues": [quorum], "task_default_queue": "q"}
    typed = made(**conf, task_routes={"work": {**route, "exchange_type": "topic"}})
    skip_without_delays(typed)
    later = "write:v/celery_delayed_27/*.audit.zz"
    assert {later, "write:v/t/audit.zz"} <= scopes(typed, "producer")
    untyped = made(**conf, task_routes={"work": route})
    assert later not in scopes(untyped, "producer"), "Celery fails before it publishes"


@pytest.mark.parametrize(
    "key", ["0", "1", "0.1", "1.a.1", "jobs", "jobs.#", "#", "0.#", "*.0", "a.0", "01", "*.1.0"]
)
@pytest.mark.parametrize("seconds", [1, 2, 5, 12, 2**20 + 1, 2**28 - 1])
def test_keys_of_delayed_tasks(key: str, seconds: int) -> None:
    """A scope's pattern matches each delay, also before a key that looks like one."""
    sent = key.replace("#", "x.y").replace("*", "z")
    assert match(f"{'.'.join(f'{seconds:028b}')}.{sent}", delayed_keys(key).wildcard)


def test_keys_of_delayed_tasks_open_no_more_than_they_must() -> None:
    """Only a key of nothing but digits of a delay makes a pattern of all keys."""
    wild = [key for key in ("0", "1.a.1", "jobs", "a.0") if delayed_keys(key).wildcard == "*"]
    assert wild == ["0"]


def reading_elsewhere(read: str = "localhost/vread", write: str = "localhost/vwrite") -> Celery:
    """Make an app that reads from another place than it sends to."""
    return made(
        broker_url=None,
        broker_read_url=f"mqauth://static@{read}",
        broker_write_url=f"mqauth://static@{write}",
    )


def test_virtual_hosts_of_reading_and_writing() -> None:
    """A worker's grant names both, each for what is done there; who only sends needs one."""
    found = scopes(reading_elsewhere(), "worker")
    assert {"read:vread/celery", "read:vread/*@*.celery.pidbox"} <= found
    assert {"write:vwrite/amq.default", "configure:vwrite/celery"} <= found
    assert {"write:vwrite/reply.celery.pidbox", "write:vwrite/celeryev/task.*"} <= found
    assert {"read:vwrite/*@*.celery.pidbox", "write:vread/amq.default"}.isdisjoint(found)
    assert not [s for s in scopes(reading_elsewhere(), "producer") if "vread" in s]
    (events,) = role_grants(reading_elsewhere(), ["events"])
    assert events.vhosts == ("vwrite", "vread")
    assert {str(each.name) for each in events.expressions_in("vwrite")} == {"celery.pidbox"}


def test_what_the_doctor_tries_where() -> None:
    """Each broker is asked for what is done there, also if its virtual host is called alike."""
    app = reading_elsewhere("one/v", "two/v")
    write, read = app_target(app), app_read_target(app)
    assert read is not None
    assert (write.target.host, read.target.host) == ("two", "one")
    written, taken = (
        {each.kind.name for each in found["operations"]}
        for found in (
            app_uses(app, write.target, side="write"),
            app_uses(app, read.target, side="read"),
        )
    )
    assert "basic.publish" in written - taken
    assert "basic.consume" in taken - written
    assert app_read_target(made(broker_url="mqauth://static@one/v")) is None


def test_a_reading_url_that_mqauth_has_nothing_to_do_with() -> None:
    """It is named by its setting."""
    app = reading_elsewhere()
    app.conf.broker_read_url = "amqp://guest@localhost//"
    with pytest.raises(ConfigurationError, match="broker_read_url begins with amqp://"):
        app_read_target(app)


def test_what_routers_say_of_mapped_tasks() -> None:
    """Chunks go by a name of Celery's own: where a router sends that is counted, no default is."""

    def keeps(name: str, *arguments: Any, **options: Any) -> dict[str, str]:
        del arguments, options
        return {"queue": "maintenance" if name == "celery.starmap" else "w"}

    def passes(name: str, *arguments: Any, **options: Any) -> dict[str, str] | None:
        del arguments, options
        return {"queue": "w"} if name == "work" else None

    assert "configure:v/maintenance" in scopes(made(task_routes=(keeps,)), "producer")
    queues = [Queue("w", Exchange("w"))]
    found = scopes(made(task_routes=(passes,), task_queues=queues), "producer")
    assert "configure:v/celery" not in found


def test_names_with_line_ends() -> None:
    """The broker takes them out of what is declared and bound, and not of what is consumed."""
    app = made(task_queues=[Queue("a\nb", Exchange("a\nb"), "k")], task_default_queue="a\nb")
    assert {"configure:v/ab", "write:v/ab", "read:v/ab", "read:v/a%0Ab"} <= scopes(app, "worker")
    assert "configure:v/a%0Ab" not in scopes(app, "worker")


@pytest.mark.parametrize("lacking", ["no_such_module:Transport", "sys:NoSuchTransport"])
def test_a_transport_whose_library_is_missing(
    lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one line, which names what is missing."""
    monkeypatch.setitem(TRANSPORT_ALIASES, "lacking", lacking)
    with pytest.raises(ConfigurationError, match=r"lacking://.*cannot be loaded: .*(?i:no.?such)"):
        role_grants(made(broker_url="lacking://localhost"), ["producer"])
