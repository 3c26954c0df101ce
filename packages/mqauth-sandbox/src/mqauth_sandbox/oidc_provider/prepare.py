"""Installs oidc-provider from npm into the sandbox's cache: once, pinned and checked by hashes."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import subprocess
from pathlib import Path

import filelock

from mqauth_sandbox.errors import NotInstalledError
from mqauth_sandbox.rabbitmq.prepare import cache_directory
from mqauth_sandbox.rabbitmq.system import Progress, install_package, run

_HERE = Path(__file__).parent
_FILES = ("package.json", "package-lock.json", "server.mjs")
_OLDEST_NODE = 18
_LOCK_LIMIT = 600.0
_PROBE_LIMIT = 30.0
_INSTALL_LIMIT = 300.0


def find_oidc_provider() -> tuple[str, Path]:
    """Return Node's executable and the prepared program; install nothing.

    Raises:
        NotInstalledError: Something is missing; the text says how to get it.
    """
    node, folder = shutil.which("node"), _folder()
    if node is None:
        raise NotInstalledError(
            "Node is not installed, which oidc-provider needs",
            remedy="run `mqauth-sandbox prepare oidc-provider`, or install nodejs and npm",
        )
    version = _version(node)
    if version < _OLDEST_NODE:
        raise NotInstalledError(
            f"Node {version} is too old for oidc-provider",
            remedy=f"install Node {_OLDEST_NODE} or newer",
        )
    if not (folder / "server.mjs").is_file():
        raise NotInstalledError(
            "oidc-provider is not installed", remedy="run `mqauth-sandbox prepare oidc-provider`"
        )
    return node, folder / "server.mjs"


def prepare_oidc_provider(progress: Progress = lambda _: None) -> Path:
    """Return the prepared program, installing it first where it is missing.

    Args:
        progress: Called with one line for each thing done.

    Raises:
        NotInstalledError: It could not be installed; the text says what to do.
    """
    for program, package in (("node", "nodejs"), ("npm", "npm")):
        if shutil.which(program) is None:
            install_package(package, progress)
    folder = _folder()
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder.parent / "oidc-provider.lock", timeout=_LOCK_LIMIT):
            if not (folder / "server.mjs").is_file():
                _install(folder, progress)
    except filelock.Timeout:
        raise NotInstalledError(
            f"another process has been installing oidc-provider for {_LOCK_LIMIT / 60:g} minutes",
            remedy="end it, then try again",
        ) from None
    return find_oidc_provider()[1]


def _install(folder: Path, progress: Progress) -> None:
    progress("installing oidc-provider from npm")
    draft = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}")
    draft.mkdir()
    try:
        for name in _FILES:
            shutil.copyfile(_HERE / name, draft / name)
        npm = ["npm", "ci", "--prefix", str(draft), "--ignore-scripts", "--no-audit", "--no-fund"]
        run(npm, progress, _INSTALL_LIMIT)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _folder() -> Path:
    """Return the program's directory; another one for each state of the pins and of the program."""
    digest = hashlib.sha256()
    for name in _FILES:
        digest.update((_HERE / name).read_bytes())
    return cache_directory() / f"oidc-provider-{digest.hexdigest()[:12]}"


def _version(node: str) -> int:
    try:
        said = subprocess.run(
            [node, "--version"], capture_output=True, text=True, timeout=_PROBE_LIMIT, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.match(r"v(\d+)", said)
    return int(found[1]) if found else 0
