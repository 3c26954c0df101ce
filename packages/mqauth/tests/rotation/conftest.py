"""What the tests of rotation share: sources that end with their test, events, processes, caches."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import pytest

from mqauth import CredentialSource, RotationPolicy, Secret, events
from mqauth.credentials import BrokerCredentials
from mqauth.provider import Option, Provider
from mqauth.rotation.cache import HostCache, private_directory
from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.tls import CertificateFiles
from packages.mqauth.tests.rotation.waiting import PATIENCE

E = TypeVar("E", bound=events.CredentialEvent)
Answer = Callable[[float], BrokerCredentials]
KEY = "0123456789abcdef"


class Recorder:
    """Collects the events of this process and lets a test wait for them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._changed = threading.Condition()
        self._events: list[events.CredentialEvent] = []

    def __call__(self, event: events.CredentialEvent) -> None:
        """Keep `event`; the hook itself."""
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    @property
    def all(self) -> list[events.CredentialEvent]:
        """All events so far, oldest first."""
        with self._changed:
            return list(self._events)

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one kind so far, oldest first."""
        return [event for event in self.all if isinstance(event, kind)]

    def wait_for(self, kind: type[E], count: int = 1) -> list[E]:
        """Return the events of one kind once there are `count` of them."""
        with self._changed:
            happened = self._changed.wait_for(lambda: len(self.of(kind)) >= count, PATIENCE)
        assert happened, f"{len(self.of(kind))} of {count} {kind.__name__}; all: {self.all}"
        return self.of(kind)


class Listener:
    """Stands for a live connection: takes over credentials, or is too busy to.

    Args:
        busy: How often it says 'not now' before it takes over; -1 for ever.
        raises: Whether it breaks when it takes over.
    """

    def __init__(self, *, busy: int = 0, raises: bool = False) -> None:
        """Carry nothing yet."""
        self.busy = busy
        self.raises = raises
        self.refusals = 0
        self.carried: list[BrokerCredentials] = []
        self._changed = threading.Condition()

    def credentials_renewed(self, credentials: BrokerCredentials) -> bool:
        """Take over `credentials`."""
        with self._changed:
            self._changed.notify_all()
            if self.busy == -1 or self.refusals < self.busy:
                self.refusals += 1
                return False
            self.carried.append(credentials)
            if self.raises:
                raise ConnectionResetError("the link is gone")
            return True

    def wait_for(self, count: int = 1) -> list[BrokerCredentials]:
        """Return what was taken over, once that is `count` credentials."""
        with self._changed:
            happened = self._changed.wait_for(lambda: len(self.carried) >= count, PATIENCE)
        assert happened, f"heard of {len(self.carried)} of {count} credentials"
        return list(self.carried)

    def wait_for_refusals(self, count: int) -> None:
        """Wait until it has said 'not now' `count` times."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.refusals >= count, PATIENCE)


class ScriptedProvider:
    """A provider whose every answer a test writes, where the moment of a failure matters.

    Args:
        answers: Credentials to return, errors to raise or functions (of the timeout) to call, one
            a fetch; the last for all that follow.
    """

    name: ClassVar[str] = "scripted"
    options: ClassVar[tuple[Option, ...]] = ()
    shareable: ClassVar[bool] = True
    identity = "a scripted identity"

    def __init__(self, *answers: BrokerCredentials | Exception | Answer) -> None:
        """Nothing has been fetched yet."""
        self._answers = list(answers)
        self._lock = threading.Lock()
        self.fetches = 0

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build one that hands out a new credential each time."""
        return cls(lambda _: cls.credentials())

    @staticmethod
    def credentials(
        *, lifetime: float = 300.0, age: float = 0.0, token: str | None = None
    ) -> BrokerCredentials:
        """Return a credential that was issued `age` seconds ago."""
        issued_at = datetime.now(UTC) - timedelta(seconds=age)
        return BrokerCredentials(
            username="",
            password=Secret(token or uuid.uuid4().hex),
            issued_at=issued_at,
            expires_at=issued_at + timedelta(seconds=lifetime),
            provider="scripted",
        )

    def fetch(self, *, timeout: float) -> BrokerCredentials:
        """Give the next answer."""
        with self._lock:
            answer = self._answers[min(self.fetches, len(self._answers) - 1)]
            self.fetches += 1
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, BrokerCredentials) else answer(timeout)


class Process:
    """Another process with a source of its own, which does what it is told.

    Args:
        config: What `CredentialSource.from_config` takes.
        environ: Its environment variables besides the present ones.
    """

    def __init__(self, config: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        """Start it; it has fetched nothing yet."""
        script = Path(__file__).with_name("rotating_process.py")
        self._popen = subprocess.Popen(
            [sys.executable, "-W", "error", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environ},
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._send(dict(config))

    def ask(self, command: str, **arguments: Any) -> Any:
        """Have it do something and return its answer."""
        self.tell(command, **arguments)
        return self.answer()

    def tell(self, command: str, **arguments: Any) -> None:
        """Have it do something; `answer` returns the answer."""
        self._send({"command": command, **arguments})

    def answer(self) -> Any:
        """Return its next answer."""
        line = self._answers.get(timeout=2 * PATIENCE)  # it waits for something itself, too
        assert line, "the process ended"
        return json.loads(line)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """End it as the kernel does when memory runs out; harmless if it has ended."""
        self._popen.kill()
        self._popen.wait(PATIENCE)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it and let go of its pipes."""
        self.kill()
        self._reader.join(PATIENCE)
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps(message) + "\n")
        self._popen.stdin.flush()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self._answers.put(line)
        self._answers.put("")


@pytest.fixture(autouse=True)
def own_runtime_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep the user's cache out of the tests."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    return runtime


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return where `start_process` and `shared` keep their cache."""
    return tmp_path / "cache"


@pytest.fixture
def host_cache(directory: Path) -> HostCache:
    """Return an empty cache."""
    return HostCache(private_directory(directory), KEY)


@pytest.fixture
def config(issuer: OidcIssuer, certificates: CertificateFiles) -> dict[str, Any]:
    """Return a source's configuration for the issuer; every process on its own."""
    return {
        "provider": "oauth2",
        "token_endpoint": issuer.token_endpoint,
        "client_id": issuer.client_id,
        "client_secret": issuer.client_secret,
        "ca_file": str(certificates.ca_file),
        "cache": False,
    }


@pytest.fixture
def sources() -> Iterator[list[CredentialSource]]:
    """Close the sources in this list when the test ends."""
    used: list[CredentialSource] = []
    yield used
    for source in used:
        source.close()


@pytest.fixture
def make_source(
    config: dict[str, Any], sources: list[CredentialSource]
) -> Callable[..., CredentialSource]:
    """Make sources for the real issuer; other keywords replace parts of `config`."""

    def make(*, policy: RotationPolicy | None = None, **changes: Any) -> CredentialSource:
        source = CredentialSource.from_config({**config, **changes})
        source.policy = policy or source.policy
        sources.append(source)
        return source

    return make


@pytest.fixture
def shared(make_source: Callable[..., CredentialSource], directory: Path) -> CredentialSource:
    """Return a source of this process that uses the cache."""
    return make_source(cache=str(directory))


@pytest.fixture
def source(make_source: Callable[..., CredentialSource]) -> CredentialSource:
    """Return a source for the real issuer, without a cache."""
    return make_source()


@pytest.fixture
def source_of(sources: list[CredentialSource]) -> Callable[..., CredentialSource]:
    """Make sources around a provider that a test scripts."""

    def make(
        provider: Provider, *, policy: RotationPolicy | None = None, cache: HostCache | None = None
    ) -> CredentialSource:
        source = CredentialSource(provider, policy=policy, cache=cache)
        sources.append(source)
        return source

    return make


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Record the events of this test."""
    recorder = Recorder()
    unsubscribe = events.subscribe(recorder)
    yield recorder
    unsubscribe()


@pytest.fixture
def new_listener() -> type[Listener]:
    """Return the class of listeners."""
    return Listener


@pytest.fixture
def scripted() -> type[ScriptedProvider]:
    """Return the class of scripted providers."""
    return ScriptedProvider


@pytest.fixture
def start_process(config: dict[str, Any], directory: Path) -> Iterator[Callable[..., Process]]:
    """Start processes that share one cache; keywords replace parts of `config`."""
    started: list[Process] = []

    def start(environ: Mapping[str, str] | None = None, **changes: Any) -> Process:
        shared = {**config, "cache": str(directory), **changes}
        started.append(Process(shared, environ or {}))
        return started[-1]

    yield start
    for process in started:
        process.__exit__()
