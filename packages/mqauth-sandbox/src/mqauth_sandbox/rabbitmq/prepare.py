"""Finds the RabbitMQ asked for, and installs what is missing.

`"3"` is the distribution's package `rabbitmq-server`, installed by apt without starting its
service. `"4"` is the same package of Debian testing, bootstrapped into a directory of the cache.
Both need root or `sudo` that asks no password, once.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import filelock
import platformdirs

from mqauth_sandbox.errors import NotInstalledError
from mqauth_sandbox.rabbitmq.installation import (
    Installation,
    installation_at,
    isolated_as_root,
    isolation_failure,
    packaged_installation,
)

CACHE_VARIABLE = "MQAUTH_SANDBOX_CACHE"
Progress = Callable[[str], None]

_SUITE = "testing"
_UNFINISHED = ".unfinished"
_INSTALL_LIMIT = 1800.0
_LOCK_LIMIT = 1800.0
_SUDO_LIMIT = 10.0
_REPORT_EVERY = 5.0
# Leaves, if killed, no more than an empty file that is not executable, which has no effect; only
# where mounting is refused, as in containers, must the policy be written to its place.
_NO_SERVICES = """
policy=/usr/sbin/policy-rc.d
test -e $policy || { touch $policy; absent=yes; }
refusal=$(mktemp) && printf '#!/bin/sh\\nexit 101\\n' > "$refusal" && chmod 755 "$refusal" || exit
if mount --bind "$refusal" $policy 2>/dev/null; then mounted=yes
elif test "$absent"; then cp -p "$refusal" $policy; fi
"$@"
status=$?
test "$mounted" && umount $policy
rm -f "$refusal" ${absent:+$policy}
exit $status
"""
_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"


def find_installation(which: str | Path) -> Installation:
    """Return the RabbitMQ that `which` names: `"3"`, `"4"` or a path; install nothing.

    Raises:
        NotInstalledError: It is not here; the text says how to get it.
    """
    if str(which) not in ("3", "4"):
        return installation_at(Path(which))
    found = packaged_installation() if str(which) == "3" else packaged_installation(_root())
    if found is None or not found.version.startswith(f"{which}."):
        if found is None and str(which) == "4":
            local = packaged_installation()
            if local is not None and local.version.startswith("4."):
                return local
        has = f"; this machine's is {found.version}" if found else ""
        raise NotInstalledError(
            f"RabbitMQ {which} is not installed{has}",
            remedy=f"run `mqauth-sandbox prepare {which}`"
            if found is None
            else "name the path of another rabbitmq-server",
        )
    return found


def prepare(which: Literal["3", "4"], progress: Progress = lambda _: None) -> Installation:
    """Return RabbitMQ `which`, installing it first where it is missing.

    Processes that prepare at the same time wait for each other.

    Args:
        which: `"3"` or `"4"`.
        progress: Called with one line for each thing done.

    Raises:
        NotInstalledError: It could not be installed; the text says what to do.
    """
    try:
        return find_installation(which)
    except NotInstalledError:
        pass
    cache = cache_directory()
    try:
        with filelock.FileLock(cache / "prepare.lock", timeout=_LOCK_LIMIT):
            _remove_unfinished(cache)
            if which == "3" and packaged_installation() is None:
                _install_package("rabbitmq-server", progress)
            elif which == "4" and packaged_installation(_root()) is None:
                try:
                    _bootstrap(_root(), progress)
                finally:
                    _remove_unfinished(cache)
    except filelock.Timeout:
        raise NotInstalledError(
            f"another process has been preparing RabbitMQ for over {_LOCK_LIMIT / 60:g} minutes",
            remedy="end it, then try again",
        ) from None
    return find_installation(which)


def cache_directory() -> Path:
    """Return the directory of what was prepared: $MQAUTH_SANDBOX_CACHE or in the user's cache."""
    named = os.environ.get(CACHE_VARIABLE)
    path = Path(named).resolve() if named else platformdirs.user_cache_path("mqauth-sandbox")
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path


def _root() -> Path:
    return cache_directory() / f"rabbitmq-4-{_SUITE}"


def _remove_unfinished(cache: Path) -> None:
    """Remove what is left of a bootstrap that failed; the lock says that none is at work now."""
    for path in cache.glob(f"*{_UNFINISHED}"):
        as_root = _as_root("remove a half-made RabbitMQ 4")
        _run([*as_root, "rm", "-rf", "--one-file-system", str(path)])


def _bootstrap(root: Path, progress: Progress) -> None:
    """Bootstrap Debian testing with RabbitMQ under another name, then rename: all or nothing."""
    as_root = _as_root("install RabbitMQ 4")
    if _debootstrap() is None:
        _install_package("debootstrap", progress)
    progress(f"bootstrapping Debian {_SUITE} with rabbitmq-server (about a minute, 400 MB)")
    partial = root.with_name(f"{root.name}.{secrets.token_hex(4)}{_UNFINISHED}")
    command = [_debootstrap() or "debootstrap", "--variant=minbase"]
    command += ["--include=rabbitmq-server,ca-certificates", _SUITE, str(partial)]
    # It ends with us, and its mounts with it: nothing works on what the next attempt removes.
    dying = ["setpriv", "--pdeathsig", "KILL", "--"]
    _run([*as_root, *dying, *isolated_as_root(), "--", *command], progress)
    with tempfile.NamedTemporaryFile("w") as hosts:
        hosts.write(_HOSTS)
        hosts.flush()
        _run([*as_root, "install", "-m", "644", hosts.name, str(partial / "etc" / "hosts")])
    _run([*as_root, "find", str(partial / "var/cache/apt/archives"), "-name", "*.deb", "-delete"])
    _run([*as_root, "mv", "-T", str(partial), str(root)])
    progress(f"RabbitMQ 4 is ready in {root}")


def _debootstrap() -> str | None:
    # Not everybody who may use sudo has the administrator's folders on the PATH.
    return shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _install_package(name: str, progress: Progress) -> None:
    """Install a package of this machine's distribution without letting it start a service."""
    if shutil.which("apt-get") is None:
        raise NotInstalledError(
            f"{name} is missing and this machine has no apt-get to install it with",
            remedy="install it by the means of this system, or name the path of a rabbitmq-server",
        )
    as_root = _as_root(f"install {name}")
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
    apt += ["-o", "DPkg::Lock::Timeout=300"]
    install = [*apt, "install", "--no-install-recommends", name]
    progress(f"installing the package {name}")
    try:
        _run([*as_root, *_without_services(), *install], progress)
    except NotInstalledError:  # perhaps for package lists that are missing or too old
        _run([*as_root, *apt, "update"], progress)
        _run([*as_root, *_without_services(), *install], progress)
    progress(f"installed the package {name}")


def _without_services() -> list[str]:
    """Return a prefix under which maintainer scripts find a policy that starts no service.

    The policy is mounted where only they see it: one written to its place would keep this
    machine's services from starting if we were killed before we removed it.
    """
    refused = os.geteuid() == 0 and isolation_failure()
    isolation = [] if refused else [*isolated_as_root(), "--"]
    return [*isolation, "sh", "-c", _NO_SERVICES, "sh"]


def _as_root(purpose: str) -> list[str]:
    """Return the prefix that gives a command root's rights."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo:
        try:
            _run([sudo, "-n", "true"], limit=_SUDO_LIMIT)
        except NotInstalledError:
            pass
        else:
            return [sudo, "-n"]
    raise NotInstalledError(
        f"cannot {purpose}: that needs root, and sudo is missing or asks for a password",
        remedy="run `mqauth-sandbox prepare` once as root, or name the path of a rabbitmq-server "
        "or the URL of a running broker",
    )


def _run(
    command: Sequence[str],
    progress: Progress = lambda _: None,
    limit: float = _INSTALL_LIMIT,
) -> None:
    """Run a command; report what it is at now and then; raise with its last words if it fails."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    overdue = threading.Timer(limit, process.kill)
    overdue.daemon = True
    overdue.start()
    last: deque[str] = deque(maxlen=4)
    reported = time.monotonic()
    try:
        for line in process.stdout or ():
            last.append(line.strip())
            if time.monotonic() - reported > _REPORT_EVERY:
                reported = time.monotonic()
                progress(f"  ... {line.strip()}")
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        overdue.cancel()
    if code:
        ran = " ".join(word for word in command if not word.startswith("-"))[:80]
        raise NotInstalledError(
            f"`{ran}` failed with status {code}: {' / '.join(last)}",
            remedy="check the network and the package sources, then try again",
        )
