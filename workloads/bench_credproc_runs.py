"""Starts commands by turns and prints what each run took.

A process of its own that imports next to nothing: the peak memory that the system reports for a
program is never below that of the process that started it.

    python -I -S bench_credproc_runs.py ROUNDS NAME COMMAND [ARGUMENT...] -- NAME COMMAND ...

Each line it prints: name, seconds from start to reaping, peak memory in KiB, exit status.
"""

import posix
import sys
import time


def measure(command: list[str], quiet: int) -> tuple[float, int, int]:
    """Run one command and return seconds, peak memory in KiB and its exit status."""
    actions = [(posix.POSIX_SPAWN_DUP2, quiet, 1)]
    begun = time.perf_counter()
    child = posix.posix_spawn(command[0], command, posix.environ, file_actions=actions)
    _, status, usage = posix.wait4(child, 0)
    return time.perf_counter() - begun, usage.ru_maxrss, posix.waitstatus_to_exitcode(status)


def main(words: list[str]) -> None:
    """Run all commands in each round; the first round warms up and does not count."""
    commands: dict[str, list[str]] = {}
    name = ""
    for word in words[1:]:
        if word == "--":
            name = ""
        elif not name:
            name = word
            commands[name] = []
        else:
            commands[name].append(word)
    quiet = posix.open("/dev/null", posix.O_WRONLY)
    for turn in range(int(words[0]) + 1):
        for label, command in commands.items():
            seconds, memory, status = measure(command, quiet)
            if turn or status:
                print(label, seconds, memory, status)


main(sys.argv[1:])
