"""`credproc completion`."""

from __future__ import annotations

from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from credproc.cli import Commands

SHELLS = ("bash", "zsh", "fish")

DESCRIPTION = """\
Print a script that lets a shell complete commands, flags and file names.
"""

EPILOG = """\
examples:
  credproc completion bash > ~/.local/share/bash-completion/completions/credproc
  credproc completion zsh > "${fpath[1]}/_credproc"
  credproc completion fish > ~/.config/fish/completions/credproc.fish
"""


def register(commands: Commands) -> None:
    """Add the command."""
    import argparse

    parser = commands.add_parser(
        "completion",
        help="print a completion script for a shell",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")
    parser.set_defaults(run=lambda arguments: run(commands, arguments.shell))


def run(commands: Commands, shell: str) -> int:
    """Print the script that completes `commands` in `shell`."""
    import argparse
    import sys

    import shtab

    from credproc.arguments import add_session_flags

    parser = argparse.ArgumentParser(prog="credproc")
    parser._add_action(commands)  # noqa: SLF001 - argparse has no way to share subcommands
    # The command's name may be left out before session flags.
    add_session_flags(parser)
    for action in _actions(parser):
        if action.metavar == "PATH":
            action.complete = shtab.FILE  # type: ignore[attr-defined] # where shtab looks for it
    sys.stdout.write(shtab.complete(parser, shell=shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    import argparse

    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to list them
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                yield from _actions(command)
