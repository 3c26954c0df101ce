"""The names that an app's configuration gives its queues and exchanges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import kombu
from celery.backends.rpc import RPCBackend

from celery_mqauth.app_connection import read_connection, write_connection
from celery_mqauth.least.destinations import Destinations, destinations
from mqauth.permissions.name_patterns import Blank, NamePattern, named

_DETECT = "worker_detect_quorum_queues"
# Before, whoever publishes declared the app's own queues, and no copies of them.
_DECLARES_COPIES = (5, 5)


@dataclass(frozen=True, kw_only=True, slots=True)
class AppNames:
    """All names of an app.

    Attributes:
        tasks: Where its tasks go.
        events: The exchange of events.
        event_queue: The queues of those who listen to events.
        control: The exchange of remote control.
        reply: The exchange of its replies.
        node_queue: The queues by which workers are told what to do.
        reply_queue: The queues by which callers get replies.
        results: The queues of rpc results, or None.
        delayed: Queues and exchanges of native delayed delivery, which is for those who have to
            do with quorum queues; None where there is none.
        remote_control: Whether workers answer remote control.
        sent_events: Whether a producer tells of what it sends.
        main_bound: Whether who sends to a queue of several bindings makes the main one too.
        vhost: The virtual host that is sent to.
        read_vhost: The virtual host that workers consume from and events are read from.
    """

    tasks: Destinations
    events: str
    event_queue: NamePattern
    control: str
    reply: str
    node_queue: NamePattern
    reply_queue: NamePattern
    results: NamePattern | None
    delayed: NamePattern | None
    remote_control: bool
    sent_events: bool
    main_bound: bool
    vhost: str = field(default="/")
    read_vhost: str = field(default="/")


def names_of(
    app: Any,
    *,
    driver_type: str = "amqp",
    consumed: Sequence[str] = (),
    sent: Sequence[str] = (),
) -> AppNames:
    """Return the names that an app's configuration gives.

    Args:
        app: A Celery app.
        driver_type: What Kombu calls the broker's kind; native delayed delivery is for `amqp`.
        consumed: The queues that workers consume from, as `celery worker -Q` takes them.
        sent: More queues that producers and beat send to.

    Raises:
        ConfigurationError: There is no such queue.
    """
    conf, mailbox = app.conf, app.control.mailbox
    control, reply = str(mailbox.exchange.name), str(mailbox.reply_exchange.name)
    prefix = str(getattr(conf, "event_queue_prefix", None) or "celeryev")
    # Celery before 5.5 has no native delayed delivery, nor this setting.
    delays = driver_type == "amqp" and _DETECT in conf
    return AppNames(
        tasks=destinations(app, consumed=consumed, sent=sent),
        events=str(getattr(conf, "event_exchange", None) or "celeryev"),
        event_queue=named(f"{prefix}.", Blank.UUID),
        control=control,
        reply=reply,
        node_queue=named(Blank.NODE, f".{control}"),
        reply_queue=named(Blank.UUID, f".{reply}"),
        results=named(Blank.UUID) if _has_rpc_results(app) else None,
        delayed=named("celery_delayed_", Blank.LEVEL) if delays else None,
        remote_control=bool(conf.worker_enable_remote_control),
        sent_events=bool(conf.task_send_sent_event),
        main_bound=not conf.task_publish_retry or kombu.VERSION[:2] < _DECLARES_COPIES,
        vhost=str(write_connection(app).virtual_host or "/"),
        read_vhost=str(read_connection(app).virtual_host or "/"),
    )


def _has_rpc_results(app: Any) -> bool:
    """Tell whether results go through the broker; a task may want its own whatever is the rule."""
    try:
        return isinstance(app.backend, RPCBackend)
    except Exception:  # noqa: BLE001 - another one's library may be missing here
        return False
