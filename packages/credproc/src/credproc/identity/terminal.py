"""Asks for a password on the terminal, and waits no longer than there is time.

`getpass` would wait for ever, and with it all who wait for the same session.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import threading

from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any

    from credproc.deadline import Deadline

LONGEST = 4096
# Non-blocking, as output that somebody has stopped (Ctrl-S) would outlast every limit.
_OPEN = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK
_DEADLY = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM)


def typed(prompt: str, deadline: Deadline) -> str:
    """Return the line that somebody types without seeing it.

    The terminal echoes again afterwards, however this ends, but for SIGKILL; what was typed and not
    taken is dropped, so that no half of a password lands in the shell. Ctrl-Z does not stop the
    process meanwhile: the shell would have the terminal echo again, and leave it so.

    Args:
        prompt: What is asked.
        deadline: When the wait ends.

    Raises:
        OSError: There is no terminal to ask on.
        TimeoutError: Nobody has typed a line in time.
        EOFError: Nobody is there any more, or wants to.
    """
    descriptor = os.open("/dev/tty", _OPEN)
    try:
        before = _silenced(descriptor)
        try:
            with _dying_after(lambda: _restore(descriptor, before)), _signals_wake() as woken:
                _show(descriptor, prompt.encode(errors="backslashreplace"))
                return _line(descriptor, woken, deadline)
        finally:
            _restore(descriptor, before)
            _show(descriptor, b"\n")
    finally:
        os.close(descriptor)


def _silenced(descriptor: int) -> list[Any]:
    """Have a terminal echo nothing and stop nobody, and return how it was before."""
    try:
        before = termios.tcgetattr(descriptor)
        silent = [*before[:6], [*before[6]]]
        silent[3] &= ~termios.ECHO
        silent[6][termios.VSUSP] = bytes([os.fpathconf(descriptor, "PC_VDISABLE")])
        # Not TCSAFLUSH, which waits until all output is shown.
        termios.tcsetattr(descriptor, termios.TCSANOW, silent)
        termios.tcflush(descriptor, termios.TCIFLUSH)
    except termios.error as error:
        raise OSError(*error.args) from None
    return before


def _restore(descriptor: int, before: list[Any]) -> None:
    with contextlib.suppress(termios.error, OSError):  # it may be gone
        if os.tcgetpgrp(descriptor) == os.getpgrp():  # else it is the shell's, which has set it
            termios.tcflush(descriptor, termios.TCIFLUSH)
            termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _show(descriptor: int, text: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody sees it, or nobody is there, which reading tells
        os.write(descriptor, text)


@contextlib.contextmanager
def _dying_after(tidy: Callable[[], None]) -> Iterator[None]:
    """Have the signals that would end the process here do so after `tidy`.

    Those that the process handles or ignores are left as they are, and in other threads than the
    main one all are: Python lets no other handle them.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        tidy()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # this thread may have it blocked

    taken = []
    if threading.current_thread() is threading.main_thread():
        taken = [number for number in _DEADLY if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in taken:
            signal.signal(number, end)
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def _signals_wake() -> Iterator[list[int]]:
    """Have each signal write to the pipe whose end is returned, where nothing else is told of them.

    Python runs a handler before or after it waits. A signal that comes between its last look and
    the wait would not be seen before the wait ends.
    """
    if threading.current_thread() is not threading.main_thread():  # no handler runs there
        yield []
        return
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        try:
            if before != -1:  # whoever set it waits for it
                signal.set_wakeup_fd(before)
            yield [reading]
        finally:
            signal.set_wakeup_fd(before)
    finally:
        os.close(reading)
        os.close(writing)


def _line(descriptor: int, woken: list[int], deadline: Deadline) -> str:
    line = b""
    while not line.endswith(b"\n"):
        awaited = [descriptor, *woken]
        ready, _, _ = select.select(awaited, [], [], max(0.0, deadline.remaining()))
        if not ready:
            raise TimeoutError
        if descriptor not in ready:  # by now Python has run the signal's handler, which let it live
            os.read(woken[0], LONGEST)
            continue
        try:
            piece = os.read(descriptor, LONGEST)
        except BlockingIOError:  # another reader was faster
            continue
        if not piece:
            raise EOFError
        line += piece
    return line.decode("utf-8", "replace").removesuffix("\n")
