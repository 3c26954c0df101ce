"""The demonstration's figures, and how they are shown."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from workloads.broker_log import examine
from workloads.run import Run
from workloads.verdict import Verdict

LOG_SECONDS = 1.0
BAR_WIDTH = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One column.

    Args:
        seconds: Since the producer started.
        tasks: Sent.
        done: Finished.
        running: Started and not finished.
        rotations: Renewals.
        left: Seconds left of the present token, or None where nobody says.
        dropped: Connections that did not end cleanly.
        repeated: Starts beyond the first of a task.
        lost: Sent and never finished; None while the run goes on.
        note: What else is to be said.
    """

    seconds: float
    tasks: int
    done: int
    running: int
    rotations: int
    left: float | None
    dropped: int
    repeated: int
    lost: int | None
    note: str


class Reading:
    """Reads the figures of one run; the broker's log at most once a second.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        """Read nothing yet."""
        self._run = run
        self._dropped = 0
        self._rotations = 0
        self._log_read = float("-inf")
        self._ended: float | None = None

    def figures(self, verdict: Verdict | None) -> Figures:
        """Return the figures now, or the final ones once there is a verdict."""
        run, tally = self._run, self._run.tally
        if verdict is None:
            self._read_log()
        expires = run.watch.state.expires
        return Figures(
            seconds=(run.end or time.time()) - run.begin,
            tasks=tally.tasks,
            done=tally.done,
            running=tally.running if verdict is None else 0,
            rotations=self._rotations if verdict is None else verdict.rotations,
            left=None if expires is None or verdict else max(0.0, expires - time.time()),
            dropped=self._dropped if verdict is None else verdict.dropped,
            repeated=tally.repeated if verdict is None else verdict.repeated,
            lost=None if verdict is None else verdict.lost,
            note=self._note(verdict),
        )

    def _note(self, verdict: Verdict | None) -> str:
        if verdict is None:
            return "the worker died" if self._run.worker_died else ""
        return "the worker died" if not verdict.worker_survived else "finished"

    def _read_log(self) -> None:
        if time.monotonic() < self._log_read + LOG_SECONDS:
            return
        self._log_read = time.monotonic()
        log = self._run.site.broker.log_text()
        record = examine(log, begin=self._run.begin, end=time.time(), complete=False)
        self._dropped = record.dropped.total()
        self._rotations = record.rotations


def table(columns: Mapping[str, Figures], *, ttl: float) -> Table:
    """Return the live table.

    Args:
        columns: Figures by title.
        ttl: A token's whole life in seconds.
    """
    grid = Table()
    grid.add_column("")
    for title in columns:
        grid.add_column(title, min_width=BAR_WIDTH)
    every = columns.values()
    grid.add_row("seconds", *(f"{each.seconds:.0f}" for each in every))
    grid.add_row("tasks sent", *(str(each.tasks) for each in every))
    grid.add_row("done", *(str(each.done) for each in every))
    grid.add_row("running", *(str(each.running) for each in every))
    grid.add_row("rotations", *(str(each.rotations) for each in every))
    grid.add_row("token's time left", *(_time_left(each.left, ttl) for each in every))
    grid.add_row("connections dropped", *(_fault(each.dropped) for each in every))
    grid.add_row("tasks repeated", *(_fault(each.repeated) for each in every))
    grid.add_row("tasks lost", *(_fault(each.lost) for each in every))
    grid.add_row("", *(each.note for each in every))
    return grid


def line(title: str, figures: Figures) -> str:
    """Return the figures on one line, for where there is no terminal."""
    left = "" if figures.left is None else f"  token {figures.left:.0f} s left"
    lost = "" if figures.lost is None else f"  lost {figures.lost}"
    return (
        f"{figures.seconds:4.0f} s  {title}: tasks {figures.tasks}  done {figures.done}"
        f"  running {figures.running}  rotations {figures.rotations}{left}"
        f"  dropped {figures.dropped}  repeated {figures.repeated}{lost}  {figures.note}"
    ).rstrip()


def _fault(count: int | None) -> Text:
    if count is None:
        return Text("...", style="dim")
    return Text(str(count), style="bold red" if count else "bold green")


def _time_left(seconds: float | None, ttl: float) -> RenderableType:
    if seconds is None:
        return Text("-", style="dim")
    row = Table.grid(padding=(0, 1))
    row.add_row(ProgressBar(total=ttl, completed=seconds, width=BAR_WIDTH - 6), f"{seconds:.0f} s")
    return row
