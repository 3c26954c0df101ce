"""What credential-process does: obtain, then print."""

from __future__ import annotations

import sys

from credproc.files import warn_if_open
from credproc.light import TYPE_CHECKING
from credproc.obtain import obtain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from credproc.options import SessionOptions


def print_credentials(
    options: SessionOptions, words: Sequence[str] | None = None, config: str | None = None
) -> int:
    """Print the session's credentials as JSON, the only thing that ever reaches standard output.

    Args:
        options: What decides the session.
        words: The command line; this process's own if None.
        config: The file of named profiles, if the line names one.
    """
    credentials = obtain(options, words=sys.argv[1:] if words is None else words, config=config)
    warn_if_open(options.private_key or options.certificate)
    sys.stdout.write(credentials.to_json() + "\n")
    sys.stdout.flush()
    return 0
