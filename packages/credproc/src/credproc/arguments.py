"""The command line's session flags: a quick reading for the usual form, argparse for the rest."""

from __future__ import annotations

from credproc.flags import BY_NAME, FLAGS, NUMBER, SWITCH, Flag
from credproc.light import TYPE_CHECKING
from credproc.options import FALSE, TRUE, Value, build

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from credproc.cli import Commands
    from credproc.options import SessionOptions

COMMAND = "credential-process"


def read_quickly(words: Sequence[str]) -> dict[str, Value] | None:
    """Return the flags of a well-formed `credential-process` line, by field name.

    argparse takes longer than signing does. So whatever is unusual (help, another command, a
    mistake) gives None here, and argparse has the say.
    """
    rest = list(words)
    if rest and rest[0] == COMMAND:
        del rest[0]
    if not rest:
        return None
    rest.reverse()
    found: dict[str, Value] = {}
    while rest:
        name, equals, value = rest.pop().partition("=")
        flag = BY_NAME.get(name.removeprefix("--")) if name.startswith("--") else None
        if flag is None:
            return None
        if flag.kind == SWITCH:
            found[flag.field] = value if equals else True
        elif equals:
            found[flag.field] = value
        elif rest and not rest[-1].startswith("--"):
            found[flag.field] = rest.pop()
        else:
            return None
    return found


def bare_switches(words: Sequence[str]) -> list[str]:
    """Return a line in which no switch takes a word that follows it and is no truth value.

    `--debug onprem` means the profile; `--debug false` is ours, as `--debug=false` is of Go.
    """
    switches = {f"--{flag.name}" for flag in FLAGS if flag.kind == SWITCH}
    following = [*words[1:], "--"]
    return [
        f"{word}=true" if word in switches and after.lower() not in (*TRUE, *FALSE) else word
        for word, after in zip(words, following, strict=True)
    ]


def add_switch(parser: argparse.ArgumentParser | argparse._ArgumentGroup, flag: Flag) -> None:
    """Add a flag that stands alone or is followed by true or false; see `bare_switches`."""
    import argparse

    parser.add_argument(
        f"--{flag.name}",
        dest=flag.field,
        nargs="?",
        const="true",
        metavar="true|false",
        default=argparse.SUPPRESS,
        help=flag.help,
    )


def add_session_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that credential-process, serve and update share."""
    import argparse  # see above

    group = parser.add_argument_group("session")
    for flag in FLAGS:
        if flag.kind == SWITCH:
            add_switch(group, flag)
            continue
        group.add_argument(
            f"--{flag.name}",
            dest=flag.field,
            type=int if flag.kind == NUMBER else str,
            choices=flag.choices or None,
            metavar=None if flag.choices else flag.metavar,
            default=argparse.SUPPRESS,
            help=flag.help,
        )


def add_named_command(
    commands: Commands, name: str, *, summary: str, description: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    """Add a command that takes the name of a profile, and return its parser.

    The session's flags are left to `add_session_flags`, since a command's own stand before them.

    Args:
        commands: Where to.
        name: The command's.
        summary: What it does, in the list of all commands.
        description: The same at the top of its own help, printed as it stands.
        epilog: What stands below the flags, printed as it stands.
    """
    import argparse

    from credproc.profiles import USUAL_FILE

    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("named", nargs="?", metavar="PROFILE", help=f"an entry of {USUAL_FILE}")
    return parser


def add_writing_command(
    commands: Commands,
    name: str,
    *,
    summary: str,
    description: str,
    profile: str,
    file: str,
    switch: tuple[str, str],
) -> argparse.ArgumentParser:
    """Add a command that writes a profile into a file of AWS's, and return its parser.

    Args:
        commands: Where to.
        name: The command's.
        summary: What it does, in the list of all commands.
        description: The same at the top of its own help, printed as it stands.
        profile: The profile of the examples.
        file: What AWS calls the file.
        switch: The name of its own flag, and what that does.
    """
    flag, effect = switch
    parser = add_named_command(
        commands,
        name,
        summary=summary,
        description=description,
        epilog=f"""\
examples:
  credproc {name} onprem --profile {profile} {flag}
  credproc {name} --profile {profile} --certificate host.pem --private-key host.key \\
      --trust-anchor-arn ARN --profile-arn ARN --role-arn ARN
""",
    )
    parser.add_argument(
        "--profile",
        dest="aws_profile",
        metavar="NAME",
        default="default",
        help=f"profile of the {file} (default)",
    )
    parser.add_argument(flag, action="store_true", help=effect)
    add_session_flags(parser)
    return parser


def session_flags(namespace: argparse.Namespace) -> dict[str, Value]:
    """Return the session flags that were given, by field name."""
    given = vars(namespace)
    return {flag.field: given[flag.field] for flag in FLAGS if flag.field in given}


def session_options(namespace: argparse.Namespace) -> SessionOptions:
    """Return the options of a command that took `add_session_flags`.

    A positional argument or flag whose destination is `named` names a profile of the TOML file.

    Raises:
        UsageError: They cannot work as written.
    """
    import os

    named = getattr(namespace, "named", None)
    profile = None
    if named:
        from credproc.profiles import load_profile

        profile = load_profile(named, os.environ)
    return build(session_flags(namespace), os.environ, profile)
