"""On a machine that lacks something, setting up says in one sentence what to install."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

OLD_PYTHON = "#!/bin/sh\nexit 1\n"
PYTHON_WITHOUT_VENV = """#!/bin/sh
case "$2" in
    *"version_info[:2]"*) echo python3.11-venv ;;
    *ensurepip*) exit 1 ;;
esac
"""


class Machine:
    """A machine with nothing on its PATH but what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.add_tools("dirname", "id")

    def add_tools(self, *names: str) -> None:
        """Make programs of this machine available."""
        for name in names:
            found = shutil.which(name)
            assert found, name
            (self.folder / name).symlink_to(found)

    def add_program(self, name: str, text: str) -> None:
        """Install a small shell script as a program."""
        program = self.folder / name
        program.write_text(text)
        program.chmod(0o755)

    def set_up(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the bootstrap script as `make setup` would."""
        return subprocess.run(
            ["/bin/sh", ROOT / "scripts" / "bootstrap"],
            env={"PATH": str(self.folder), **variables},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine with a shell and next to nothing else."""
    return Machine(tmp_path)


def test_no_python_at_all(machine: Machine) -> None:
    """Without any Python, the sentence names what to install."""
    done = machine.set_up()
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "no Python 3.11 or newer found: install python3 and python3-venv" in done.stderr


def test_python_too_old(machine: Machine) -> None:
    """A Python that is too old counts as none."""
    machine.add_program("python3", OLD_PYTHON)
    done = machine.set_up()
    assert done.returncode == 1
    assert "no Python 3.11 or newer found" in done.stderr


def test_no_other_python_takes_the_place_of_a_named_one(machine: Machine) -> None:
    """What PYTHON names and cannot be used ends the set-up, whatever else there is."""
    machine.add_program("python3", "#!/bin/sh\nexit 0\n")
    machine.add_program("python3.9", OLD_PYTHON)
    for name in ("python3.9", "python3.99"):
        done = machine.set_up(PYTHON=name)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert f"PYTHON names {name}, which is no Python 3.11 or newer that starts" in done.stderr
    assert machine.set_up(PYTHON="python3").returncode == 0


def test_python_without_venv_and_no_apt(machine: Machine) -> None:
    """Where venv is missing and cannot be installed, the sentence names the package."""
    machine.add_program("python3", PYTHON_WITHOUT_VENV)
    done = machine.set_up()
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "install python3.11-venv (apt-get install python3.11-venv)" in done.stderr


def test_python_without_venv_gets_it_by_apt(machine: Machine, tmp_path: Path) -> None:
    """Where packages may be installed, the missing one is, and setting up goes on."""
    installed = tmp_path / "installed"
    machine.add_tools("env", "timeout", "true")
    for name in ("sudo", "apt-get"):
        shift = 'shift; exec "$@"' if name == "sudo" else f'echo "$@" >> {installed}'
        machine.add_program(name, f"#!/bin/sh\n{shift}\n")
    machine.add_program("python3", PYTHON_WITHOUT_VENV)
    done = machine.set_up()
    assert done.returncode == 0, done.stderr
    assert installed.read_text().split()[-1] == "python3.11-venv"
