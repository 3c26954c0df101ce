"""Commands that change this machine: as root, within a time limit, with progress."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from mqauth_sandbox.errors import NotInstalledError
from mqauth_sandbox.rabbitmq.installation import isolated_as_root, isolation_failure

Progress = Callable[[str], None]

_INSTALL_LIMIT = 1800.0
_SUDO_LIMIT = 10.0
_REPORT_EVERY = 5.0
_OTHERWISE = "name the path of a rabbitmq-server or the URL of a running broker"
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


def install_package(name: str, progress: Progress, *, otherwise: str = _OTHERWISE) -> None:
    """Install a package of this machine's distribution without letting it start a service.

    Args:
        name: The package.
        progress: Called with one line for each thing done.
        otherwise: What the user can do where it cannot be installed.

    Raises:
        NotInstalledError: It could not be installed.
    """
    if shutil.which("apt-get") is None:
        raise NotInstalledError(
            f"{name} is missing and this machine has no apt-get to install it with",
            remedy=otherwise,
        )
    prefix = as_root(f"install {name}", otherwise=otherwise)
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
    apt += ["-o", "DPkg::Lock::Timeout=300"]
    install = [*apt, "install", "--no-install-recommends", name]
    progress(f"installing the package {name}")
    try:
        run([*prefix, *_without_services(), *install], progress)
    except NotInstalledError:  # perhaps for package lists that are missing or too old
        run([*prefix, *apt, "update"], progress)
        run([*prefix, *_without_services(), *install], progress)
    progress(f"installed the package {name}")


def _without_services() -> list[str]:
    """Return a prefix under which maintainer scripts find a policy that starts no service.

    The policy is mounted where only they see it: one written to its place would keep this
    machine's services from starting if we were killed before we removed it.
    """
    refused = os.geteuid() == 0 and isolation_failure()
    isolation = [] if refused else [*isolated_as_root(), "--"]
    return [*isolation, "sh", "-c", _NO_SERVICES, "sh"]


def as_root(purpose: str, *, otherwise: str = _OTHERWISE) -> list[str]:
    """Return the prefix that gives a command root's rights."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo:
        try:
            run([sudo, "-n", "true"], limit=_SUDO_LIMIT)
        except NotInstalledError:
            pass
        else:
            return [sudo, "-n"]
    raise NotInstalledError(
        f"cannot {purpose}: that needs root, and sudo is missing or asks for a password",
        remedy=f"run `mqauth-sandbox prepare` once as root, or {otherwise}",
    )


def run(
    command: Sequence[str],
    progress: Progress = lambda _: None,
    limit: float = _INSTALL_LIMIT,
) -> None:
    """Run a command; report what it is at now and then; raise with its last words if it fails."""
    last: deque[str] = deque(maxlen=4)
    reported = time.monotonic()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        overdue = threading.Timer(limit, _kill, [process])
        overdue.daemon = True
        overdue.start()
        try:
            for line in process.stdout or ():
                last.append(line.strip())
                if time.monotonic() - reported > _REPORT_EVERY:
                    reported = time.monotonic()
                    progress(f"  ... {line.strip()}")
        except BaseException:
            _kill(process)
            raise
        finally:
            overdue.cancel()
    if process.returncode:
        ran = " ".join(word for word in command if not word.startswith("-"))[:80]
        raise NotInstalledError(
            f"`{ran}` failed with status {process.returncode}: {' / '.join(last)}",
            remedy="check the network and the package sources, then try again",
        )


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(PermissionError):  # sudo's; a terminal's Ctrl-C reaches it anyway
        process.kill()
