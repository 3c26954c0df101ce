"""`python -m workloads.soak`: minutes of work under tokens that live seconds, counted.

Progress goes to standard error. The last line of standard output is one JSON object; the exit
status is 0 only if nothing was lost, repeated, dropped or refused, 1 if something was, and 2 if
the run could not be carried out.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, get_args

import click

from mqauth_sandbox import SandboxError
from workloads.console import Console
from workloads.kafka_soak import KafkaPlan, KafkaVerdict, run_kafka_soak
from workloads.load import Load, slots
from workloads.processes import terminate_like_interrupt
from workloads.run import Plan, Run, RunError
from workloads.settings import Acks, Backend, TransportName
from workloads.site import forget_foreign_settings, sandbox_site
from workloads.systems import SYSTEMS
from workloads.verdict import Verdict, judge

POOLS = ("prefork", "threads", "solo", "gevent", "eventlet")
STEP_SECONDS = 0.5
KAFKA = "kafka"
KAFKA_RATE = 14.0
KAFKA_REAUTH = 20.0


def run_soak(
    plan: Plan, *, broker: str, system: str, tls: bool, logs: Path | None, console: Console
) -> Verdict:
    """Carry out one run from bringing up the broker to the verdict.

    Raises:
        RunError: The run could not be carried out.
        SandboxError: There is no broker to run it on.
    """
    with (
        sandbox_site(
            broker=broker,
            ttl=plan.ttl,
            system=system,
            transport=plan.transport,
            tls=tls,
            progress=console.note,
        ) as site,
        tempfile.TemporaryDirectory(prefix="mqauth-soak-") as folder,
        Run(site=site, plan=plan, folder=Path(folder) / "run") as run,
    ):
        console.note(
            f"RabbitMQ {site.broker.version}, worker ready; sending for {plan.load.seconds:.0f} s"
        )
        try:
            while run.step():
                console.progress(progress(run))
                time.sleep(STEP_SECONDS)
            run.finish()
        finally:
            if logs is not None:
                run.keep(logs)
        console.note(progress(run))
        return judge(run)


def progress(run: Run) -> str:
    """Return one line on where the run stands."""
    tally = run.tally
    return (
        f"{time.time() - run.begin:5.0f} s  tasks {tally.tasks}  done {tally.done}"
        f"  running {tally.running}  repeated {tally.repeated}"
        f"  publish errors {tally.publish_errors}  rotations {run.watch.state.rotations}"
        f"  fetches {run.site.fetches()}" + ("  WORKER DIED" if run.worker_died else "")
    )


def empty_folder(path: Path | None) -> Path | None:
    """Return the folder if nothing is in it: two runs in one ledger would be counted as one."""
    if path is not None and path.exists() and any(path.iterdir()):
        raise click.BadParameter(f"{path} is not empty")
    return path


def finite(context: click.Context, option: click.Parameter, value: float) -> float:
    """Return a number of more than 0 that has an end: neither `nan` nor `inf`."""
    if not 0 < value < math.inf:
        raise click.BadParameter(f"{value:g} is no finite number above 0", context, option)
    return value


@click.command(help=__doc__)
@click.option("--broker", default="4", show_default=True, help="3, 4, or an installation's path.")
@click.option("--pool", type=click.Choice(POOLS), default="prefork", show_default=True)
@click.option("--acks", type=click.Choice(get_args(Acks)), default="early", show_default=True)
@click.option(
    "--ttl", default=25.0, show_default=True, callback=finite, help="Life of a token in seconds."
)
@click.option(
    "--minutes", default=4.0, show_default=True, callback=finite, help="How long tasks are sent."
)
@click.option("--backend", type=click.Choice(get_args(Backend)), default="none", show_default=True)
@click.option("--concurrency", type=int, help="Slots of the pool: 8, green pools 50, solo 1.")
@click.option(
    "--system",
    type=click.Choice([*SYSTEMS, KAFKA]),
    default="oauth2",
    show_default=True,
    help="Identity system to sign in with; kafka: oauth2 on a Kafka broker.",
)
@click.option(
    "--transport",
    type=click.Choice(get_args(TransportName)),
    default="mqauth",
    show_default=True,
    help="mqauth, Kombu's callable password, or a plain password.",
)
@click.option("--tls/--no-tls", default=True, show_default=True, help="AMQPS or AMQP.")
@click.option("--json-only", is_flag=True, help="No progress.")
@click.option(
    "--keep-logs",
    type=click.Path(path_type=Path),
    callback=lambda _context, _option, path: empty_folder(path),
    help="Copy ledger and logs to this folder, which must be empty or new.",
)
def main(
    *,
    broker: str,
    pool: str,
    acks: Acks,
    ttl: float,
    minutes: float,
    backend: Backend,
    concurrency: int | None,
    system: str,
    transport: TransportName,
    tls: bool,
    json_only: bool,
    keep_logs: Path | None,
) -> None:
    """Read the options, run, and print the verdict."""
    if transport == "callable" and system != "oauth2":
        raise click.UsageError("the callable password for comparison knows --system oauth2 only")
    terminate_like_interrupt()
    forget_foreign_settings()
    if system == KAFKA:
        kafka_plan = KafkaPlan(
            pool=pool,
            concurrency=concurrency or 2,
            late=acks == "late",
            ttl=ttl,
            max_reauth=KAFKA_REAUTH,
            tasks=round(minutes * 60 * KAFKA_RATE),
            rate=KAFKA_RATE,
        )
        _finish(lambda: run_kafka_soak(kafka_plan, Console(quiet=json_only), keep_logs))
    plan = Plan(
        pool=pool,
        concurrency=concurrency or slots(pool),
        acks=acks,
        backend=backend,
        transport=transport,
        ttl=ttl,
        load=Load.fitted(pool=pool, ttl=ttl, seconds=minutes * 60),
    )
    _finish(
        lambda: run_soak(
            plan,
            broker=broker,
            system=system,
            tls=tls,
            logs=keep_logs,
            console=Console(quiet=json_only),
        )
    )


def _finish(run: Callable[[], Verdict | KafkaVerdict]) -> NoReturn:
    try:
        verdict = run()
    except (RunError, SandboxError) as error:
        print(f"soak: {error}", file=sys.stderr)
        sys.exit(2)
    print(json.dumps(verdict.as_dict()), flush=True)
    sys.exit(0 if verdict.clean else 1)


if __name__ == "__main__":
    main()
