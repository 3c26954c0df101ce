"""`python -m workloads.bench`: what mqauth costs a publisher, and how noisy the machine is.

1. Publish throughput against plain pyamqp on the same broker, over AMQP and AMQPS, measured by
   turns in one process: each turn is a pair. A second plain connection takes part: its ratio to the
   first is the noise.
2. What a rotation adds: the slowest publish within 50 ms of each update-secret, as the broker
   logged it, against the slowest in windows of the same length without one.

The exit status is 0 if throughput is at least 0.98 of plain and a rotation adds 2 ms at most, both
at the median; 1 if not; 2 if it could not be measured.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click

from mqauth_sandbox import Sandbox, SandboxError
from mqauth_sandbox.rabbitmq.prepare import prepare
from workloads.bench_publish import CHUNK
from workloads.bench_report import HALF_WINDOW, good_enough, report
from workloads.broker_log import messages, updates
from workloads.console import Console
from workloads.figures import Publishes, Spread, ratios, windows_around, windows_between
from workloads.processes import Child, terminate_like_interrupt
from workloads.site import forget_foreign_settings

LONG_LIFE = 3600.0
SHORT_LIFE = 6.0
PUBLISH_INTERVAL = 0.001
CLIENT_LIMIT = 300.0
LOG_LIMIT = 15.0


class BenchError(Exception):
    """Something could not be measured."""


class Bench:
    """Measures on one running sandbox.

    Args:
        sandbox: The sandbox.
        folder: For the clients' output and the credential cache.
        console: For progress.
    """

    def __init__(self, sandbox: Sandbox, folder: Path, console: Console) -> None:
        """Measure nothing yet."""
        self._sandbox = sandbox
        self._folder = folder
        self._console = console
        self._runs = 0
        broker = sandbox.broker
        self._environment = (
            dict(os.environ)
            | sandbox.environment()
            | {
                "MQAUTH_STATIC_USERNAME": broker.admin_user,
                "MQAUTH_STATIC_PASSWORD": broker.admin_password,
            }
        )

    def throughput(self, *, tls: bool, rounds: int, seconds: float) -> dict[str, Any]:
        """Return the ratios to plain pyamqp over one kind of link."""
        self._console.note(f"publishing by turns over {_link(tls=tls)}, {rounds} rounds")
        self._sandbox.issuer.token_lifetime = LONG_LIFE
        taken = self._client(
            "workloads.bench_publish",
            {
                "urls": {
                    "plain": self._plain_url(tls=tls),
                    "static": self._url("static", tls=tls),
                    "oauth2": self._url("oauth2", tls=tls),
                    "plain again": self._plain_url(tls=tls),
                },
                "ca_file": self._ca_file(tls=tls),
                "rounds": rounds,
                "seconds": seconds,
            },
        )
        plain_clock, plain_processor = _columns(taken["plain"])
        row: dict[str, Any] = {
            "link": _link(tls=tls),
            "plain_per_second": round(CHUNK / median(plain_clock)),
        }
        for name in ("static", "oauth2", "plain again"):
            clock, processor = _columns(taken[name])
            row[name.replace(" ", "_")] = {
                "clock": Spread.of(ratios(plain_clock, clock)).as_dict(),
                "processor": Spread.of(ratios(plain_processor, processor)).as_dict(),
            }
        return row

    def rotation(self, *, tls: bool, seconds: float) -> dict[str, Any]:
        """Return what rotations add to the slowest publish around them.

        Raises:
            BenchError: There were too few rotations to tell.
        """
        self._console.note(f"publishing through rotations over {_link(tls=tls)}, {seconds:.0f} s")
        self._sandbox.issuer.token_lifetime = SHORT_LIFE
        record = self._client(
            "workloads.bench_rotation",
            {
                "url": self._url("oauth2", tls=tls),
                "ca_file": self._ca_file(tls=tls),
                "seconds": seconds,
                "interval": PUBLISH_INTERVAL,
            },
        )
        publishes = Publishes(**record)
        return {
            "link": _link(tls=tls),
            "publishes": len(publishes.times),
            **_compare(publishes, self._rotations_during(publishes)),
        }

    def _rotations_during(self, publishes: Publishes) -> list[float]:
        begin, end = publishes.times[0], publishes.times[-1]
        moments = [moment for moment in updates(self._log_until(end)) if begin <= moment <= end]
        if len(moments) < 5:
            raise BenchError(f"only {len(moments)} rotations happened while publishing")
        return moments

    def _log_until(self, moment: float) -> str:
        # The broker writes its log with a delay. The publisher closed its connection after the
        # moment asked for, which is in the log too.
        deadline = time.monotonic() + LOG_LIMIT
        while time.monotonic() < deadline:
            log = self._sandbox.broker.log_text()
            if any(message.time > moment for message in messages(log)):
                return log
            time.sleep(0.2)
        raise BenchError(f"the broker did not write its log within {LOG_LIMIT:.0f} s")

    def _client(self, module: str, configuration: Mapping[str, Any]) -> dict[str, Any]:
        self._runs += 1
        name = f"client-{self._runs}"
        cache = self._folder / f"cache-{self._runs}"
        cache.mkdir(mode=0o700)
        child = Child(
            name,
            ["-m", module, json.dumps(configuration)],
            self._environment | {"MQAUTH_CACHE": str(cache)},
            self._folder,
        )
        try:
            if not child.wait(CLIENT_LIMIT):
                raise BenchError(f"{module} took longer than {CLIENT_LIMIT:.0f} s")
        finally:
            child.kill()
        if child.exit_code:
            raise BenchError(f"{module} failed:\n{child.log_tail()}")
        result: dict[str, Any] = json.loads(child.log_tail(1))
        return result

    def _url(self, provider: str, *, tls: bool) -> str:
        broker = self._sandbox.broker
        port = broker.amqps_port if tls else broker.amqp_port
        return f"{'mqauths' if tls else 'mqauth'}://{provider}@{broker.host}:{port}//"

    def _plain_url(self, *, tls: bool) -> str:
        broker = self._sandbox.broker
        port = broker.amqps_port if tls else broker.amqp_port
        return f"pyamqp://{broker.admin_user}:{broker.admin_password}@{broker.host}:{port}//"

    def _ca_file(self, *, tls: bool) -> str:
        return str(self._sandbox.ca_file) if tls else ""


def _compare(publishes: Publishes, moments: list[float]) -> dict[str, Any]:
    around = windows_around(publishes, moments, half=HALF_WINDOW)
    quiet = windows_between(publishes, moments, half=HALF_WINDOW)
    return {
        "rotations": len(moments),
        "added_ms": round(median(around) - median(quiet), 3),
        "noise_ms": round(_noise(quiet, len(around)), 3),
        "around_ms": Spread.of(around).as_dict(),
        "quiet_ms": Spread.of(quiet).as_dict(),
        "publish_ms": round(median(publishes.milliseconds), 4),
    }


def _noise(quiet: list[float], size: int, draws: int = 200) -> float:
    """Return how far two medians of quiet windows lie apart by chance: in 9 of 10 cases less."""
    chance = random.Random(0)  # noqa: S311 - statistics
    apart = sorted(
        abs(median(chance.choices(quiet, k=size)) - median(chance.choices(quiet, k=len(quiet))))
        for _ in range(draws)
    )
    return apart[int(0.9 * draws)]


def _columns(taken: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    return [clock for clock, _ in taken], [processor for _, processor in taken]


def _link(*, tls: bool) -> str:
    return "AMQPS" if tls else "AMQP"


def measure(
    *, broker: str, rounds: int, seconds: float, rotating: float, console: Console
) -> dict[str, Any]:
    """Bring up a sandbox and measure everything.

    Args:
        broker: `3`, `4` or the path of an installation.
        rounds: Rounds of turns, each on connections of its own.
        seconds: How long each connection has in a round.
        rotating: How long to publish through rotations.
        console: For progress.

    Raises:
        BenchError: Something could not be measured.
        SandboxError: There is no broker to measure on.
    """
    match broker:
        case "3" | "4":
            prepare(broker, console.note)
    console.note(f"starting RabbitMQ {broker} and the issuer")
    with (
        Sandbox(broker=broker, token_lifetime=LONG_LIFE) as sandbox,
        tempfile.TemporaryDirectory(prefix="mqauth-bench-") as folder,
    ):
        bench = Bench(sandbox, Path(folder), console)
        return {
            "broker": sandbox.broker.version,
            "throughput": [
                bench.throughput(tls=tls, rounds=rounds, seconds=seconds) for tls in (False, True)
            ],
            "rotation": [bench.rotation(tls=tls, seconds=rotating) for tls in (False, True)],
        }


@click.command(help=__doc__)
@click.option("--broker", default="4", show_default=True, help="3, 4, or an installation's path.")
@click.option(
    "--rounds",
    type=click.IntRange(min=2),
    default=12,
    show_default=True,
    help="Rounds of turns.",
)
@click.option("--seconds", default=1.0, show_default=True, help="Length of a round per connection.")
@click.option("--rotating", default=36.0, show_default=True, help="Seconds to publish and rotate.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(*, broker: str, rounds: int, seconds: float, rotating: float, as_json: bool) -> None:
    """Measure and print."""
    terminate_like_interrupt()
    forget_foreign_settings()
    try:
        result = measure(
            broker=broker,
            rounds=rounds,
            seconds=seconds,
            rotating=rotating,
            console=Console(quiet=as_json),
        )
    except (BenchError, SandboxError) as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(2)
    print(json.dumps(result) if as_json else report(result), flush=True)
    sys.exit(0 if good_enough(result) else 1)


if __name__ == "__main__":
    main()
