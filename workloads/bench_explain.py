"""`python -m workloads.bench_explain`: how many questions a second `explain --batch` answers.

Two loads, each through the whole command, JSON in and JSON out: questions about the same tokens
again and again, and questions that all have scopes of their own. Start-up is measured apart and
not counted.

The exit status is 0 if both loads keep the promise of 50,000 a second, 1 if not.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from workloads.processes import terminate_like_interrupt

PROMISED = 50_000
LIMIT = 120.0


def questions(count: int, *, distinct: bool) -> Iterator[str]:
    """Return questions, one JSON object each, with scopes that repeat or never do."""
    rng = random.Random(1)  # noqa: S311 - the same questions in each run
    actions = ("configure", "write", "read")
    for number in range(count):
        own = number if distinct else number % 50
        name = f"queue-{rng.randint(0, 99)}"
        kind = ("resource", "topic", "vhost")[number % 3]
        question = {
            "prefix": "rabbitmq.",
            "scopes": [
                f"rabbitmq.read:team-{own}/queue-*",
                f"rabbitmq.write:team-{own}/*{own % 10}/task.*",
                f"rabbitmq.configure:%2F/queue-{own}",
            ],
            "vhost": f"team-{own}",
            "kind": kind,
            "name": name,
            "action": rng.choice(actions),
            "routing_key": "task.sent",
        }
        yield json.dumps(question)


def seconds(lines: list[str]) -> float:
    """Return how long the command takes from start to end with these questions."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "questions.jsonl")
        file.write_text("".join(f"{line}\n" for line in lines))
        with file.open() as asked:
            started = time.perf_counter()
            done = subprocess.run(
                [Path(sys.executable).with_name("mqauth"), "explain", "--batch"],
                stdin=asked,
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=True,
            )
            took = time.perf_counter() - started
    answers = done.stdout.splitlines()
    assert len(answers) == len(lines)
    assert all('"allow":' in answer for answer in answers)
    return took


@click.command()
@click.option("--questions", "count", default=200_000, show_default=True, help="Of each load.")
def main(count: int) -> None:
    """Measure both loads and judge them."""
    terminate_like_interrupt()
    start = min(seconds([]) for _ in range(3))
    print(f"start-up {start * 1000:.0f} ms")
    kept = True
    for name, distinct in (("the same scopes again", False), ("scopes of their own", True)):
        lines = list(questions(count, distinct=distinct))
        rate = count / (min(seconds(lines) for _ in range(4)) - start)
        kept = kept and rate >= PROMISED
        print(f"{name}: {rate:,.0f} answers/s (promised: {PROMISED:,})")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
