"""Records what a process asks of its broker: each method on a channel, as a line of JSON.

It does where PERMISSIONS_TRACE names a file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from amqp.abstract_channel import AbstractChannel

VARIABLE = "PERMISSIONS_TRACE"
_STATE: dict[str, Path] = {}


def install(*, always: bool = False) -> None:
    """Begin to record, if a file is named, once."""
    if VARIABLE in os.environ:
        record_to(Path(os.environ[VARIABLE]))
    if (not always and VARIABLE not in os.environ) or "installed" in _STATE:
        return
    _STATE["installed"] = Path()
    send: Any = AbstractChannel.send_method

    def recording(self: Any, sig: Any, *arguments: Any, **options: Any) -> Any:
        asked = [argument for argument in arguments if isinstance(argument, tuple)][:1]
        known = options.get("args") or (asked[0] if asked else ())
        if "file" in _STATE:
            with _STATE["file"].open("a") as record:
                record.write(json.dumps([list(sig), list(known)], default=str) + "\n")
        return send(self, sig, *arguments, **options)

    AbstractChannel.send_method = recording


def record_to(file: Path) -> None:
    """Record in this file from now on."""
    _STATE["file"] = file
