"""AWS's own `aws_signing_helper`, built once from its public Go module into the cache.

Tests run beside it what they test: what it signs, prints and refuses is the reference. Building
needs Go, a C compiler (it uses PKCS#11 through cgo) and the Go module proxy, once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import filelock

from mqauth_sandbox.errors import NotInstalledError
from mqauth_sandbox.rabbitmq.prepare import cache_directory
from mqauth_sandbox.rabbitmq.system import Progress

HELPER_VARIABLE = "MQAUTH_SANDBOX_SIGNING_HELPER"
MODULE = "github.com/aws/rolesanywhere-credential-helper"
VERSIONS = ("1.8.0", "1.7.3")
"""Versions to build, the best first: some module proxies hold releases back that they do not know
for long. 1.8 brought ML-DSA."""

_NAME = "aws_signing_helper"
_DOWNLOAD_LIMIT = 300.0
_BUILD_LIMIT = 900.0
_LOCK_LIMIT = 1200.0


class GoMissingError(NotInstalledError):
    """There is no Go here to build it with, or nothing to get its source from."""


def find_official_helper() -> Path:
    """Return the helper: the one that $MQAUTH_SANDBOX_SIGNING_HELPER names, or the cache's.

    Raises:
        NotInstalledError: It is not here; the text says how to get it.
    """
    named = os.environ.get(HELPER_VARIABLE)
    if named:
        if os.access(named, os.X_OK):
            return Path(named).resolve()
        raise NotInstalledError(
            f"{HELPER_VARIABLE} names {named}, which is no executable", remedy="correct or unset it"
        )
    for version in VERSIONS:
        if os.access(_home(version) / _NAME, os.X_OK):
            return _home(version) / _NAME
    raise NotInstalledError(
        f"{_NAME} is not installed", remedy="run `mqauth-sandbox prepare helper`"
    )


def prepare_official_helper(progress: Progress = lambda _: None) -> Path:
    """Return the helper, building it first where it is missing.

    Processes that prepare at the same time wait for each other.

    Args:
        progress: Called with one line for each thing done.

    Raises:
        GoMissingError: There is no Go, or its module proxy has nothing for us.
        NotInstalledError: It could not be built; the text says why.
    """
    try:
        return find_official_helper()
    except NotInstalledError:
        if os.environ.get(HELPER_VARIABLE):
            raise
    go = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    if go is None:
        raise GoMissingError(
            f"{_NAME} is missing, and there is no Go to build it with",
            remedy=f"install Go, or set {HELPER_VARIABLE} to an {_NAME}",
        )
    cache = cache_directory()
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        with filelock.FileLock(cache / "helper.lock", timeout=_LOCK_LIMIT):
            try:
                return find_official_helper()
            except NotInstalledError:
                return _build(go, progress)
    except filelock.Timeout:
        raise NotInstalledError(
            f"another process has been building {_NAME} for over {_LOCK_LIMIT / 60:g} minutes",
            remedy="end it, then try again",
        ) from None


def helper_version(helper: Path) -> tuple[int, ...]:
    """Return the version of a helper, such as `(1, 8, 0)`; builds that do not know it say `(0,)`.

    Args:
        helper: The executable.
    """
    printed = _run([str(helper), "version"], 30.0).stdout.strip()
    return tuple(int(part) for part in printed.split(".") if part.isdigit()) or (0,)


def _build(go: str, progress: Progress) -> Path:
    refusals = []
    for version in VERSIONS:
        progress(f"building {_NAME} {version} from its Go module (about a minute)")
        # Not `go install MODULE@VERSION`: it also asks for the list of all versions, and fails
        # where a proxy has only some.
        downloaded = _run([go, "mod", "download", "-json", f"{MODULE}@v{version}"], _DOWNLOAD_LIMIT)
        if downloaded.returncode:
            refusals.append(f"v{version}: {_cause(downloaded)}")
            continue
        return _compile(go, version, Path(json.loads(downloaded.stdout)["Dir"]), progress)
    raise GoMissingError(
        f"the Go module proxy has no {_NAME} for us ({'; '.join(refusals)})",
        remedy=f"check the network, or set {HELPER_VARIABLE} to an {_NAME}",
    )


def _compile(go: str, version: str, source: Path, progress: Progress) -> Path:
    home = _home(version)
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    unfinished = home / f"{_NAME}.unfinished"
    flags = f"-X {MODULE}/cmd.Version={version} -w -s"
    command = [go, "build", "-C", str(source), "-trimpath", "-buildvcs=false"]
    built = _run([*command, "-ldflags", flags, "-o", str(unfinished), "."], _BUILD_LIMIT)
    if built.returncode:
        raise NotInstalledError(
            f"{_NAME} {version} did not build: {_cause(built)}",
            remedy="it needs a C compiler, such as gcc, and the Go module proxy",
        )
    unfinished.chmod(0o755)
    progress(f"{_NAME} {version} is ready in {home}")
    return unfinished.replace(home / _NAME)


def _home(version: str) -> Path:
    return cache_directory() / f"aws-signing-helper-{version}"


def _run(command: list[str], limit: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "CGO_ENABLED": "1"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(
            f"`{Path(command[0]).name} {command[1]}` failed: {error}",
            remedy="check the network and the Go installation, then try again",
        ) from None


def _cause(process: subprocess.CompletedProcess[str]) -> str:
    try:
        text = str(json.loads(process.stdout)["Error"])
    except (ValueError, KeyError):
        text = process.stderr
    return " ".join(text.split())[-200:]
