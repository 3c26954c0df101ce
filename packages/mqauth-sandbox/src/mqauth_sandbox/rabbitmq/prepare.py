"""Finds the RabbitMQ asked for, and installs what is missing.

`"3"` is the distribution's package `rabbitmq-server`, installed by apt without starting its
service. `"4"` is the same package of Debian testing, bootstrapped into a directory of the cache.
Both need root or `sudo` that asks no password, once.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Literal

import filelock
import platformdirs

from mqauth_sandbox.errors import NotInstalledError
from mqauth_sandbox.rabbitmq.installation import (
    Installation,
    installation_at,
    isolated_as_root,
    packaged_installation,
)
from mqauth_sandbox.rabbitmq.system import Progress, as_root, install_package, run

CACHE_VARIABLE = "MQAUTH_SANDBOX_CACHE"

_SUITE = "testing"
_UNFINISHED = ".unfinished"
_LOCK_LIMIT = 1800.0
# Older ones leave a connection open whose credential has expired: not what "4" stands for.
_EXPIRY_CLOSES_SINCE = (4, 3)
_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"


def find_installation(which: str | Path) -> Installation:
    """Return the RabbitMQ that `which` names: `"3"`, `"4"` or a path; install nothing.

    Raises:
        NotInstalledError: It is not here; the text says how to get it.
    """
    if str(which) not in ("3", "4"):
        return installation_at(Path(which))
    local = packaged_installation()
    if str(which) == "3" and local is not None:
        if local.version_info < (4,):
            return local
        raise NotInstalledError(
            f"this machine's RabbitMQ is {local.version}, not 3",
            remedy="name the path of a rabbitmq-server 3",
        )
    if str(which) == "4":
        bootstrapped = packaged_installation(_root())
        if bootstrapped is not None:
            return bootstrapped
        if local is not None and local.version_info >= _EXPIRY_CLOSES_SINCE:
            return local
    raise NotInstalledError(
        f"RabbitMQ {which} is not installed", remedy=f"run `mqauth-sandbox prepare {which}`"
    )


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
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        with filelock.FileLock(cache / "prepare.lock", timeout=_LOCK_LIMIT):
            _remove_unfinished(cache)
            if which == "3" and packaged_installation() is None:
                install_package("rabbitmq-server", progress)
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
    return Path(named).resolve() if named else platformdirs.user_cache_path("mqauth-sandbox")


def _root() -> Path:
    return cache_directory() / f"rabbitmq-4-{_SUITE}"


def _remove_unfinished(cache: Path) -> None:
    """Remove what is left of a bootstrap that failed; the lock says that none is at work now."""
    for path in cache.glob(f"*{_UNFINISHED}"):
        root_prefix = as_root("remove a half-made RabbitMQ 4")
        run([*root_prefix, "rm", "-rf", "--one-file-system", str(path)])


def _bootstrap(root: Path, progress: Progress) -> None:
    """Bootstrap Debian testing with RabbitMQ under another name, then rename: all or nothing."""
    root_prefix = as_root("install RabbitMQ 4")
    if _debootstrap() is None:
        install_package("debootstrap", progress)
    progress(f"bootstrapping Debian {_SUITE} with rabbitmq-server (about a minute, 400 MB)")
    partial = root.with_name(f"{root.name}.{secrets.token_hex(4)}{_UNFINISHED}")
    command = [_debootstrap() or "debootstrap", "--variant=minbase"]
    command += ["--include=rabbitmq-server,ca-certificates", _SUITE, str(partial)]
    # It ends with us, and its mounts with it: nothing works on what the next attempt removes.
    dying = ["setpriv", "--pdeathsig", "KILL", "--"]
    run([*root_prefix, *dying, *isolated_as_root(), "--", *command], progress)
    with tempfile.NamedTemporaryFile("w") as hosts:
        hosts.write(_HOSTS)
        hosts.flush()
        run([*root_prefix, "install", "-m", "644", hosts.name, str(partial / "etc" / "hosts")])
    downloads = str(partial / "var/cache/apt/archives")
    run([*root_prefix, "find", downloads, "-name", "*.deb", "-delete"])
    run([*root_prefix, "mv", "-T", str(partial), str(root)])
    progress(f"RabbitMQ 4 is ready in {root}")


def _debootstrap() -> str | None:
    # Not everybody who may use sudo has the administrator's folders on the PATH.
    return shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
