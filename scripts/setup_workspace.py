"""Makes a virtual environment with everything pinned and the workspace's members editable in it.

Needs the standard library only. A second run with nothing changed does nothing: a stamp in the
environment holds the hash of all that went into it.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
UV_PINS = ROOT / "requirements" / "uv.txt"
STAMP = "workspace.stamp"
LIMIT = 1200.0
"""Seconds that any single step may take, slow networks included."""

PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "cert": "SSL_CERT_FILE",
}
"""Where uv looks for what pip's configuration says; uv reads none of pip's."""


class Environment:
    """One virtual environment of the workspace."""

    def __init__(self, folder: Path, requirements: Path) -> None:
        self.folder = folder
        self.requirements = requirements
        self.python = folder / "bin" / "python"
        self.stamp = folder / STAMP

    def fingerprint(self) -> str:
        """Return a hash of everything that decides what is in the environment."""
        digest = hashlib.sha256(str(self.folder.resolve()).encode())
        for source in [
            Path(__file__),
            UV_PINS,
            self.requirements,
            *(member / "pyproject.toml" for member in members()),
            # Scripts are copied into the environment, however editable their package is.
            *(script for member in members() for script in sorted(member.glob("launcher/*"))),
        ]:
            digest.update(source.read_bytes())
        return digest.hexdigest()

    def is_current(self) -> bool:
        """Return whether the environment works and holds what it should."""
        return (
            self.stamp.is_file()
            and self.stamp.read_text(encoding="utf-8") == self.fingerprint()
            and self.python_works()
        )

    def python_works(self) -> bool:
        """Return whether the interpreter starts; an upgrade of the system may remove it."""
        try:
            subprocess.run([self.python, "-c", ""], check=True, timeout=60, capture_output=True)
        except (OSError, subprocess.SubprocessError):
            return False
        return True

    def build(self) -> None:
        """Create the environment if need be and install what is missing in it."""
        self.stamp.unlink(missing_ok=True)
        if not self.python_works():
            self.create()
        self.install_uv()
        self.install_pinned()
        self.install_members()
        self.stamp.write_text(self.fingerprint(), encoding="utf-8")

    def create(self) -> None:
        """Make a fresh virtual environment with pip in it."""
        version = ".".join(map(str, sys.version_info[:3]))
        say(f"making {self.folder.name} with Python {version}")
        shutil.rmtree(self.folder, ignore_errors=True)
        run("the virtual environment", [sys.executable, "-m", "venv", self.folder])

    def install_uv(self) -> None:
        """Install the pinned uv by pip, the one installer that is there."""
        say("installing uv")
        pip = [str(self.python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        run("uv", [*pip, "install", "--require-hashes", "-r", UV_PINS])

    def install_pinned(self) -> None:
        """Bring all third parties to the pinned releases, each checked against its hash."""
        say(f"installing {self.requirements.relative_to(ROOT)}")
        self.uv("the requirements", "sync", "--require-hashes", self.requirements)

    def install_members(self) -> None:
        """Install the members editable, built by the pinned backend rather than a fetched one."""
        say("installing the workspace's members")
        editable = [word for member in members() for word in ("--editable", str(member))]
        self.uv("the members", "install", "--no-deps", "--no-build-isolation", *editable)

    def uv(self, what: str, verb: str, *arguments: str | Path) -> None:
        """Run `uv pip` on this environment."""
        uv = self.folder / "bin" / "uv"
        command = [uv, "pip", verb, "--quiet", "--python", self.python, *arguments]
        run(what, command, self.pip_settings_for_uv())

    def pip_settings_for_uv(self) -> dict[str, str]:
        """Translate the index and certificates that pip is configured to use."""
        listing = subprocess.run(
            [self.python, "-m", "pip", "config", "list"],
            check=False,
            timeout=60,
            capture_output=True,
            text=True,
        ).stdout
        settings = dict(line.split("=", 1) for line in listing.splitlines() if "=" in line)
        return {
            PIP_TO_UV[name]: str(ast.literal_eval(value))
            for key, value in settings.items()
            if (name := key.rpartition(".")[2]) in PIP_TO_UV
        }


def members() -> list[Path]:
    """Return the folders of the workspace's members, in release order."""
    table = tomllib.loads((ROOT / "monorepo.toml").read_text(encoding="utf-8"))
    return [ROOT / package["path"] for package in table["packages"]]


def run(what: str, command: Sequence[str | Path], settings: dict[str, str] | None = None) -> None:
    """Run one step; what the user set in the environment beats `settings`."""
    try:
        subprocess.run(
            command,
            check=True,
            cwd=ROOT,
            timeout=LIMIT,
            stdin=subprocess.DEVNULL,
            env={**(settings or {}), **os.environ},
        )
    except subprocess.TimeoutExpired:
        fail(f"{what} took longer than {LIMIT:.0f} s: check the network, then run it again")
    except subprocess.CalledProcessError as error:
        fail(
            f"{what} could not be installed (exit status {error.returncode}, reason above): "
            "check the network, or name a package index in pip's configuration"
        )


def say(text: str) -> None:
    """Tell the user what happens now."""
    print(f"setup: {text}", flush=True)


def fail(text: str) -> NoReturn:
    """End with one sentence."""
    sys.exit(f"setup: {text}")


def main() -> None:
    """Read the command line and bring the environment up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=Path(".venv"))
    parser.add_argument("--requirements", type=Path, default=Path("requirements/dev.txt"))
    arguments = parser.parse_args()
    environment = Environment(ROOT / arguments.venv, ROOT / arguments.requirements)
    if environment.is_current():
        return
    environment.build()
    say(f"{arguments.venv} is ready")


if __name__ == "__main__":
    main()
