"""Where a signature is made, by threads of processes that may and may not be hastened."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from credproc.haste import on_another_cpu

MOVED = """
import os
from credproc import haste

if {hastened}:
    haste.hasten()
before = os.sched_getaffinity(0)
here = haste._present_cpu()
inside = {{}}

def work():
    inside["may"] = os.sched_getaffinity(0)
    inside["is"] = haste._present_cpu()
    {raising}
    return "signature"

try:
    print(haste.on_another_cpu(work))
except LookupError:
    print("raised")
print(sorted(inside["may"]) == sorted(before), here in inside["may"], inside["is"] in inside["may"])
print(os.sched_getaffinity(0) == before)
"""


def run(*, hastened: bool, raising: str = "") -> list[str]:
    """Return what a process of its own printed."""
    script = MOVED.format(hastened=hastened, raising=raising)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.splitlines()


several = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="needs two processors to move between"
)


@several
def test_the_thread_works_on_another_processor_and_may_go_back() -> None:
    """The narrowing lasts as long as the work."""
    assert run(hastened=True) == ["signature", "False False True", "True"]


@several
def test_it_may_go_back_after_an_error_too() -> None:
    """An error leaves nothing narrowed."""
    lines = run(hastened=True, raising='raise LookupError("the work failed")')
    assert lines == ["raised", "False False True", "True"]


def test_a_process_of_somebody_else_is_left_alone() -> None:
    """Programs that use the package as a library keep their threads where they are."""
    assert run(hastened=False)[0] == "signature"
    assert run(hastened=False)[2] == "True"
    here = os.sched_getaffinity(0)
    assert on_another_cpu(lambda: str(sorted(os.sched_getaffinity(0)))) == str(sorted(here))


def test_on_a_single_processor_the_thread_stays() -> None:
    """There is nowhere to go, and the work is done all the same."""
    script = "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n" + MOVED.format(
        hastened=True, raising=""
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.splitlines() == ["signature", "True True True", "True"]
