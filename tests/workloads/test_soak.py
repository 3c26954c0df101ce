"""The soak from end to end: clean where it should be, and able to fail."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
import uuid
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

from tests.celery.processes import wait_until
from workloads.load import Load
from workloads.run import Plan, Run
from workloads.settings import TransportName
from workloads.site import sandbox_site
from workloads.verdict import Verdict, judge

ROOT = Path(__file__).resolve().parents[2]
LONG_SECONDS = 4.0


def soak(*arguments: str, limit: float = 220) -> subprocess.CompletedProcess[str]:
    """Run the soak with these arguments."""
    command = [sys.executable, "-m", "workloads.soak", *arguments]
    return subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=limit
    )


def judged_run(folder: Path, broker: str, *, transport: TransportName, cut_after: int) -> Verdict:
    """Return the verdict on a short run whose connections are all closed in the middle.

    That is when `cut_after` tasks have been sent and a long one runs: others follow it until the
    run's end, however long the broker's tool takes.
    """
    plan = Plan(
        pool="threads",
        concurrency=8,
        acks="late",
        backend="none",
        transport=transport,
        ttl=LONG_SECONDS,
        load=Load(seconds=16, short_rate=10, long_seconds=LONG_SECONDS, long_every=2),
    )
    with (
        sandbox_site(
            broker=broker,
            ttl=plan.ttl,
            transport=transport,
            tls=False,
            progress=lambda _text: None,
        ) as site,
        Run(site=site, plan=plan, folder=folder / "run", patience=5) as run,
    ):
        cut = False
        while run.step():
            if not cut and run.tally.tasks >= cut_after and run.tally.running:
                site.broker.ctl("close_all_connections", "because of a test")
                cut = True
            time.sleep(0.1)
        run.finish()
        return judge(run)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_cut_in_mid_run_is_seen(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Closing all connections during a run shows as drops and, with late acks, as repetitions."""
    broker = request.config.getoption("--mqauth-broker")
    verdict = judged_run(tmp_path, broker, transport="plain", cut_after=20)
    assert verdict.dropped >= 2
    assert verdict.extras["dropped_detail"]["connection_forced"] >= 2
    assert verdict.repeated >= 1
    assert not verdict.clean


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_short_soak_is_clean(request: pytest.FixtureRequest) -> None:
    """Several rotations under load lose, repeat and drop nothing; the last line is the record."""
    broker = request.config.getoption("--mqauth-broker")
    arguments = ["--broker", broker, "--ttl", "20", "--minutes", "0.2", "--acks", "late"]
    # Celery 5.4 takes a second for each result that another thread waits for, whoever signs in.
    results = Version(version("celery")) >= Version("5.5")
    finished = soak(*arguments, "--backend", "rpc" if results else "none", "--json-only")
    assert finished.stdout, finished.stderr
    record = json.loads(finished.stdout.splitlines()[-1])
    faults = ("lost", "repeated", "dropped", "publish_errors", "dropped_samples")
    assert [record[name] for name in faults] == [0, 0, 0, 0, []]
    assert record["tasks"] == record["done"] > 200
    assert record["results"] == (record["tasks"] if results else 0)
    assert record["rotations"] >= 3
    assert {"fetches", "max_publish_ms", "longest_gap_ms"} <= record.keys()
    assert finished.returncode == 0


@pytest.mark.parametrize(
    "arguments", [["--pool", "forkpre"], ["--acks", "never"], ["--backend", "redis"]]
)
def test_a_wrong_option_is_refused(arguments: list[str]) -> None:
    """A misspelt option ends at once with status 2 and names the choices."""
    finished = soak(*arguments, limit=100)
    assert finished.returncode == 2
    assert "Invalid value" in finished.stderr


def test_logs_never_mix_with_older_ones(tmp_path: Path) -> None:
    """A folder with something in it is refused before anything starts."""
    (tmp_path / "older").write_text("")
    finished = soak("--keep-logs", str(tmp_path), limit=100)
    assert finished.returncode == 2
    assert "not empty" in finished.stderr


def test_a_broker_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """An installation that does not exist ends with status 2 and one line that says so."""
    finished = soak("--broker", str(tmp_path / "rabbitmq-server"), "--json-only", limit=100)
    assert finished.returncode == 2
    assert len(finished.stderr.splitlines()) == 1
    assert finished.stderr.startswith("soak: ")


def processes_with(marker: str) -> set[int]:
    """Return the processes that have `marker` in their environment."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if marker.encode() in path.read_bytes():
                found.add(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_soak_leaves_nothing(number: int, request: pytest.FixtureRequest) -> None:
    """Ctrl-C and SIGTERM end the run with its worker, its pool and its producer."""
    broker = request.config.getoption("--mqauth-broker")
    marker = f"SOAK_MARKER={uuid.uuid4()}"
    command = [sys.executable, "-m", "workloads.soak", "--broker", broker, "--ttl", "12"]
    with subprocess.Popen(
        ["/usr/bin/env", marker, *command], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = ""
        while "worker ready" not in said:
            said = process.stderr.readline()
            assert said, "the soak ended before its worker was ready"
        # The run itself, the worker, its pool and the producer.
        assert len(processes_with(marker)) > 3
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    # What the kernel kills with its parent takes a moment to go.
    wait_until(lambda: not processes_with(marker), what="all of its processes have ended")
