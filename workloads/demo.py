"""`python -m workloads.demo`: watch a worker and a producer live through their tokens' ends.

Everything is real: RabbitMQ 4.3, which closes a connection at the second its credential expires; an
issuer whose tokens live 15 s; a Celery worker and a producer over TLS; tasks that outlive the token
their message came under. With `--compare`, the same load runs beside it on Kombu's callable
password. With `--chain`, worker and producer have nothing but an X.509 certificate: it opens IAM
Roles Anywhere sessions, these get tokens from AWS STS, and the broker is configured as Amazon MQ's.
The exit status is 0 only if nothing was lost, repeated or dropped.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from mqauth_sandbox import SandboxError
from workloads.demo_table import Figures, Reading, line, table
from workloads.load import Load
from workloads.processes import terminate_like_interrupt
from workloads.run import Plan, Run, RunError
from workloads.settings import TransportName
from workloads.site import forget_foreign_settings, sandbox_site
from workloads.verdict import Verdict, judge

TTL = 15.0
LOAD = Load(seconds=52, short_rate=10, long_seconds=1.5 * TTL, long_every=5)
CONCURRENCY = 8
PATIENCE_SECONDS = 15.0
STEP_SECONDS = 0.25
LINE_SECONDS = 5.0
TITLES: dict[TransportName, str] = {
    "mqauth": "mqauth",
    "callable": "Kombu's callable password",
    "plain": "plain",
}


class Contestant:
    """One transport's sandbox, worker and producer.

    Args:
        transport: How worker and producer sign in.
        system: Where their credentials come from, a key of `SYSTEMS`.
        broker: `3`, `4` or the path of an installation.
        console: For progress.
        stack: Ends what is started.
    """

    def __init__(
        self,
        transport: TransportName,
        *,
        system: str,
        broker: str,
        console: Console,
        stack: ExitStack,
    ) -> None:
        """Bring up the sandbox and start the run."""
        self.title = TITLES[transport]
        self.verdict: Verdict | None = None
        site = stack.enter_context(
            sandbox_site(
                broker=broker,
                ttl=TTL,
                system=system,
                transport=transport,
                tls=True,
                progress=lambda text: console.print(f"{self.title}: {text}", highlight=False),
            )
        )
        plan = Plan(
            pool="prefork",
            concurrency=CONCURRENCY,
            acks="late",
            backend="none",
            transport=transport,
            ttl=TTL,
            load=LOAD,
        )
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mqauth-demo-")))
        run = Run(site=site, plan=plan, folder=folder / "run", patience=PATIENCE_SECONDS)
        self.run = stack.enter_context(run)
        self._reading = Reading(self.run)

    def step(self) -> bool:
        """Bring the counts up to date; return whether there is something left to wait for."""
        if self.verdict is not None:
            return False
        if self.run.step():
            return True
        self.run.finish()
        self.verdict = judge(self.run)
        return False

    def links(self) -> str:
        """Return how often the links between certificate and broker were gone through, if any."""
        links = [f"{count} x {name}" for name, count in self.run.site.links().items()]
        return " -> ".join(["certificate", *links, "broker"]) if links else ""

    def figures(self) -> Figures:
        """Return what the table shows."""
        return self._reading.figures(self.verdict)


def step_all(contestants: list[Contestant]) -> bool:
    """Step every contestant; return whether one of them still has something to wait for."""
    going = [contestant.step() for contestant in contestants]
    return any(going)


def watch(contestants: list[Contestant], console: Console) -> None:
    """Show the figures until every run is over."""
    if not console.is_terminal:
        watch_in_lines(contestants, console)
        return
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        going = True
        while going:
            going = step_all(contestants)
            live.update(table({each.title: each.figures() for each in contestants}, ttl=TTL))
            time.sleep(STEP_SECONDS)


def watch_in_lines(contestants: list[Contestant], console: Console) -> None:
    """Print the figures now and then until every run is over."""
    shown = 0.0
    going = True
    while going:
        going = step_all(contestants)
        if time.monotonic() >= shown + LINE_SECONDS or not going:
            shown = time.monotonic()
            for each in contestants:
                console.print(line(each.title, each.figures()), highlight=False, soft_wrap=True)
        time.sleep(STEP_SECONDS)


def show(*, broker: str, compare: bool, chain: bool) -> list[Verdict]:
    """Run the demonstration; return the verdicts, mqauth's first.

    Raises:
        RunError: A run could not be carried out.
        SandboxError: There is no broker to run it on.
    """
    console = Console(stderr=False)
    transports: list[TransportName] = ["mqauth", "callable"] if compare else ["mqauth"]
    with ExitStack() as stack:
        contestants = [
            Contestant(
                transport,
                # The callable password knows one way only.
                system="chain" if chain and transport == "mqauth" else "oauth2",
                broker=broker,
                console=console,
                stack=stack,
            )
            for transport in transports
        ]
        console.print(
            f"RabbitMQ {contestants[0].run.site.broker.version}; tokens live {TTL:.0f} s; "
            f"{LOAD.short_rate:g} short tasks a second, and every {LOAD.long_every:g} s one that "
            f"takes {LOAD.long_seconds:g} s; acknowledged late, so a dropped connection would run "
            "tasks twice",
            highlight=False,
            soft_wrap=True,
        )
        watch(contestants, console)
        for each in contestants:
            if each.links():
                console.print(f"{each.title}: {each.links()}", highlight=False, soft_wrap=True)
        return [each.verdict for each in contestants if each.verdict is not None]


def summary(verdict: Verdict) -> dict[str, int]:
    """Return the figures of the last line."""
    return {
        "tasks": verdict.tasks,
        "done": verdict.done,
        "lost": verdict.lost,
        "repeated": verdict.repeated,
        "dropped": verdict.dropped,
        "rotations": verdict.rotations,
    }


@click.command(help=__doc__)
@click.option("--compare", is_flag=True, help="Run Kombu's callable password beside it.")
@click.option("--chain", is_flag=True, help="From an X.509 certificate to a broker like Amazon MQ.")
@click.option("--broker", default="4", show_default=True, help="3, 4, or an installation's path.")
def main(*, compare: bool, chain: bool, broker: str) -> None:
    """Show the demonstration and print the last line."""
    terminate_like_interrupt()
    forget_foreign_settings()
    try:
        verdicts = show(broker=broker, compare=compare, chain=chain)
    except (RunError, SandboxError) as error:
        print(f"demo: {error}", file=sys.stderr)
        sys.exit(2)
    for other in verdicts[1:]:
        print(f"compared with {TITLES['callable']}: {json.dumps(summary(other))}")
    print(f"demo: {json.dumps(summary(verdicts[0]))}", flush=True)
    sys.exit(0 if verdicts[0].clean else 1)


if __name__ == "__main__":
    main()
