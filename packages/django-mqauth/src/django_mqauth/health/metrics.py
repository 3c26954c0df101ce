"""Figures about credentials in OpenMetrics' text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from django_mqauth import conf
from django_mqauth.sources import existing
from django_mqauth.workers.replies import WorkerReport

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One figure."""

    family: str
    labels: Mapping[str, str]
    value: float


_FAMILIES = {
    "mqauth_credential_remaining_seconds": ("gauge", "Seconds left of the credential"),
    "mqauth_credential_rotations": ("counter", "Times a newer credential took the place of one"),
    "mqauth_credential_fetches": ("counter", "Credentials fetched from the issuer"),
    "mqauth_credential_failures": ("counter", "Attempts to renew that failed"),
    "mqauth_worker_credential_remaining_seconds": (
        "gauge",
        "Seconds left of a worker's credential",
    ),
    "mqauth_worker_credential_rotations": ("counter", "Rotations in a worker's main process"),
    "mqauth_worker_credential_failures": ("counter", "Failed renewals in a worker's main process"),
    "mqauth_worker_healthy": ("gauge", "Whether a worker renews in time, answers and consumes"),
}


def of_this_process() -> Iterator[Sample]:
    """Return the figures of this process' aliases; asks nobody."""
    for alias in conf.aliases().values():
        found = existing(alias)
        if found is None:
            continue
        status = found.status()
        labels = {"alias": alias.name, "provider": status.provider, "identity": status.identity}
        if status.remaining is not None:
            yield Sample(
                family="mqauth_credential_remaining_seconds", labels=labels, value=status.remaining
            )
        for name in ("rotations", "fetches", "failures"):
            yield Sample(
                family=f"mqauth_credential_{name}", labels=labels, value=getattr(status, name)
            )


def of_workers(reports: Iterable[WorkerReport]) -> Iterator[Sample]:
    """Return the figures of workers."""
    for report in reports:
        yield Sample(
            family="mqauth_worker_healthy",
            labels={"worker": report.name, "state": report.state},
            value=float(report.healthy),
        )
        for source in report.sources:
            labels = {"worker": report.name, "identity": source.identity}
            if source.remaining is not None:
                yield Sample(
                    family="mqauth_worker_credential_remaining_seconds",
                    labels=labels,
                    value=source.remaining,
                )
            for name in ("rotations", "failures"):
                yield Sample(
                    family=f"mqauth_worker_credential_{name}",
                    labels=labels,
                    value=getattr(source, name),
                )


def text(samples: Iterable[Sample]) -> str:
    """Return samples as OpenMetrics writes them, family by family."""
    by_family: dict[str, list[Sample]] = {}
    for sample in samples:
        by_family.setdefault(sample.family, []).append(sample)
    lines = []
    for family, found in by_family.items():
        kind, description = _FAMILIES[family]
        lines += [f"# HELP {family} {description}", f"# TYPE {family} {kind}"]
        suffix = "_total" if kind == "counter" else ""
        lines += [
            f"{family}{suffix}{{{_labels(sample.labels)}}} {sample.value:g}" for sample in found
        ]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
