"""Where a RabbitMQ is installed, and the command lines that run its programs in isolation."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mqauth_sandbox.errors import NotInstalledError

_SERVER = "rabbitmq-server"
_PROBE_LIMIT = 30.0
# Where a node in a root directory of its own finds the files that the sandbox keeps for it.
_INSIDE = Path("/mnt")

# Mounts made here are seen by nobody else and vanish with the last process of the namespace.
_ENTER_ROOT = """
set -e
mount --rbind /dev "$1/dev"
mount -t proc proc "$1/proc"
mount --bind "$2" "$1/mnt"
root=$1
shift 2
exec chroot "$root" "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Installation:
    """One installed RabbitMQ.

    Attributes:
        sbin: Directory of its programs, as seen from inside `root`.
        version: Its version, such as `4.3.6`.
        root: Root directory of the system it is part of, where that is not this machine's own.
    """

    sbin: Path
    version: str
    root: Path | None = None

    @property
    def version_info(self) -> tuple[int, ...]:
        """The version as numbers, for comparison."""
        return tuple(int(number) for number in re.findall(r"\d+", self.version)[:3])

    def oauth2_keys(self) -> frozenset[str]:
        """Return which settings of the OAuth 2 plugin its rabbitmq.conf knows, by their stems."""
        home = (self.root / self.sbin.relative_to("/") if self.root else self.sbin).parent
        found: set[str] = set()
        for schema in (home / "plugins").glob(
            "rabbitmq_auth_backend_oauth2-*/priv/schema/*.schema"
        ):
            found.update(re.findall(r'"(auth_oauth2\.[a-z_]+)', schema.read_text()))
        return frozenset(found)

    def seen_by_node(self, path: Path, data: Path) -> Path:
        """Translate `path`, which lies in the directory `data`, to what the node calls it."""
        return _INSIDE / path.relative_to(data) if self.root else path

    def command(
        self, program: str, *arguments: str, data: Path, environment: Mapping[str, str]
    ) -> list[str]:
        """Return the command line that runs a program of this installation.

        It runs in namespaces of its own where possible: when the first process of these ends, the
        kernel ends all others and undoes all mounts. The environment is replaced, not added to.

        Args:
            program: Such as `rabbitmq-server` or `rabbitmqctl`.
            *arguments: Passed to the program.
            data: The directory on this machine that the program may see and write.
            environment: The program's whole environment, except for PATH.

        Raises:
            NotInstalledError: It cannot run without namespaces, and they are refused here.
        """
        assignments = [f"{name}={value}" for name, value in environment.items()]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        call = ["env", "-i", path, *assignments, str(self.sbin / program), *arguments]
        failure = isolation_failure()
        if self.root is not None:
            if failure:
                raise NotInstalledError(
                    f"RabbitMQ {self.version} needs namespaces, which are refused here: {failure}",
                    remedy="give the container the capability SYS_ADMIN, run as root, use the "
                    "distribution's RabbitMQ (3), or name a running broker's URL",
                )
            folders = [str(self.root), str(data)]
            return [*_isolated(), "--", "sh", "-c", _ENTER_ROOT, "sh", *folders, *call]
        # Without namespaces the guard process alone ends what the node leaves behind.
        return call if failure else [*_isolated(), "--mount-proc", "--", *call]


def installation_at(path: Path) -> Installation:
    """Return the installation that a path to its `rabbitmq-server` or `sbin` folder names."""
    sbin = path.parent if path.name == _SERVER and not path.is_dir() else path
    if not (sbin / _SERVER).exists() and (sbin / "sbin" / _SERVER).exists():
        sbin = sbin / "sbin"
    if not (sbin / _SERVER).exists():
        raise NotInstalledError(
            f"there is no {_SERVER} at {path}",
            remedy="name the rabbitmq-server executable or the sbin folder that holds it",
        )
    server = (sbin / _SERVER).resolve()
    if server.name != _SERVER and (server.parent / _SERVER).exists():
        # Debian's wrapper, which insists on a user and directories of its own; beside it the link.
        server = (server.parent / _SERVER).resolve()
    sbin = server.parent
    return Installation(sbin=sbin, version=_version_of(sbin))


def packaged_installation(root: Path | None = None) -> Installation | None:
    """Return Debian's rabbitmq-server, of this machine or of the system in `root`, if present."""
    base = (root or Path("/")) / "usr/lib/rabbitmq/lib"
    for home in sorted(base.glob("rabbitmq_server-*"), reverse=True):
        if (home / "sbin" / _SERVER).exists():
            inside = Path("/") / home.relative_to(root or Path("/"))
            return Installation(sbin=inside / "sbin", version=_version_in(home) or "", root=root)
    return None


def _version_in(path: Path) -> str | None:
    found = re.search(r"rabbitmq_server-(\d+\.\d+\.\d+)", str(path))
    return found[1] if found else None


def _version_of(sbin: Path) -> str:
    named = _version_in(sbin)
    if named:
        return named
    try:
        output = subprocess.run(
            [sbin / "rabbitmqctl", "version"],
            capture_output=True,
            text=True,
            timeout=_PROBE_LIMIT,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise NotInstalledError(
            f"the RabbitMQ in {sbin} does not tell its version: {error}",
            remedy="check that `rabbitmqctl version` runs there",
        ) from None
    return output.strip().splitlines()[-1]


def isolated_as_root() -> list[str]:
    """Return the `unshare` call that runs a command of root's in namespaces of its own.

    The kernel ends all of its processes and undoes its mounts when the first process ends.
    """
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"]


@cache
def isolation_failure() -> str | None:
    """Return why this user cannot have namespaces here, as in most containers; None if so."""
    command = [*_isolated(), "--mount-proc", "--", "true"]
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_LIMIT, check=True)
    except subprocess.CalledProcessError as error:
        return str(error.stderr).strip()
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return None


def _isolated() -> list[str]:
    """Return that call for this user, whom a user namespace gives the right where root is not."""
    call = isolated_as_root()
    if os.geteuid() != 0:
        call[1:1] = ["--user", "--map-root-user"]
    return call
