"""What this machine can run, and what runs on it."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mqauth_sandbox.errors import SandboxError
from mqauth_sandbox.kafka.prepare import find_kafka
from mqauth_sandbox.ports import has_ipv6_loopback
from mqauth_sandbox.rabbitmq.installation import isolation_failure
from mqauth_sandbox.rabbitmq.prepare import cache_directory, find_installation
from mqauth_sandbox.workdir import owner_of, workdirs


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at.

    Attributes:
        what: What was looked at.
        ok: Whether it is as the sandbox needs it.
        found: What was found.
        remedy: What to do if it is not.
        broker: Whether it is a broker that could run.
    """

    what: str
    ok: bool
    found: str
    remedy: str | None = None
    broker: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def diagnose() -> list[Finding]:
    """Look at everything the sandbox needs; nothing is changed."""
    isolation = _isolation()
    return [
        *(_broker(which, isolation) for which in ("3", "4")),
        _kafka(),
        isolation,
        _rights(),
        Finding(what="cache", ok=True, found=str(cache_directory())),
        Finding(
            what="IPv6 loopback",
            ok=has_ipv6_loopback(),
            found="::1 can be listened on" if has_ipv6_loopback() else "absent; 127.0.0.1 is used",
        ),
    ]


def running_sandboxes() -> list[tuple[int, Path]]:
    """Return pid and directory of each of this user's running sandboxes."""
    owned = ((owner_of(path), path) for path in workdirs())
    return sorted((pid, path) for pid, path in owned if pid is not None)


def _broker(which: str, isolation: Finding) -> Finding:
    what = f"RabbitMQ {which}"
    try:
        installation = find_installation(which)
    except SandboxError as error:
        return Finding(what=what, ok=False, found=error.message, remedy=error.remedy, broker=True)
    place = installation.root or installation.sbin.parent
    runs = isolation.ok or installation.root is None
    found = f"{installation.version} in {place}"
    return Finding(what=what, ok=runs, found=found, broker=True)


def _kafka() -> Finding:
    what = "Apache Kafka"
    try:
        found = find_kafka()
    except SandboxError as error:
        return Finding(what=what, ok=False, found=error.message, remedy=error.remedy)
    return Finding(what=what, ok=True, found=f"{found.version} in {found.jars}")


def _isolation() -> Finding:
    failure = isolation_failure()
    if failure:
        remedy = "RabbitMQ 4 needs them: run as root, in a container with the capability SYS_ADMIN"
        return Finding(what="namespaces", ok=False, found=failure, remedy=remedy)
    return Finding(what="namespaces", ok=True, found="nodes can be kept apart from the machine")


def _rights() -> Finding:
    what = "installing"
    if shutil.which("apt-get") is None:
        return Finding(
            what=what, ok=False, found="no apt-get", remedy="name the path of a rabbitmq-server"
        )
    if os.geteuid() == 0:
        return Finding(what=what, ok=True, found="root, with apt-get")
    if shutil.which("sudo"):
        return Finding(what=what, ok=True, found="apt-get with sudo, if that asks no password")
    return Finding(
        what=what, ok=False, found="neither root nor sudo", remedy="run `prepare` once as root"
    )
