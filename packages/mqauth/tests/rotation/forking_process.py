"""A process that forks in the midst of renewals, as prefork servers do; no test in itself.

Reads a configuration and a scenario as JSON from standard input and prints what happened.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NoReturn

from mqauth import BrokerCredentials, CredentialSource, MQAuthError, events, forks, threads
from mqauth.providers._deadline import BoundedCalls
from mqauth.shared import shared_source, shared_sources

PATIENCE = 50.0

# A host that stands still for seconds must not let a fork through that is to wait for an import.
forks.LONGEST_DELAY = PATIENCE

# Newer Pythons warn about forking a process with threads, which is what servers do all the same.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)


class Counting:
    """A listener that counts."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.told = 0
        self._changed = threading.Condition()

    def credentials_renewed(self, credentials: BrokerCredentials) -> bool:
        """Count."""
        with self._changed:
            self.told += 1
            self._changed.notify_all()
        return True

    def wait_for(self, count: int) -> bool:
        """Wait until it has been told `count` times."""
        with self._changed:
            return self._changed.wait_for(lambda: self.told >= count, PATIENCE)


def in_child(work: Callable[[], Any]) -> Callable[[], Any]:
    """Run `work` in a forked child; return a function that waits for what it returned."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(int(PATIENCE))  # a deadlock ends the child, and that ends the test
        try:
            answer = json.dumps(work())
        except BaseException as error:  # noqa: BLE001 - the parent is told about everything
            answer = json.dumps({"error": repr(error)})
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)

    def outcome() -> Any:
        with os.fdopen(reader) as pipe:
            content = pipe.read()
        _, status = os.waitpid(child, 0)
        return json.loads(content) if content else {"error": f"wait status {status}"}

    return outcome


def locks_held(source: CredentialSource) -> dict[str, Any]:
    """Fork while another thread of the parent holds every lock there is."""
    held = source.get()
    ready, release = threading.Event(), threading.Event()

    def hold() -> None:
        cache = source._cache
        assert cache is not None
        listeners = source._listeners
        with source._flight, source._state, listeners._lock, cache.lock(10) as locked:
            assert locked
            ready.set()
            release.wait(PATIENCE)

    holder = threading.Thread(target=hold)
    holder.start()
    ready.wait(PATIENCE)

    def work() -> dict[str, Any]:
        listener = Counting()
        source.attach(listener)
        same = source.get() == held
        status = source.status()
        return {"same": same, "connections": status.connections, "fetches": status.fetches}

    outcome = in_child(work)()
    release.set()
    holder.join(PATIENCE)
    return {"child": outcome}


def listeners_stay(source: CredentialSource) -> dict[str, Any]:
    """Fork with a live connection in the parent, and have the child renew."""
    listener = Counting()
    source.attach(listener)
    present = source.get()

    def work() -> dict[str, Any]:
        own = Counting()
        source.attach(own)
        before = source.status().connections
        source.invalidate(present)
        source.get()
        return {"connections": before, "own": own.wait_for(1), "inherited": listener.told}

    child = in_child(work)()
    return {"child": child, "connections": source.status().connections, "told": listener.told}


def many_forks(source: CredentialSource) -> dict[str, Any]:
    """Fork twenty times while the parent renews all the time, and let every child renew too."""
    listener = Counting()
    source.attach(listener)
    stop = threading.Event()

    def churn() -> None:
        while not stop.wait(0.01):  # a pause, in which others get at the host's lock
            source.invalidate(source.get())

    churner = threading.Thread(target=churn)
    churner.start()

    def work() -> dict[str, Any]:
        own = Counting()
        source.attach(own)
        first = source.get()
        source.invalidate(first)
        second = source.get()
        return {
            "renewed": first.password != second.password,
            "told": own.wait_for(1),
            "jitter": source._jitter,
        }

    outcomes = []
    for _ in range(20):
        outcomes.append(in_child(work))
        time.sleep(0.01)  # so that forks meet renewals at different points
    children = [outcome() for outcome in outcomes]
    stop.set()
    churner.join(PATIENCE)
    return {"children": children, "parent_alive": not churner.is_alive()}


def background_in_child(source: CredentialSource) -> dict[str, Any]:
    """Fork a parent whose thread renews; parent and child each go on with a thread of their own."""
    ours = Counting()
    source.attach(ours)
    source.get()

    def work() -> dict[str, Any]:
        inherited_thread = source._thread is not None
        listener = Counting()
        source.attach(listener)
        return {"thread": inherited_thread, "told": listener.wait_for(2)}

    outcome = in_child(work)
    return {"parent_told": ours.wait_for(2), "child": outcome()}


def orphaned_lock(source: CredentialSource) -> dict[str, Any]:
    """Fork while the cache's lock is held, and look whether the child keeps it for ever."""
    cache = source._cache
    assert cache is not None
    with cache.lock(10):
        # The child lives on, as workers do; it must not hold what the parent lets go of.
        outcome = in_child(lambda: time.sleep(1.0))
    with cache.lock(0.5) as again:
        result = again
    outcome()
    return {"again": result}


def registry(source: CredentialSource) -> dict[str, Any]:
    """Fork while another thread looks sources up in the process's registry."""
    explicit = CONFIG
    mine = shared_source("oauth2", explicit=explicit).source
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            shared_source("oauth2", explicit=explicit)

    churner = threading.Thread(target=churn)
    churner.start()

    def work() -> dict[str, Any]:
        again = shared_source("oauth2", explicit=explicit).source
        return {"same": again is mine, "count": len(shared_sources()), "ok": bool(again.get())}

    children = [in_child(work) for _ in range(5)]
    stop.set()
    outcomes = [outcome() for outcome in children]
    churner.join(PATIENCE)
    return {"children": outcomes}


def hooks_and_failures(source: CredentialSource) -> dict[str, Any]:
    """Fork after a failure: the child neither repeats it at once nor counts it as its own."""
    heard: list[str] = []
    events.subscribe(lambda event: heard.append(type(event).__name__))

    def failure() -> str | None:
        try:
            source.get()
        except MQAuthError as error:
            return str(error)
        return None

    def work() -> dict[str, Any]:
        text = failure()
        return {"text": text, "failures": source.status().failures, "heard": len(heard)}

    first = failure()
    return {"first": first, "heard": len(heard), "child": in_child(work)()}


class _Stalled:
    """Lets the first fetch through and keeps the next one until it is released."""

    def __init__(self, source: CredentialSource) -> None:
        self.under_way, self.release = threading.Event(), threading.Event()
        self._source = source
        source.invalidate(source.get())
        self._provider, source.provider = source.provider, self  # type: ignore[assignment]
        self._thread = threading.Thread(target=source.get)
        self._thread.start()
        self.under_way.wait(PATIENCE)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def fetch(self, *, timeout: float) -> BrokerCredentials:
        """Wait, and then fetch."""
        self.under_way.set()
        self.release.wait(PATIENCE)
        return self._provider.fetch(timeout=timeout)

    def join(self) -> None:
        """Release it and wait for its end."""
        self.release.set()
        self._thread.join(PATIENCE)
        self._source.provider = self._provider


def fetch_under_way(source: CredentialSource) -> dict[str, Any]:
    """Fork while a fetch is under way, which holds locks that nobody knows."""
    stalled = _Stalled(source)
    threading.Timer(0.5, stalled.release.set).start()
    outcome = in_child(stalled.release.is_set)
    stalled.join()
    return {"over_before_the_fork": outcome()}


def fetch_that_hangs(source: CredentialSource) -> dict[str, Any]:
    """Fork twice while an issuer does not answer."""
    forks.LONGEST_DELAY = 0.5
    stalled = _Stalled(source)
    children = [in_child(stalled.release.is_set) for _ in range(2)]
    stalled.join()
    return {"over_before_the_fork": [outcome() for outcome in children]}


def threads_of_the_parent(source: CredentialSource) -> dict[str, Any]:
    """Fork a process with a thread that waits for the next call, and one that hangs."""
    release = threading.Event()
    threads.begin(lambda: None, "short").result(PATIENCE)
    hanging = threads.begin(release.wait, "long")

    def work() -> dict[str, Any]:
        return {
            "made": threads.begin(lambda: 7, "child").result(PATIENCE),
            "fetched": bool(source.get()),
        }

    child = in_child(work)()
    release.set()
    return {"child": child, "parent": hanging.result(PATIENCE)}


def fork_inside_a_block(source: CredentialSource) -> dict[str, Any]:
    """Fork in the midst of a fetch, as gevent does to start a program."""
    began = time.monotonic()
    with forks.held_off(), forks.held_off():
        child = in_child(lambda: bool(source.get()))()
    return {"child": child, "waited": time.monotonic() - began}


def call_left_alone(source: CredentialSource) -> dict[str, Any]:
    """Fork when nobody waits any more for what a thread does."""
    del source
    release = threading.Event()
    with forks.held_off():
        threads.begin(release.wait, "left alone")
    threading.Timer(0.5, release.set).start()
    return {"over_before_the_fork": in_child(release.is_set)()}


def struck_hooks(source: CredentialSource) -> dict[str, Any]:
    """Fork while signals strike: what they raise in a hook is lost."""
    forks.LONGEST_DELAY = 0.5

    def strike() -> NoReturn:
        raise SystemExit(1)

    class _Struck:
        def reset(self) -> None:
            strike()

    struck = _Struck()
    forks.after_in_child(struck, _Struck.reset)
    later = BoundedCalls("whoever")
    later._calls.append(Future())  # of a thread that the child does not have
    forks._gate.open, intact = strike, forks._gate.open  # type: ignore[method-assign]
    sys.unraisablehook = lambda _: None
    child = in_child(lambda: len(later._calls))()
    forks._gate.open = intact  # type: ignore[method-assign]
    return {"not_reset": child, "goes_on": bool(source.get())}


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        locks_held,
        listeners_stay,
        many_forks,
        background_in_child,
        orphaned_lock,
        registry,
        hooks_and_failures,
        fetch_under_way,
        fetch_that_hangs,
        threads_of_the_parent,
        fork_inside_a_block,
        call_left_alone,
        struck_hooks,
    )
}

if __name__ == "__main__":
    MESSAGE = json.load(sys.stdin)
    CONFIG = {key: value for key, value in MESSAGE["config"].items() if key != "provider"}
    RESULT = SCENARIOS[MESSAGE["scenario"]](CredentialSource.from_config(MESSAGE["config"]))
    sys.stdout.write(json.dumps(RESULT))
