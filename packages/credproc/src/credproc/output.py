"""What credential-process does: obtain, then print."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from credproc.obtain import obtain

if TYPE_CHECKING:
    from credproc.options import SessionOptions


def print_credentials(options: SessionOptions) -> int:
    """Print the session's credentials as JSON, the only thing that ever reaches standard output."""
    sys.stdout.write(obtain(options).to_json() + "\n")
    sys.stdout.flush()
    return 0
