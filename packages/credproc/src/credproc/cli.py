"""The command: reads the line, runs what it says, turns errors into one line and an exit code.

Subcommands live in `credproc.commands`, one module each, and register themselves:

    def register(commands: Commands) -> None:
        parser = commands.add_parser("serve", help="...")
        parser.set_defaults(run=run)

    def run(arguments: argparse.Namespace) -> int: ...
"""

from __future__ import annotations

import os
import sys

from credproc.arguments import COMMAND, read_quickly
from credproc.errors import CredprocError, UsageError
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import NoReturn, TypeAlias

    Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001

INTERRUPTED = 130


def run(words: Sequence[str] | None = None) -> int:
    """Run the command that `words` say and return its exit code."""
    line = list(sys.argv[1:] if words is None else words)
    return guarded(lambda: dispatch(line), debug="--debug" in line or "--debug=true" in line)


def guarded(call: Callable[[], int], *, debug: bool) -> int:
    """Return what `call` returns; an error becomes one line on standard error and its exit code."""
    try:
        return call()
    except KeyboardInterrupt:
        return INTERRUPTED
    except CredprocError as error:
        show_traceback(debug)
        print_error(str(error))
        return error.exit_code
    except BrokenPipeError:
        # Whoever read the output has gone; the interpreter must not complain about that at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort: never a traceback by itself
        show_traceback(debug)
        print_error(f"unexpected {type(error).__name__}; run it again with --debug and report it")
        return 1


def print_error(message: str) -> None:
    """Write one line to standard error."""
    print(f"credproc: {message}", file=sys.stderr)  # noqa: T201 - this is a command


def show_traceback(wanted: bool) -> None:  # noqa: FBT001
    """Write where an error came from, without the values of variables."""
    if wanted:
        import traceback

        traceback.print_exc(file=sys.stderr)


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
    words = list(line)
    if words and words[0] not in names and words[0] not in ("-h", "--help"):
        words.insert(0, COMMAND)
    arguments = parser.parse_args(words)
    handler: Callable[[argparse.Namespace], int] | None = getattr(arguments, "run", None)
    if handler is None:
        parser.print_help(sys.stderr)
        raise UsageError("no command given", remedy="see the list above")
    return handler(arguments)


def main() -> NoReturn:
    """Run the command and exit with its code."""
    sys.exit(run())
