"""Where an app's tasks are sent: by routes, by what tasks say of themselves, and by beat.

Whoever sends a task declares its queue first, with exchange and binding, also where only a route
names it (`task_create_missing_queues`). Celery's own router is asked, with queues of its own,
since it adds those that are missing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from celery.app.routes import MapRoute
from celery.backends.base import Backend
from celery.exceptions import QueueNotFound
from celery.utils.functional import mlazy
from celery.utils.nodenames import worker_direct

from celery_mqauth.least.task_queues import (
    TaskQueue,
    merged,
    publication,
    sent_past_queues,
    task_queue,
)
from mqauth.errors import ConfigurationError
from mqauth.permissions.name_patterns import Blank, named

_CELERYS_OWN = "celery."
_CLEANUP = "celery.backend_cleanup"
_UNLOCK = "celery.chord_unlock"
# What routers are asked about under its own name: chunks and mapped tasks in groups, and groups
# that take a task's place. Chords are sent to the queue of their last task.
_MADE_OF_TASKS = ("celery.map", "celery.starmap", "celery.accumulate")
_SHOWN = 5
_OPTIONS = ("queue", "routing_key", "exchange")
# Packages whose schedulers, often named on the command line of beat, keep entries in a database.
_ENTRIES_ELSEWHERE = ("django_celery_beat", "redbeat")
_SCHEDULERS = ("celery.beat:PersistentScheduler", "celery.beat:Scheduler")
_NODE = "celery@host"
# What Celery puts after a worker's name to call the queue that is for this worker alone.
_DIRECT = str(worker_direct(_NODE).name).removeprefix(_NODE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Destinations:
    """Where tasks go.

    Attributes:
        configured: The queues of the configuration.
        consumed: The queues that workers consume from.
        retried: The queues that workers declare as they send tasks again.
        sent: The queues that producers send to.
        scheduled: The queues that beat sends to.
        notes: What cannot be known, in sentences.
    """

    configured: tuple[TaskQueue, ...]
    consumed: tuple[TaskQueue, ...]
    retried: tuple[TaskQueue, ...]
    sent: tuple[TaskQueue, ...]
    scheduled: tuple[TaskQueue, ...]
    notes: tuple[str, ...]


def destinations(
    app: Any, *, consumed: Iterable[str] = (), sent: Iterable[str] = ()
) -> Destinations:
    """Return where an app's tasks go.

    Args:
        app: A Celery app. Its task modules are imported.
        consumed: The queues that workers consume from, as `celery worker -Q` takes them.
        sent: More queues that producers and beat send to.

    Raises:
        ConfigurationError: There is no such queue, or a module cannot be imported.
    """
    _import_tasks(app)
    looked = _Looked(app)
    configured = tuple(map(task_queue, app.amqp.queues.values()))
    more = [looked.named(name) for name in sent]
    by_tasks = [*looked.by_routes(), *looked.by_tasks(), *looked.by_routers()]
    producers = merged([*configured, *by_tasks, *more])
    entries = looked.by_beat()
    known = {queue.identity: queue for queue in producers}
    by_default = app.amqp.queues.consume_from.values()
    wanted = [looked.named(name) for name in consumed] or [task_queue(each) for each in by_default]
    direct = looked.direct() if app.conf.worker_direct else []
    taken = merged([known.get(queue.identity, queue) for queue in (*wanted, *direct)])
    return Destinations(
        configured=configured,
        consumed=taken,
        retried=merged(looked.retried(taken)),
        sent=producers,
        scheduled=merged([*entries, *more] if looked.beat_is_known() else [*producers, *entries]),
        notes=looked.notes(),
    )


class _Looked:
    """Asks Celery's router where tasks go; nothing of the app is changed."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.queues = app.amqp.Queues(list(app.amqp.queues.values()))
        self._notes: list[str] = []
        self._unanswered: dict[str, list[str]] = {}

    @cached_property
    def router(self) -> Any:
        """Celery's router, on queues of our own."""
        return self.app.amqp.Router(queues=self.queues)

    def named(self, name: str) -> TaskQueue:
        """Return the queue that a command line names."""
        node = name.removesuffix(_DIRECT)
        if self.app.conf.worker_direct and node != name and "@" in node:
            return task_queue(worker_direct(node))
        try:
            return task_queue(self.queues[name])
        except KeyError:
            known = ", ".join(sorted(self.queues))
            raise ConfigurationError(
                f"the app has no queue {name[:80]!r}, and task_create_missing_queues is off",
                remedy=f"it has {known}",
            ) from None

    def direct(self) -> list[TaskQueue]:
        """Return the queues that each worker has for itself."""
        return [task_queue(worker_direct(_NODE), name=named(Blank.NODE, _DIRECT))]

    def by_routes(self) -> Iterator[TaskQueue]:
        """Return the queues that `task_routes` names, for whatever task."""
        for route in self.app.amqp.routes:
            if isinstance(route, MapRoute):
                for name in route.map:
                    yield from self._sent(name)
                for pattern in route.patterns.values():
                    yield from self._expanded(_options(pattern), f"task_routes names {pattern!r}")
            else:
                self._notes.append(
                    f"task_routes has the router {_called(route)}: what it says of tasks without "
                    "arguments is counted, all else it may say is not; add it with --queue"
                )

    def by_tasks(self) -> Iterator[TaskQueue]:
        """Return the queues that the app's own tasks are sent to."""
        for name in sorted(self.app.tasks):
            if not name.startswith(_CELERYS_OWN):
                yield from self._sent(name, task=self.app.tasks[name])

    def by_routers(self) -> Iterator[TaskQueue]:
        """Return the queues that routers choose for what Celery makes of the app's own tasks."""
        if all(isinstance(route, MapRoute) for route in self.app.amqp.routes):
            return  # those are named already, with all that they are for
        for name in _MADE_OF_TASKS:
            task = self.app.tasks.get(name)
            try:
                routed = self.router.lookup_route(name, (), {}, {}, task)
            except Exception:  # noqa: BLE001, S112 - told for the app's own tasks, if it is so there
                continue
            if routed:
                yield from self._expanded(_options(routed), f"{name} is routed to {routed!r}")

    def retried(self, taken: Iterable[TaskQueue]) -> Iterator[TaskQueue]:
        """Return the queues that are declared when tasks of some queues are sent again.

        A task that came by the default exchange goes back by its queue's name. One that came by
        another goes back to that, and Celery's router adds the queue that it knows for the task:
        the default one where no route names any.

        Source: `celery.app.task.Task.signature_from_request`.
        """
        taken = tuple(taken)
        yield from (
            q for q in taken if not q.broadcast and any(not p.exchange for p in q.published)
        )
        if not any(way.exchange for queue in taken for way in queue.published):
            return
        usual = {queue.identity for queue in taken}
        usual.add((named(str(self.app.conf.task_default_queue)), None))
        for queue in (*self.by_tasks(), *self._unlocking()):
            if queue.identity in usual and not queue.broadcast:
                yield queue

    def _unlocking(self) -> list[TaskQueue]:
        """Return where tasks go that wait for chords, unless the backend counts for itself."""
        return self._sent(_UNLOCK) if _waits_for_chords(self.app) else []

    def beat_is_known(self) -> bool:
        """Tell whether all that beat sends stands in the configuration."""
        conf = self.app.conf
        elsewhere = any(name in sys.modules for name in _ENTRIES_ELSEWHERE)
        return bool(conf.beat_schedule) and conf.beat_scheduler in _SCHEDULERS and not elsewhere

    def by_beat(self) -> list[TaskQueue]:
        """Return the queues that the configuration's entries of beat are sent to."""
        conf = self.app.conf
        found = []
        for entry in conf.beat_schedule.values():
            task, options = _scheduled(entry)
            found += self._sent(task, options, task=self.app.tasks.get(task))
        if conf.beat_schedule and _CLEANUP not in conf.beat_schedule and _is_cleaned_up(self.app):
            found += self._sent(_CLEANUP)
        return found

    def notes(self) -> tuple[str, ...]:
        """Return what cannot be known."""
        unanswered = (
            f"routers answer with {error} where {_list(names)} comes without arguments: add the "
            "queues that they choose with --queue"
            for error, names in self._unanswered.items()
        )
        return tuple(dict.fromkeys([*self._notes, *unanswered]))

    def _sent(
        self, name: str, options: Mapping[str, Any] | None = None, *, task: Any = None
    ) -> list[TaskQueue]:
        own = {option: getattr(task, option, None) for option in _OPTIONS} if task else {}
        asked = {
            key: value for key, value in {**own, **(options or {})}.items() if value is not None
        }
        try:
            routed = self.router.route(dict(asked), name, (), {}, task)
        except (KeyError, QueueNotFound) as error:
            self._lost(f"task {name} cannot be sent", error)
        except Exception as error:  # noqa: BLE001 - a router is the user's own code
            self._unanswered.setdefault(type(error).__name__, []).append(name)
        else:
            return self._as_queues(routed)
        return []

    def _expanded(self, route: dict[str, Any], what: str) -> list[TaskQueue]:
        try:
            return self._as_queues(self.router.expand_destination(route))
        except (KeyError, QueueNotFound) as error:
            self._lost(what, error)
            return []

    def _as_queues(self, options: Mapping[str, Any]) -> list[TaskQueue]:
        kinds = {q.exchange.name: q.exchange.type for q in self.queues.values() if q.exchange}
        queue = options.get("queue")
        if queue is None and options.get("exchange") is not None:
            # Sent to an exchange of whose queues the sender knows nothing.
            return [sent_past_queues(options, kinds)]
        if queue is None:
            queue = self.queues[self.app.conf.task_default_queue]
        found = task_queue(queue)
        return [replace(found, published=(publication(queue, options, kinds),))]

    def _lost(self, what: str, error: Exception) -> None:
        self._notes.append(f"{what}: {error}, and task_create_missing_queues is off")


def _import_tasks(app: Any) -> None:
    """Import the modules of an app's tasks, which say what queues tasks go to."""
    try:
        app.loader.import_default_modules()
    except Exception as error:
        raise ConfigurationError(
            f"the app's task modules cannot be imported: {type(error).__name__}: {error}",
            remedy="mend what `celery worker` would stumble over too",
        ) from error


def _options(route: Any) -> dict[str, Any]:
    """Return what an entry of `task_routes` says: a queue, or options."""
    if isinstance(route, str):
        return {"queue": route}
    try:
        return dict(route)
    except (TypeError, ValueError):
        return {"queue": route}


def _list(names: list[str]) -> str:
    """Name some tasks, and count the others."""
    first = list(dict.fromkeys(names))
    more = f" (and {len(first) - _SHOWN} more)" if len(first) > _SHOWN else ""
    return f"{', '.join(first[:_SHOWN])}{more}"


def _called(router: Any) -> str:
    """Return the name of a router, which may be one that is imported when it is needed."""
    if isinstance(router, mlazy):
        try:
            router = router.evaluate()
        except Exception:  # noqa: BLE001 - it fails again, and is told, where a task is routed
            return "that cannot be imported"
    name = getattr(router, "__qualname__", None) or type(router).__qualname__
    return f"{getattr(router, '__module__', '') or type(router).__module__}.{name}"


def _scheduled(entry: Any) -> tuple[str, Mapping[str, Any]]:
    """Return task and options of an entry of beat."""
    if isinstance(entry, Mapping):
        return str(entry.get("task") or ""), entry.get("options") or {}
    return str(entry.task or ""), entry.options or {}


def _waits_for_chords(app: Any) -> bool:
    """Tell whether a chord is a task that comes again until all is done."""
    try:
        app.backend.ensure_chords_allowed()
        return getattr(app.backend.apply_chord, "__func__", None) is Backend.apply_chord
    except Exception:  # noqa: BLE001 - there is no backend, or its library may be missing here
        return False


def _is_cleaned_up(app: Any) -> bool:
    """Tell whether beat sends the task that removes old results."""
    try:
        return bool(app.conf.result_expires) and not app.backend.supports_autoexpire
    except Exception:  # noqa: BLE001 - its library may be missing here
        return True
