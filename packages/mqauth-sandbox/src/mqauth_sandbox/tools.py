"""Programs beside the brokers that tests can do with: found, and installed where that is allowed.

- `helper`: AWS's own `aws_signing_helper` (built with Go; see `official_helper`)
- `softhsm`: SoftHSM 2, a PKCS#11 token in files (a package of the distribution)
- `faketime`: libfaketime, which shifts the clock of a process and its children (the same)
- `awscli`: the AWS CLI, in a virtual environment of its own in the cache
- `chromium`: the driver of a Chromium that shows no window, and the browser with it (a package)
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import filelock

from mqauth_sandbox.errors import NotInstalledError
from mqauth_sandbox.official_helper import find_official_helper, prepare_official_helper
from mqauth_sandbox.rabbitmq.prepare import cache_directory
from mqauth_sandbox.rabbitmq.system import Progress, install_package, run

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where libfaketime has it

Tool = Literal["helper", "softhsm", "faketime", "awscli", "chromium"]
TOOLS: tuple[Tool, ...] = get_args(Tool)

_LIBRARIES: dict[str, Sequence[str]] = {
    "softhsm": ("softhsm/libsofthsm2.so", "pkcs11/libsofthsm2.so"),
    "faketime": ("faketime/libfaketime.so.1",),
}
_PACKAGES = {"softhsm": "softhsm2", "faketime": "faketime", "chromium": "chromium-driver"}
_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
_AWS_CLI = "awscli>=1.40,<2"
_READY = "ready"
_LOCK_LIMIT = 1200.0


def find_tool(tool: Tool) -> Path:
    """Return the executable or library of `tool`; install nothing.

    Raises:
        NotInstalledError: It is not here; the text says how to get it.
    """
    if tool == "helper":
        return find_official_helper()
    if tool == "awscli":
        found = _aws_cli()
    else:
        found = _driver() if tool == "chromium" else _library(_LIBRARIES[tool])
    if found is None:
        raise NotInstalledError(
            f"{tool} is not installed", remedy=f"run `mqauth-sandbox prepare {tool}`"
        )
    return found


def prepare_tool(tool: Tool, progress: Progress = lambda _: None) -> Path:
    """Return the executable or library of `tool`, installing it first where it is missing.

    Args:
        tool: Which one.
        progress: Called with one line for each thing done.

    Raises:
        NotInstalledError: It could not be installed; the text says why.
    """
    if tool == "helper":
        return prepare_official_helper(progress)
    try:
        return find_tool(tool)
    except NotInstalledError:
        pass
    cache = cache_directory()
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        with filelock.FileLock(cache / f"{tool}.lock", timeout=_LOCK_LIMIT):
            if tool == "awscli":
                _install_aws_cli(progress)
            else:
                install_package(
                    _PACKAGES[tool], progress, otherwise=f"install {tool} by the system's means"
                )
    except filelock.Timeout:
        raise NotInstalledError(
            f"another process has been installing {tool} for too long", remedy="end it, try again"
        ) from None
    return find_tool(tool)


def _library(names: Sequence[str]) -> Path | None:
    for folder in map(Path, _FOLDERS):
        for name in names:
            for found in (folder / name, *sorted(folder.glob(f"*-linux-gnu*/{name}"))):
                if found.exists():
                    return found
    return None


def _driver() -> Path | None:
    """Return the driver, which is of no use without its browser."""
    driver, browser = shutil.which("chromedriver"), shutil.which("chromium")
    return Path(driver) if driver and browser else None


def _aws_cli() -> Path | None:
    """Return the CLI in the cache, else one on the PATH that runs."""
    ours = _aws_cli_home() / "bin" / "aws"
    if (_aws_cli_home() / _READY).exists():
        return ours
    found = shutil.which("aws")
    if found is None:
        return None
    try:
        # A version manager's stand-in may name a program that it has not installed.
        subprocess.run([found, "--version"], capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return Path(found)


def _install_aws_cli(progress: Progress) -> None:
    home = _aws_cli_home()
    progress("installing the AWS CLI in an environment of its own")
    try:
        run([sys.executable, "-m", "venv", str(home)], progress)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        run([*pip, "--disable-pip-version-check", _AWS_CLI], progress)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    (home / _READY).touch()
    progress(f"the AWS CLI is ready in {home}")


def _aws_cli_home() -> Path:
    return cache_directory() / "aws-cli-1"


def environment_with_clock_at(offset: Path) -> dict[str, str]:
    """Return the variables with which a process and its children see the time that a file says.

    Args:
        offset: File with an offset of libfaketime's such as `+900`; it may change at any time.

    Raises:
        NotInstalledError: There is no libfaketime.
    """
    library = find_tool("faketime")
    _remove_what_killed_processes_left()
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _remove_what_killed_processes_left() -> None:
    """Remove libfaketime's shared memory of processes that are gone.

    It bears their numbers, and a process that gets such a number again sees the real time.
    """
    for kind in ("faketime_shm_", "sem.faketime_sem_"):
        for file in SHARED_MEMORY.glob(f"{kind}*"):
            number = file.name.removeprefix(kind)
            if number.isdigit() and not Path("/proc", number).exists():
                with contextlib.suppress(OSError):  # somebody else's, or gone by now
                    file.unlink()
