"""What suits the interpreter and the system's scheduler to a run of 30 ms."""

from __future__ import annotations

import posix
import sys

from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SWITCH_INTERVAL = 0.0002
"""Seconds after which another thread gets its turn."""
CPU_FIELD = 38
"""Where `proc(5)` has a thread's processor, counted from 0."""

_hastened: list[bool] = []


def hasten() -> None:
    """Suit this process to a short run; only for one that is nobody else's.

    Collecting garbage would take longer than to leave it lie, and the thread that connects must
    not wait 5 ms, as it does by default, each time it has something to say to the network.
    """
    import gc  # nobody else needs it

    gc.disable()
    sys.setswitchinterval(SWITCH_INTERVAL)
    _hastened.append(True)


def on_another_cpu(work: Callable[[], str]) -> str:
    """Return what `work` returns, done on another processor than this thread is on.

    An RSA-4096 signature takes as long as a TLS handshake, and both let go of the interpreter. But
    the system wakes the thread that shakes hands on the processor of the one that wakes it, and
    spreads the two only after several milliseconds: one would wait for the other.

    In a process that `hasten` was not called for, where the system does not tell, or where there is
    no other processor, the thread stays where it is.
    """
    allowed = _other_cpus() if _hastened else None
    if allowed is None:
        return work()
    everywhere, others = allowed
    try:
        posix.sched_setaffinity(0, others)
    except OSError:
        return work()
    try:
        return work()
    finally:
        _allow(everywhere)


def _allow(processors: set[int]) -> None:
    try:
        posix.sched_setaffinity(0, processors)
    except OSError:  # they have been taken from this process meanwhile; what is left will do
        return


def _other_cpus() -> tuple[set[int], set[int]] | None:
    """Return the processors this thread may use, and those without the one it is on."""
    try:
        everywhere = posix.sched_getaffinity(0)
        others = everywhere - {_present_cpu()}
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    return (everywhere, others) if others else None


def _present_cpu() -> int:
    descriptor = posix.open("/proc/thread-self/stat", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        # The second field is the program's name in parentheses, which may contain blanks.
        after_name = posix.read(descriptor, 4096).rpartition(b")")[2]
    finally:
        posix.close(descriptor)
    return int(after_name.split()[CPU_FIELD - 2])
