"""The record of a run, and whether it was clean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workloads.broker_log import BrokerRecord, examine
from workloads.ledger import What
from workloads.run import Run
from workloads.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The counts of a finished run.

    Args:
        tasks: Tasks that were sent.
        done: Of these, how many finished.
        lost: Of these, how many did not, or whose result never came back.
        repeated: Starts beyond the first of a task.
        dropped: AMQP connections that ended other than by a clean close of their client.
        publish_errors: Publishes that raised.
        rotations: Renewals of the connection that was renewed most, as the broker logged them;
            where connections cannot be renewed, credentials handed out after the first.
        rotations_due: Whether the run was long enough that there had to be some.
        worker_survived: Whether the worker ran until it was told to stop.
        extras: Further figures, for the record.
    """

    tasks: int
    done: int
    lost: int
    repeated: int
    dropped: int
    publish_errors: int
    rotations: int
    rotations_due: bool
    worker_survived: bool
    extras: dict[str, Any]

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, repeated, dropped or refused, in a run that can show it."""
        faults = self.lost + self.repeated + self.dropped + self.publish_errors
        telling = self.tasks > 0 and (self.rotations > 0 or not self.rotations_due)
        return telling and self.worker_survived and faults == 0

    def as_dict(self) -> dict[str, Any]:
        """Return one flat JSON object."""
        return {
            "tasks": self.tasks,
            "done": self.done,
            "lost": self.lost,
            "repeated": self.repeated,
            "dropped": self.dropped,
            "publish_errors": self.publish_errors,
            "rotations": self.rotations,
            "worker_survived": self.worker_survived,
            **self.extras,
        }


def judge(run: Run) -> Verdict:
    """Return the verdict on a run that has finished."""
    record = examine(run.site.broker.log_text(), begin=run.begin, end=run.end)
    tally, plan = run.tally, run.plan
    return Verdict(
        tasks=tally.tasks,
        done=tally.done,
        lost=len(tally.lost),
        repeated=tally.repeated,
        dropped=record.dropped.total(),
        publish_errors=tally.publish_errors,
        rotations=record.rotations if run.site.renews_in_place else max(0, run.fetches - 1),
        rotations_due=plan.transport == "mqauth" and run.end - run.begin > plan.ttl,
        worker_survived=run.worker_survived,
        extras={
            "fetches": run.fetches,
            **_durations(run),
            **_details(tally, record),
            **_circumstances(run),
        },
    )


def _durations(run: Run) -> dict[str, Any]:
    sending_from = run.tally.first_sent or run.begin
    sending_to = run.tally.marks.get(What.SCHEDULE_END, run.end)
    return {
        "max_publish_ms": round(run.tally.max_publish_ms, 2),
        "longest_gap_ms": round(run.tally.longest_gap_ms(sending_from, sending_to), 1),
        "seconds": round(run.end - run.begin, 1),
    }


def _details(tally: Tally, record: BrokerRecord) -> dict[str, Any]:
    return {
        "most_starts": tally.most_starts,
        "results": len(tally.results),
        "results_missing": len(tally.results_missing),
        "publish_errors_detail": dict(tally.errors),
        "dropped_detail": dict(record.dropped),
        "dropped_samples": list(record.samples),
        "channel_errors": dict(record.channel_errors),
        "connections_opened": record.opened,
        "connections_renewed": len(record.secret_updates),
        "secret_updates": record.secret_updates.total(),
    }


def _circumstances(run: Run) -> dict[str, Any]:
    plan = run.plan
    return {
        "fetches": run.fetches,
        "worker_rotations": run.watch.state.rotations,
        "worker_failures": run.watch.state.failures,
        "warm_shutdown": run.warm_shutdown,
        "broker": run.site.broker.version,
        "pool": plan.pool,
        "concurrency": plan.concurrency,
        "acks": plan.acks,
        "backend": plan.backend,
        "transport": plan.transport,
        "ttl": plan.ttl,
        "load": plan.load.as_dict(),
    }
