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
        rotations: Renewals of the connection that was renewed most, as the broker logged them.
        extras: Further figures, for the record.
    """

    tasks: int
    done: int
    lost: int
    repeated: int
    dropped: int
    publish_errors: int
    rotations: int
    extras: dict[str, Any]

    @property
    def clean(self) -> bool:
        """Whether something ran and nothing was lost, repeated, dropped or refused."""
        faults = self.lost + self.repeated + self.dropped + self.publish_errors
        return self.tasks > 0 and self.done == self.tasks and faults == 0

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
            **self.extras,
        }


def judge(run: Run) -> Verdict:
    """Return the verdict on a run that has finished."""
    record = examine(run.site.read_log(), begin=run.begin, end=run.end)
    return count(run.tally, record, begin=run.begin, end=run.end, extras=_circumstances(run))


def count(
    tally: Tally, record: BrokerRecord, *, begin: float, end: float, extras: dict[str, Any]
) -> Verdict:
    """Return the verdict that a ledger's tally and the broker's record give.

    Args:
        tally: Counts of the ledger.
        record: The broker's record of the same window.
        begin: Start of the window, as `time.time()` counts.
        end: Its end.
        extras: What else is to stand in the record.
    """
    sending_from = tally.first_sent or begin
    sending_to = tally.marks.get(What.SCHEDULE_END, end)
    return Verdict(
        tasks=tally.tasks,
        done=tally.done,
        lost=len(tally.lost),
        repeated=tally.repeated,
        dropped=record.dropped.total(),
        publish_errors=tally.publish_errors,
        rotations=record.rotations,
        extras={
            "fetches": extras.pop("fetches", 0),
            "max_publish_ms": round(tally.max_publish_ms, 2),
            "longest_gap_ms": round(tally.longest_gap_ms(sending_from, sending_to), 1),
            "most_starts": tally.most_starts,
            "results": len(tally.results),
            "results_missing": len(tally.results_missing),
            "publish_errors_detail": dict(tally.errors),
            "dropped_detail": dict(record.dropped),
            "channel_errors": dict(record.channel_errors),
            "connections_opened": record.opened,
            "connections_renewed": len(record.secret_updates),
            "secret_updates": record.secret_updates.total(),
            "seconds": round(end - begin, 1),
            **extras,
        },
    )


def _circumstances(run: Run) -> dict[str, Any]:
    plan = run.plan
    return {
        "fetches": run.fetches,
        "worker_rotations": run.watch.state.rotations,
        "worker_failures": run.watch.state.failures,
        "worker_died": not run.warm_shutdown,
        "broker": run.site.version,
        "pool": plan.pool,
        "concurrency": plan.concurrency,
        "acks": plan.acks,
        "backend": plan.backend,
        "transport": plan.transport,
        "ttl": plan.ttl,
        "load": plan.load.as_dict(),
    }
