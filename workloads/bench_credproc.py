"""`python -m workloads.bench_credproc`: credproc against AWS's own `aws_signing_helper`.

Both fetch from the sandbox's Roles Anywhere endpoint over TLS on loopback, by turns, each run a
whole process; then the same with 50 ms of round trip. Then many processes that want one session
wait for each other. credproc is installed from its wheel, as users have it. Figures are medians;
ratios are to the helper's median in the same rounds.

The exit status is 0 if every figure keeps its bound, 1 if not, 2 if it could not be measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import cryptography

from mqauth_sandbox import SandboxError
from mqauth_sandbox.official_helper import prepare_official_helper
from mqauth_sandbox.pki import KeyType, Pki
from mqauth_sandbox.proxy import TcpProxy
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint, serve_rolesanywhere
from workloads.bench_credproc_flight import (
    kill_the_holder,
    longest_wait_beyond,
    start_together,
)
from workloads.console import Console
from workloads.processes import terminate_like_interrupt

ROOT = Path(__file__).resolve().parent.parent
RUNS = Path(__file__).with_name("bench_credproc_runs.py")
ROUND_TRIP = 0.05
LIMIT = 600.0
MANY = 64
CALL_TAKES = 1.0
FLIGHTS = 5
WAITING = 4
MIB = 1024

Figures = dict[str, list[tuple[float, int]]]
Waits = dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class Bound:
    """One promise.

    Args:
        what: What is promised, for people.
        value: What was measured.
        most: What it may be at most.
    """

    what: str
    value: float
    most: float

    @property
    def kept(self) -> bool:
        """Whether the promise is kept."""
        return self.value <= self.most


def install(folder: Path) -> Path:
    """Install credproc's wheel into a new environment in `folder` and return the executable."""
    uv = Path(sys.executable).with_name("uv")
    options = ["--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable]
    _run([uv, "build", *options, "--out-dir", folder, ROOT / "packages" / "credproc"])
    home = folder / "venv"
    venv.create(home, symlinks=True)
    wheel = next(folder.glob("*.whl"))
    python = home / "bin" / "python"
    quietly = ["--quiet", "--no-deps", "--compile-bytecode"]
    _run([uv, "pip", "install", *quietly, "--python", python, wheel])
    libraries = Path(cryptography.__file__).parent.parent
    packages = next(home.glob("lib/python3*/site-packages"))
    for name in ("cryptography", "_cffi_backend*"):
        for source in libraries.glob(name):
            (packages / source.name).symlink_to(source)
    return home / "bin" / "credproc"


def _run(command: Sequence[str | Path]) -> str:
    return subprocess.run(
        list(map(str, command)), check=True, timeout=LIMIT, stdout=subprocess.PIPE, text=True
    ).stdout


class Bench:
    """Measures on one endpoint.

    Args:
        endpoint: The endpoint; it trusts `pki`.
        pki: Issues the identities.
        folder: For their files and the cache.
        programs: The helper and ours.
    """

    def __init__(
        self,
        endpoint: RolesAnywhereEndpoint,
        pki: Pki,
        folder: Path,
        programs: Mapping[str, Path],
    ) -> None:
        """Measure nothing yet."""
        self._endpoint = endpoint
        self._folder = folder
        self._programs = programs
        self._files = {kind: pki.issue(kind).write(folder) for kind in _kinds()}
        cache = folder / "cache"
        cache.mkdir(mode=0o700)
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            "AWS_CA_BUNDLE": str(endpoint.ca_file),
            "AWS_EC2_METADATA_DISABLED": "true",
            "CREDPROC_CACHE_DIR": str(cache),
        }

    def measure(self, rounds: int, url: str, kinds: Sequence[KeyType]) -> Figures:
        """Return seconds and KiB of each run, by name."""
        helper, ours = self._programs["helper"], self._programs["credproc"]
        python = ours.with_name("python")
        commands: dict[str, list[str]] = {"python": [str(python), "-I", "-S", "-c", "pass"]}
        for kind in kinds:
            line = self._line(kind, url)
            commands[f"helper {kind}"] = [str(helper), *line]
            commands[f"warm {kind}"] = [str(ours), *line]
            commands[f"cold {kind}"] = [str(ours), *line, "--no-cache"]
        words = [word for name, line in commands.items() for word in (name, *line, "--")]
        done = subprocess.run(
            [python, "-I", "-S", RUNS, str(rounds), *words],
            env=self._environment,
            check=True,
            timeout=LIMIT,
            stdout=subprocess.PIPE,
            text=True,
        )
        figures: Figures = {name: [] for name in commands}
        for row in done.stdout.splitlines():
            name, seconds, memory, status = row.rsplit(" ", 3)
            if status != "0":
                raise click.ClickException(f"{name} ended with {status}; see above")
            figures[name].append((float(seconds), int(memory)))
        return figures

    def fly(self, flights: int) -> Waits:
        """Return how long processes wait for one that fetches, in seconds, by what befalls it."""
        waits: Waits = {"beyond the call": [], "after a kill": []}
        program = self._programs["credproc"]
        for flight in range(flights):
            for offset, name in enumerate(waits):
                # A session of its own each time, which no run before has cached.
                duration = ["--session-duration", str(1800 + 2 * flight + offset)]
                line = [*self._line(_kinds()[0], self._endpoint.url), *duration]
                before = self._endpoint.requests
                waits[name].append(
                    self._wait_together(program.with_name("python"), line)
                    if name == "beyond the call"
                    else self._wait_after_a_kill(program, line)
                )
                calls = self._endpoint.requests - before
                if calls != 1 + offset:
                    raise click.ClickException(f"{calls} calls to the service, not {1 + offset}")
        return waits

    def _wait_together(self, python: Path, line: Sequence[str]) -> float:
        with self._endpoint.faults.during("slow", delay=CALL_TAKES):
            starts = start_together(python, self._environment, line, MANY)
        if [start.code for start in starts] != [0] * MANY:
            raise click.ClickException("not all of those who started together were answered")
        return longest_wait_beyond(starts)

    def _wait_after_a_kill(self, program: Path, line: Sequence[str]) -> float:
        takeover = kill_the_holder(program, self._environment, line, self._endpoint, WAITING)
        if set(takeover.codes) != {0}:
            raise click.ClickException(f"after a kill: {' '.join(takeover.said)}")
        return takeover.delay

    def _line(self, kind: KeyType, url: str) -> list[str]:
        identity = self._files[kind].arguments()
        line = ["credential-process", *self._endpoint.arguments(), *identity]
        return [*line, "--endpoint", url]  # the last one counts


def _kinds() -> tuple[KeyType, KeyType]:
    return ("ec-p256", "rsa-4096")


def seconds(figures: Figures, name: str) -> float:
    """Return the median time of a command."""
    return median(run[0] for run in figures[name])


def mebibytes(figures: Figures, name: str) -> float:
    """Return the median peak memory of a command."""
    return median(run[1] for run in figures[name]) / MIB


def bounds(near: Figures, far: Figures, waits: Waits) -> list[Bound]:
    """Return the promises with what was measured."""
    helper, far_helper = seconds(near, "helper ec-p256"), seconds(far, "helper ec-p256")
    cold = seconds(near, "cold ec-p256")
    return [
        Bound(what="warm / helper", value=seconds(near, "warm ec-p256") / helper, most=0.75),
        Bound(what="cold / helper", value=cold / helper, most=3.5),
        Bound(what="warm, MiB", value=mebibytes(near, "warm ec-p256"), most=10),
        Bound(what="cold, MiB", value=mebibytes(near, "cold ec-p256"), most=32),
        Bound(what="cold, RSA-4096 / EC", value=seconds(near, "cold rsa-4096") / cold, most=1.15),
        Bound(
            what="warm / helper, 50 ms round trip",
            value=seconds(far, "warm ec-p256") / far_helper,
            most=0.15,
        ),
        Bound(
            what="cold / helper, 50 ms round trip",
            value=seconds(far, "cold ec-p256") / far_helper,
            most=1.25,
        ),
        Bound(
            what=f"{MANY} at once, s beyond the call",
            value=median(waits["beyond the call"]),
            most=0.2,
        ),
        Bound(what="after a holder's SIGKILL, s", value=max(waits["after a kill"]), most=2.0),
    ]


def report(near: Figures, far: Figures, waits: Waits, promised: Sequence[Bound]) -> str:
    """Return the result for people."""
    lines = ["credproc against aws_signing_helper: medians of whole processes"]
    for title, figures in (("TLS on loopback", near), ("the same, 50 ms round trip", far)):
        lines.append(f"  {title} ({len(figures['python'])} rounds)")
        for name in figures:
            took, memory = seconds(figures, name) * 1000, mebibytes(figures, name)
            lines.append(f"    {name:16} {took:7.1f} ms  {memory:5.1f} MiB")
    lines.append("  one fetches, the others wait (median, longest)")
    lines += [
        f"    {name:16} {median(took) * 1000:7.1f} ms  {max(took) * 1000:7.1f} ms"
        for name, took in waits.items()
    ]
    lines.append("  bounds")
    for bound in promised:
        mark = "kept" if bound.kept else "BROKEN"
        lines.append(f"    {bound.what:32} {bound.value:6.2f}  at most {bound.most:5.2f}  {mark}")
    return "\n".join(lines)


def run(rounds: int, console: Console) -> tuple[Figures, Figures, Waits]:
    """Measure everything."""
    with tempfile.TemporaryDirectory(prefix="credproc-bench-") as name:
        folder = Path(name)
        console.note("installing credproc's wheel and finding aws_signing_helper")
        programs = {"helper": prepare_official_helper(console.note), "credproc": install(folder)}
        with serve_rolesanywhere(folder / "endpoint") as endpoint:
            pki = Pki()
            endpoint.trust(pki.root)
            endpoint.rate_limit = None
            bench = Bench(endpoint, pki, folder, programs)
            console.note(f"starting everything by turns, {rounds} rounds")
            near = bench.measure(rounds, endpoint.url, _kinds())
            proxy = TcpProxy(int(endpoint.url.rpartition(":")[2]))
            proxy.round_trip = ROUND_TRIP
            console.note(f"the same over {ROUND_TRIP * 1000:.0f} ms of round trip")
            with proxy:
                url = f"https://localhost:{proxy.port}"
                far = bench.measure(max(rounds // 2, 3), url, _kinds()[:1])
            console.note(f"{MANY} at once, and a holder killed, {FLIGHTS} times")
            waits = bench.fly(FLIGHTS)
    return near, far, waits


@click.command()
@click.option("--rounds", default=41, show_default=True, help="Runs of each command.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(rounds: int, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Measure credproc against the official helper."""
    terminate_like_interrupt()
    console = Console()
    try:
        near, far, waits = run(rounds, console)
    except (SandboxError, OSError, subprocess.SubprocessError, click.ClickException) as error:
        console.note(f"bench: {error}")
        sys.exit(2)
    promised = bounds(near, far, waits)
    document: dict[str, Any] = {
        "loopback": near,
        "round_trip": far,
        "waits": waits,
        "bounds": [{**vars(bound), "kept": bound.kept} for bound in promised],
    }
    print(json.dumps(document) if as_json else report(near, far, waits, promised))
    sys.exit(0 if all(bound.kept for bound in promised) else 1)


if __name__ == "__main__":
    main()
