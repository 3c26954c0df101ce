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
    directory: str


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "cache",
        help="list or clear the cached sessions",
        description="List the cached sessions of this user, without their secrets, or forget them, "
        "in all places where they may be.",
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

    caches = _open(arguments.cache_dir)
    entries = [entry for cache in caches for entry in _entries(cache)]
    places = [cache.directory for cache in caches]
    if arguments.json:
        document = {
            "directory": places[0] if places else None,
            "directories": places,
            "sessions": [entry._asdict() for entry in entries],
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return 0
    for entry in entries:
        sys.stdout.write(
            f"{entry.access_key_id:<20}  {entry.state:<7}  {entry.seconds_left:>6} s left  "
            f"until {entry.expires_at}  {entry.key[:12]}\n"
        )
    if not entries:
        sys.stdout.write(f"no sessions in {', '.join(places) or 'any cache'}\n")
    return 0


def run_clear(arguments: argparse.Namespace) -> int:
    """Forget all sessions and say how many there were."""
    import json
    import sys

    caches = _open(arguments.cache_dir)
    count = sum(cache.clear() for cache in caches)
    if arguments.json:
        places = [cache.directory for cache in caches]
        document = {
            "directory": places[0] if places else None,
            "directories": places,
            "cleared": count,
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        sys.stdout.write(f"cleared {count} session{'' if count == 1 else 's'}\n")
    return 0


def _open(directory: str | None) -> list[SessionCache]:
    """Return the cache that is named, or all that are in the places where one may be.

    All: where the next run looks depends on variables such as XDG_RUNTIME_DIR, which differ between
    a login and a job of cron.
    """
    import os

    from credproc import shortcut
    from credproc.cache import SessionCache, open_cache
    from credproc.options import SessionOptions

    chosen = directory or os.environ.get("CREDPROC_CACHE_DIR") or None
    if chosen is not None:
        options = SessionOptions(role_arn="", profile_arn="", trust_anchor_arn="", cache_dir=chosen)
        named = open_cache(options, os.environb)
        return [named] if named is not None else []
    places = filter(shortcut.is_private_directory, shortcut.directories(dict(os.environb)))
    return [SessionCache(os.fsdecode(place)) for place in dict.fromkeys(places)]


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
                directory=cache.directory,
            )
        )
    return found
