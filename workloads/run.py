"""One run: a worker and a producer at a site, watched until everything sent has finished."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from mqauth_sandbox.running import Running
from workloads.ledger import LedgerReader, What
from workloads.load import Load
from workloads.processes import Child
from workloads.settings import Acks, Backend, Settings, TransportName
from workloads.site import Site
from workloads.tally import Tally
from workloads.worker_state import WorkerWatch

READY_SECONDS = 60.0
PATIENCE_SECONDS = 90.0
SHUTDOWN_SECONDS = 30.0


class RunError(Exception):
    """The run could not be carried out; says nothing about the product's counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run.

    Args:
        pool: Celery's worker pool.
        concurrency: Slots of the pool.
        acks: Acknowledge `late` or `early`.
        backend: Result backend, `rpc` or `none`.
        transport: How worker and producer sign in.
        ttl: Life of a token in seconds.
        load: What is sent.
    """

    pool: str
    concurrency: int
    acks: Acks
    backend: Backend
    transport: TransportName
    ttl: float
    load: Load


class Run(Running):
    """Worker, producer and observers of one run; a context manager that leaves nothing behind.

    Args:
        site: Where.
        plan: What.
        folder: For the ledger and the processes' logs.
        patience: Seconds in which nothing finishes, on top of a long task, after which the rest is
            given up as lost.

    Attributes:
        tally: Counts so far; `step` brings them up to date.
        begin: Start of the measured window, as `time.time()` counts.
        end: Its end, once `finish` was called.
        fetches: Tokens that the issuer handed out until then.
        worker_survived: Whether the worker ran until it was told to stop.
        warm_shutdown: Whether it then ended by itself in time.
    """

    def __init__(
        self, *, site: Site, plan: Plan, folder: Path, patience: float = PATIENCE_SECONDS
    ) -> None:
        """Prepare the folder; nothing starts before the `with` block does."""
        self.site = site
        self.plan = plan
        self.tally = Tally(expects_results=plan.backend == "rpc")
        self.begin = 0.0
        self.end = 0.0
        self.fetches = 0
        self.worker_survived = False
        self.warm_shutdown = False
        self._folder = folder
        self._patience = patience
        ledger = folder / "ledger"
        ledger.mkdir(parents=True)
        self._reader = LedgerReader(ledger)
        self._settings = Settings(
            broker_url=site.broker_url,
            transport=plan.transport,
            acks=plan.acks,
            backend=plan.backend,
            ledger=ledger,
            ca_file=site.ca_file,
        )
        self._children: list[Child] = []
        self._progress_at = 0.0
        self._progress = -1

    def start(self) -> None:
        """Start worker and observer, then, once the worker is ready, the producer."""
        self.watch = WorkerWatch(self.site.judge_url)
        self.worker = self._start("worker", self._worker_arguments())
        self._await_worker()
        self.begin = self._progress_at = time.time()
        load = json.dumps(self.plan.load.as_dict())
        self.producer = self._start("producer", ["-m", "workloads.producer", load])

    def close(self) -> None:
        """Kill what still runs; harmless when repeated."""
        for child in self._children:
            child.kill()
        if hasattr(self, "watch"):
            self.watch.close()

    def _start(self, name: str, arguments: list[str]) -> Child:
        environment = {**self.site.environment, **self._settings.environment()}
        child = Child(name, arguments, environment, self._folder)
        self._children.append(child)
        return child

    def _worker_arguments(self) -> list[str]:
        plan = self.plan
        return [
            *("-m", "celery", "-A", "workloads.app", "worker"),
            *("-P", plan.pool, "-c", str(plan.concurrency), "-E", "--loglevel", "INFO"),
            *("-n", "worker@%h"),
        ]

    def _await_worker(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while What.WORKER_READY not in self.tally.marks:
            if self.worker.exit_code is not None:
                raise RunError(
                    f"the worker ended with status {self.worker.exit_code} before it was ready:\n"
                    + self.worker.log_tail()
                )
            if time.monotonic() > deadline:
                raise RunError(
                    f"the worker was not ready within {READY_SECONDS:.0f} s:\n"
                    + self.worker.log_tail()
                )
            time.sleep(0.1)
            self.tally.add(self._reader.poll())

    def step(self) -> bool:
        """Bring the counts up to date; return whether the run still has something to wait for.

        Raises:
            RunError: The producer ended on its own.
        """
        self.tally.add(self._reader.poll())
        if self.producer.exit_code is not None:
            raise RunError(
                f"the producer ended with status {self.producer.exit_code}:\n"
                + self.producer.log_tail()
            )
        if What.SCHEDULE_END not in self.tally.marks:
            return True
        return not (self._all_done() or self.worker_died or self._stalled())

    @property
    def worker_died(self) -> bool:
        """Whether the worker ended although nobody told it to."""
        return not self.end and self.worker.exit_code is not None

    def _all_done(self) -> bool:
        return What.PRODUCER_DONE in self.tally.marks and not self.tally.unfinished

    def _stalled(self) -> bool:
        progress = self.tally.done + len(self.tally.results) + len(self.tally.results_missing)
        now = time.time()
        if progress != self._progress:
            self._progress, self._progress_at = progress, now
        return now - self._progress_at > self._patience + self.plan.load.long_seconds

    def finish(self) -> None:
        """End the measured window, shut worker and producer down, and take the last counts."""
        self.worker_survived = not self.worker_died
        self.fetches = self.site.fetches()
        self.end = time.time()
        self.producer.close_input()
        self.worker.terminate()
        self.warm_shutdown = self.worker.wait(SHUTDOWN_SECONDS) and self.worker_survived
        self.producer.wait(SHUTDOWN_SECONDS)
        self.close()
        # Stopping it makes it write out the rest of its log.
        self.site.broker.stop()
        (self._folder / "broker.log").write_text(self.site.broker.log_text())
        self.tally.add(self._reader.poll())

    def keep(self, folder: Path) -> None:
        """Copy the ledger and all logs to `folder`."""
        ignored = shutil.ignore_patterns("tmp")
        shutil.copytree(self._folder, folder, ignore=ignored, dirs_exist_ok=True)
