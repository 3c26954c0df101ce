"""What the demonstration shows."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from workloads.demo_table import Figures, line, table

RUNNING = Figures(
    seconds=31.4,
    tasks=300,
    done=290,
    running=5,
    rotations=7,
    left=9.6,
    dropped=0,
    repeated=0,
    lost=None,
    note="",
)
FINISHED = replace(RUNNING, running=0, left=None, dropped=12, lost=42, note="finished")


def rendered(columns: dict[str, Figures]) -> str:
    """Return the table as text."""
    console = Console(width=100, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(table(columns, ttl=15))
    return capture.get()


def test_the_table_shows_each_run_in_a_column() -> None:
    """Both runs' figures stand side by side under their titles."""
    text = rendered({"one": RUNNING, "other": FINISHED})
    rows = {
        row.split("│")[1].strip(): row.split("│")[2:4] for row in text.splitlines() if "│" in row
    }
    assert [cell.strip() for cell in rows["connections dropped"]] == ["0", "12"]
    assert [cell.strip() for cell in rows["tasks lost"]] == ["...", "42"]
    assert "10 s" in rows["token's time left"][0]


def test_without_a_terminal_the_figures_are_lines() -> None:
    """A line names the run and never claims a loss before the end."""
    assert "one: tasks 300  done 290  running 5  rotations 7  token 10 s left" in line(
        "one", RUNNING
    )
    assert "lost" not in line("one", RUNNING)
    assert line("other", FINISHED).endswith("dropped 12  repeated 0  lost 42  finished")
