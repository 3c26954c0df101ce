"""`credproc cache list` and `credproc cache clear`."""

from __future__ import annotations

from credproc.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import argparse

    from credproc.cache import SessionCache
    from credproc.cli import Commands


class Entry(NamedTuple):
    """What may be told of a cached session."""

    key: str
    access_key_id: str
    state: str
    expires_at: str
    seconds_left: int


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "cache",
        help="list or clear the cached sessions",
        description="List the cached sessions of this user, without their secrets, or forget them.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, text, run in (
        ("list", "list the cached sessions", run_list),
        ("clear", "forget all cached sessions", run_clear),
    ):
        action = actions.add_parser(name, help=text, description=text.capitalize() + ".")
        action.add_argument("--json", action="store_true", help="print as JSON")
        action.add_argument("--cache-dir", metavar="PATH", help="directory of the cache")
        action.set_defaults(run=run)


def run_list(arguments: argparse.Namespace) -> int:
    """Print one line for each session."""
    import json
    import sys

    cache = _open(arguments.cache_dir)
    entries = _entries(cache) if cache else []
    directory = cache.directory if cache else None
    if arguments.json:
        document = {"directory": directory, "sessions": [entry._asdict() for entry in entries]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return 0
    for entry in entries:
        sys.stdout.write(
            f"{entry.access_key_id:<20}  {entry.state:<7}  {entry.seconds_left:>6} s left  "
            f"until {entry.expires_at}  {entry.key[:12]}\n"
        )
    if not entries:
        sys.stdout.write(f"no sessions in {directory or 'any cache'}\n")
    return 0


def run_clear(arguments: argparse.Namespace) -> int:
    """Forget all sessions and say how many there were."""
    import json
    import sys

    cache = _open(arguments.cache_dir)
    count = cache.clear() if cache else 0
    if arguments.json:
        document = {"directory": cache.directory if cache else None, "cleared": count}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        sys.stdout.write(f"cleared {count} session{'' if count == 1 else 's'}\n")
    return 0


def _open(directory: str | None) -> SessionCache | None:
    import os

    from credproc.cache import open_cache
    from credproc.options import SessionOptions

    chosen = directory or os.environ.get("CREDPROC_CACHE_DIR") or None
    options = SessionOptions(role_arn="", profile_arn="", trust_anchor_arn="", cache_dir=chosen)
    return open_cache(options, os.environb)


def _entries(cache: SessionCache) -> list[Entry]:
    import time

    now = time.time()
    found = []
    keys = cache.keys()
    for key in keys:
        session = cache.load(key)
        if session is None:
            continue
        left = int(session.credentials.remaining(now))
        state = "fresh" if session.is_fresh(now) else "stale" if left > 0 else "expired"
        found.append(
            Entry(
                key=key,
                access_key_id=session.credentials.access_key_id,
                state=state,
                expires_at=session.credentials.expiration_text,
                seconds_left=max(0, left),
            )
        )
    return found
