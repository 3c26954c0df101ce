"""The soak on Kafka (`--system kafka`): tasks sent and run while every client signs in again.

Three witnesses: the tasks' own ledger, the broker's log (every further login on a connection that
stays, every refusal), and a consumer that does nothing meanwhile, whose librdkafka counts how often
it lost a connection.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import kombu

from mqauth_sandbox import KafkaSandbox
from workloads.console import Console
from workloads.processes import Child
from workloads.run import RunError

READY_SECONDS = 60.0
PATIENCE_SECONDS = 60.0
SHUTDOWN_SECONDS = 30.0
FOLLOWED_EVERY = 50
"""One task in so many sends another, from where it runs."""
_STEP = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaPlan:
    """What to run.

    Args:
        pool: Celery's worker pool.
        concurrency: Slots of the pool.
        late: Whether tasks are acknowledged when they have run.
        ttl: Life of a token in seconds.
        max_reauth: Seconds after which the broker wants a client to sign in again.
        tasks: How many are sent.
        rate: How many of them in a second.
    """

    pool: str = "prefork"
    concurrency: int = 2
    late: bool = False
    ttl: float = 30.0
    max_reauth: float = 20.0
    tasks: int = 2000
    rate: float = 14.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaVerdict:
    """What was counted.

    Attributes:
        tasks: Tasks whose `delay` returned, in the producer or in a task.
        done: Those that ended.
        lost: The rest.
        repeated: Starts beyond the first.
        publish_errors: Calls of `delay` that raised.
        worker_errors: Lines of the worker's log that tell of an error.
        worker_died: Whether the worker ended by itself, or badly.
        reauthentications: Further logins on connections that stayed, by the broker's log.
        rounds: How many times each connection had to sign in again in the time it took.
        refusals: Logins that the broker refused.
        tokens: Tokens that the issuer handed out.
        idle_disconnects: Connections that the idle consumer lost.
        idle_received: Whether it received a message at the end.
        seconds: How long tasks were sent and run.
    """

    tasks: int
    done: int
    lost: int
    repeated: int
    publish_errors: int
    worker_errors: int
    worker_died: bool
    reauthentications: int
    rounds: int
    refusals: int
    tokens: int
    idle_disconnects: int
    idle_received: bool
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether nothing went wrong, and something was shown."""
        wrong = (
            self.lost,
            self.repeated,
            self.publish_errors,
            self.worker_errors,
            self.worker_died,
            self.refusals,
            self.idle_disconnects,
            not self.idle_received,
        )
        return not any(wrong) and self.tasks > 0 and self.rounds > 0 < self.reauthentications

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"system": "kafka", "clean": self.clean, **asdict(self)}


class IdleConsumer:
    """A consumer that waits for a message which comes at the very end.

    Args:
        connection: How to sign in.
    """

    TOPIC = "idle"

    def __init__(self, connection: kombu.Connection) -> None:
        """Begin to wait."""
        self._connection = connection
        self._lost: dict[str, int] = {}
        options = dict(connection.transport_options or {})
        options["kafka_consumer_config"] = {
            "statistics.interval.ms": 500,
            "stats_cb": self._count,
        }
        connection.transport_options = options
        self._queue = connection.SimpleQueue(self.TOPIC)
        self.look()

    def look(self) -> None:
        """Look for a message: what a consumer without work does now and then."""
        try:
            self._queue.get(timeout=0.05)
        except self._queue.Empty:
            return
        raise RunError("the idle consumer got a message that nobody sent")

    def receives(self) -> bool:
        """Return whether a message comes through."""
        self._queue.put("wake up")
        try:
            self._queue.get(timeout=20).ack()
        except self._queue.Empty:
            return False
        return True

    @property
    def disconnects(self) -> int:
        """Connections that it has lost."""
        return sum(self._lost.values())

    def _count(self, statistics: str) -> None:
        for name, broker in json.loads(statistics)["brokers"].items():
            self._lost[name] = broker["disconnects"]


def run_kafka_soak(plan: KafkaPlan, console: Console, folder: Path | None = None) -> KafkaVerdict:
    """Carry out one run from bringing up the broker to the verdict.

    Args:
        plan: What to run.
        console: Where progress goes.
        folder: Where ledger and logs are kept; by default nowhere.

    Raises:
        RunError: The run could not be carried out.
        SandboxError: There is no broker to run it on.
    """
    with (
        tempfile.TemporaryDirectory(prefix="mqauth-kafka-soak-") as temporary,
        KafkaSandbox(token_lifetime=plan.ttl, max_reauth=plan.max_reauth) as kafka,
    ):
        return _Run(plan, kafka, console, folder or Path(temporary)).carry_out()


class _Run:
    def __init__(
        self, plan: KafkaPlan, kafka: KafkaSandbox, console: Console, folder: Path
    ) -> None:
        self._plan, self._kafka, self._console, self._folder = plan, kafka, console, folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ledger = folder / "ledger"
        self._ledger.touch(mode=0o600)
        self._sent = self._publish_errors = 0

    def carry_out(self) -> KafkaVerdict:
        with self._worker() as worker:
            self._wait_until(lambda: self._count("ready") > 0, READY_SECONDS, "a worker")
            self._console.note(f"Kafka {self._kafka.broker.version}, worker ready")
            begun, since = time.time(), self._kafka.broker.log_size()
            with self._connection() as idle_connection:
                idle = IdleConsumer(idle_connection)
                self._send(idle)
                self._wait_for_ends()
                seconds = time.time() - begun
                died = worker.exit_code is not None
                counted = {
                    "idle_received": idle.receives(),
                    "idle_disconnects": idle.disconnects,
                    "reauthentications": self._kafka.broker.reauthentications(since),
                    "refusals": len(self._kafka.broker.refusals()),
                }
            worker.terminate()
            died = died or not worker.wait(SHUTDOWN_SECONDS) or worker.exit_code != 0
        return self._verdict(worker, seconds, died=died, counted=counted)

    def _verdict(
        self, worker: Child, seconds: float, *, died: bool, counted: dict[str, Any]
    ) -> KafkaVerdict:
        starts, ends = self._numbers("start"), self._numbers("end")
        log = worker.log_file.read_text(errors="replace").splitlines()
        return KafkaVerdict(
            tasks=self._sent,
            done=len(ends),
            lost=self._sent - len(ends),
            repeated=sum(starts.values()) - len(starts),
            publish_errors=self._publish_errors,
            worker_errors=sum("ERROR" in line or "CRITICAL" in line for line in log),
            worker_died=died,
            rounds=int(seconds / self._plan.max_reauth),
            tokens=self._kafka.issuer.fetches,
            seconds=round(seconds, 1),
            **counted,
        )

    def _send(self, idle: IdleConsumer) -> None:
        from workloads.kafka_app import app, work  # noqa: PLC0415 - reads the environment

        begun, follower = time.monotonic(), self._plan.tasks
        for number in range(self._plan.tasks):
            follows = number % FOLLOWED_EVERY == 0
            try:
                work.delay(number, **({"then": follower} if follows else {}))
            except Exception as error:  # noqa: BLE001 - every one counts
                self._publish_errors += 1
                self._console.note(f"delay raised {type(error).__name__}: {error}")
            else:
                self._sent += 1 + follows
                follower += follows
            due = begun + (number + 1) / self._plan.rate
            if number % round(self._plan.rate) == 0:
                idle.look()
                self._console.progress(self._progress())
            time.sleep(max(0.0, due - time.monotonic()))
        # Its clients would try the broker's port for as long as this process lives.
        app.producer_pool.force_close_all()
        app.pool.force_close_all()

    def _wait_for_ends(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self._numbers("end")) < self._sent and time.monotonic() < deadline:
            time.sleep(_STEP)
        self._console.note(self._progress())

    def _progress(self) -> str:
        return (
            f"sent {self._sent}  done {len(self._numbers('end'))}  publish errors "
            f"{self._publish_errors}  re-authentications {self._kafka.broker.reauthentications()}"
        )

    @contextmanager
    def _worker(self) -> Iterator[Child]:
        settings = {
            "broker_url": self._url,
            "broker_use_ssl": {"ca_certs": str(self._kafka.ca_file)},
            "broker_transport_options": {"auth": self._kafka.oauth2_options},
            "task_acks_late": self._plan.late,
            "worker_hijack_root_logger": True,
        }
        cache = self._folder / "cache"
        cache.mkdir(mode=0o700)
        ours = {
            "KAFKA_SOAK_SETTINGS": json.dumps(settings),
            "KAFKA_SOAK_LEDGER": str(self._ledger),
            "XDG_RUNTIME_DIR": str(cache),
        }
        os.environ.update(ours)
        arguments = ["-m", "celery", "-A", "workloads.kafka_app", "worker", "-l", "INFO"]
        arguments += ["-P", self._plan.pool, "-c", str(self._plan.concurrency)]
        worker = Child("worker", arguments, os.environ, self._folder)
        try:
            yield worker
        finally:
            worker.kill()

    def _connection(self) -> kombu.Connection:
        return kombu.Connection(
            self._url,
            ssl={"ca_certs": str(self._kafka.ca_file)},
            transport_options={"auth": self._kafka.oauth2_options},
        )

    @property
    def _url(self) -> str:
        return f"mqauths-kafka://oauth2@localhost:{self._kafka.broker.tls_port}"

    def _events(self) -> list[list[Any]]:
        return [json.loads(line) for line in self._ledger.read_text().splitlines()]

    def _count(self, what: str) -> int:
        return sum(event[1] == what for event in self._events())

    def _numbers(self, what: str) -> Counter[int]:
        return Counter(event[2] for event in self._events() if event[1] == what)

    def _wait_until(self, condition: Any, seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise RunError(f"{what} was not ready within {seconds:g} s")
            time.sleep(_STEP)
