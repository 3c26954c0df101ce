"""The command: reads the line, runs what it says, turns errors into one line and an exit code.

Subcommands live in `credproc.commands`, one module each, and register themselves:

    def register(commands: Commands) -> None:
        parser = commands.add_parser("serve", help="...")
        parser.set_defaults(run=run)

    def run(arguments: argparse.Namespace) -> int: ...
"""

from __future__ import annotations

import errno
import os
import sys

from credproc.arguments import COMMAND, bare_switches, read_quickly
from credproc.errors import CacheError, CredprocError, UsageError
from credproc.light import TYPE_CHECKING
from credproc.telling import tell

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import NoReturn, TextIO, TypeAlias

    Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001

INTERRUPTED = 130
OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def run(words: Sequence[str] | None = None) -> int:
    """Run the command that `words` say and return its exit code."""
    line = list(sys.argv[1:] if words is None else words)
    return guarded(lambda: dispatch(line), debug="--debug" in line or "--debug=true" in line)


def guarded(call: Callable[[], int], *, debug: bool) -> int:
    """Return what `call` returns; an error becomes one line on standard error and its exit code."""
    try:
        return with_output(call)
    except KeyboardInterrupt:
        flush_quietly()
        return INTERRUPTED
    except CredprocError as error:
        flush_quietly()
        show_traceback(debug)
        tell(str(error))
        return error.exit_code
    except BrokenPipeError:
        drop_output()  # whoever read it has gone
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort: never a traceback by itself
        flush_quietly()
        show_traceback(debug)
        name = type(error).__name__
        tell(f"unexpected {name}; run it again with --debug and report it")
        return 1


def with_output(call: Callable[[], int]) -> int:
    """Return what `call` returns, after all that it has written to standard output has gone there.

    At exit nobody could say any more what is wrong with it.

    Raises:
        CacheError: Standard output is closed, or takes nothing.
    """
    output: TextIO | None = sys.stdout
    if output is None:
        raise CacheError("standard output is closed", remedy="start credproc with it open")
    try:
        code = _returned(call)
        output.flush()
    except OSError as error:
        if error.filename is not None or error.errno not in OUTPUT_ERRORS:
            raise
        drop_output()
        raise CacheError(
            f"standard output cannot be written: {error.strerror}", remedy="see where it leads"
        ) from None
    return code


def _returned(call: Callable[[], int]) -> int:
    try:
        return call()
    except SystemExit as left:  # argparse does so after --help
        return left.code if isinstance(left.code, int) else 1


def flush_quietly() -> None:
    """Let out what was written before an error; the launcher leaves without doing so."""
    output: TextIO | None = sys.stdout
    try:
        if output is not None:
            output.flush()
    except OSError:
        drop_output()


def drop_output() -> None:
    """Have the interpreter complain no more at exit about what it cannot write."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_traceback(wanted: bool) -> None:  # noqa: FBT001
    """Write where an error came from, without the values of variables."""
    if wanted:
        import traceback

        for line in traceback.format_exc().strip().split("\n"):
            tell(line)


def dispatch(line: Sequence[str]) -> int:
    """Run `line`, by the short way if it is a plain credential-process line."""
    flags = read_quickly(line)
    if flags is not None:
        from credproc.haste import hasten
        from credproc.options import build
        from credproc.output import print_credentials

        hasten()
        return print_credentials(build(flags, os.environ), line)
    return run_subcommand(line)


def run_subcommand(line: Sequence[str]) -> int:
    """Let argparse read `line`."""
    from credproc.parser import build_parser

    parser, names = build_parser()
    words = bare_switches(line)
    if words and words[0] not in names and words[0] not in ("-h", "--help"):
        words.insert(0, COMMAND)
    arguments, unknown = parser.parse_known_args(words)
    if unknown:
        # By name alone: what follows may be a password.
        flags = [word.partition("=")[0] for word in unknown if word.startswith("-")]
        raise UsageError(
            f"unknown: {' '.join(flags or unknown)}", remedy=f"see {parser.prog} --help"
        )
    handler: Callable[[argparse.Namespace], int] | None = getattr(arguments, "run", None)
    if handler is None:
        parser.print_help(sys.stderr)
        raise UsageError("no command given", remedy="see the list above")
    return handler(arguments)


def main() -> NoReturn:
    """Run the command and exit with its code."""
    sys.exit(run())
