"""`credproc serve`."""

from __future__ import annotations

from credproc.arguments import add_named_command, add_session_flags, session_options
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from credproc.cli import Commands
    from credproc.options import SessionOptions
    from credproc.secret import Secret

PORT = 9911
HOP_LIMIT = 64

DESCRIPTION = """\
Hand out credentials on 127.0.0.1 as the instance metadata of EC2 (IMDSv2)
and, given a token, as the container credentials endpoint. Sessions are
renewed ahead of time. Ends on SIGTERM and Ctrl-C.
"""

EPILOG = """\
examples:
  credproc serve onprem
  credproc serve onprem --port 9912 --container-token-file /run/app/token
"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_named_command(
        commands,
        "serve",
        summary="hand out credentials on a local endpoint",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("--port", type=_number(0, 65535), default=PORT, help=f"port ({PORT})")
    parser.add_argument(
        "--hop-limit",
        type=_number(1, 255),
        default=HOP_LIMIT,
        metavar="HOPS",
        help=f"IP time to live of answers ({HOP_LIMIT})",
    )
    parser.add_argument(
        "--container-token-file",
        metavar="PATH",
        help="also serve container credentials to who shows the token in this file; made if "
        "missing (CREDPROC_CONTAINER_TOKEN gives the token itself)",
    )
    add_session_flags(parser)
    parser.set_defaults(run=run)


def _number(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise ValueError
        return value

    return number


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from credproc.asking import with_password
    from credproc.termination import leaving_on_signals

    options = with_password(session_options(arguments))
    with leaving_on_signals():
        _serve(options, arguments)
    return 0


def _serve(options: SessionOptions, arguments: argparse.Namespace) -> None:
    import os

    from credproc.obtain import obtain
    from credproc.serve.keeper import Keeper
    from credproc.serve.routes import Routes
    from credproc.serve.server import Server
    from credproc.telling import tell
    from credproc.termination import rest

    token = _container_token(arguments.container_token_file, os.environ)
    keeper = Keeper(lambda renew: obtain(options, renew=renew), tell)
    routes = Routes(keeper=keeper, role_arn=options.role_arn, container_token=token)
    server = Server(port=arguments.port, hop_limit=arguments.hop_limit, routes=routes)
    try:
        keeper.start()
        server.start()
        _announce(server.port, arguments.container_token_file, with_container=token is not None)
        rest()
    finally:
        server.stop()
        keeper.stop()


def _container_token(path: str | None, environ: Mapping[str, str]) -> Callable[[], Secret] | None:
    from pathlib import Path

    from credproc.serve.container_token import VARIABLE, from_file, from_value

    if path:
        return from_file(Path(path))
    if environ.get(VARIABLE):
        return from_value(environ[VARIABLE])
    return None


def _announce(port: int, token_file: str | None, *, with_container: bool) -> None:
    import shlex
    import sys
    from pathlib import Path

    from credproc.serve.routes import CONTAINER_PATH
    from credproc.serve.server import ADDRESS

    base = f"http://{ADDRESS}:{port}"
    lines = [f"serving on {base}; SDKs find it with one of", ""]
    lines.append(f"  export AWS_EC2_METADATA_SERVICE_ENDPOINT={base}/")
    if with_container:
        lines.append(f"  export AWS_CONTAINER_CREDENTIALS_FULL_URI={base}{CONTAINER_PATH}")
    if token_file:
        quoted = shlex.quote(str(Path(token_file).absolute()))
        lines.append(f"  export AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE={quoted}")
    sys.stderr.write("credproc: " + "\n".join(lines) + "\n\n")
    sys.stderr.flush()
