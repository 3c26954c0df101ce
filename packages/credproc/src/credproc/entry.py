"""The console entry: answers from the cache if it can, else hands over to `credproc.cli`."""

import posix
import sys

from credproc.shortcut import cached_answer, write_out


def main() -> int:
    """Run the command and return its exit code."""
    answer = cached_answer(sys.argv[1:])
    if answer is not None and write_out(answer):
        return 0
    complete_path()
    from credproc.cli import run  # costs ten times what stands above

    return run()


def complete_path() -> None:
    """Let Python process what `-S` left out, where our dependency is not beside us."""
    try:
        posix.stat(__file__.rpartition("/credproc/")[0] + "/cryptography")
    except OSError:
        import site

        site.main()
