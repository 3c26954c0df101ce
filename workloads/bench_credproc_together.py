"""Runs one credproc command in many processes at the very same moment.

They are forked from a process that has imported everything, so that what is measured is the waiting
for each other and not as many interpreters that start on a few cores.

    python bench_credproc_together.py HOW_MANY ARGUMENT...

Each line it prints is JSON: exit code, when that process began and ended by the monotonic clock,
and the access key's id that it was given (null without one).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time

import credproc.answer
import credproc.cli
import credproc.create_session
import credproc.identity.libcrypto
import credproc.obtain
import credproc.output
import credproc.quick_json
import credproc.remembering
import credproc.tls


def ask(arguments: list[str]) -> bytes:
    """Run the command and return the line about it."""
    begun, out = time.monotonic(), io.StringIO()
    with contextlib.redirect_stdout(out):
        code = credproc.cli.run(arguments)
    ended = time.monotonic()
    document = json.loads(out.getvalue() or "{}")
    return (json.dumps([code, begun, ended, document.get("AccessKeyId")]) + "\n").encode()


def main(many: int, arguments: list[str]) -> None:
    """Fork, wait until all are ready, let them go, print what they say."""
    ready, go, said = os.pipe(), os.pipe(), os.pipe()
    for _ in range(many):
        if os.fork() == 0:
            os.write(ready[1], b".")
            os.close(go[1])
            os.read(go[0], 1)
            os.write(said[1], ask(arguments))
            os._exit(0)
    for _ in range(many):
        os.read(ready[0], 1)
    os.close(go[0])
    os.close(go[1])  # the end of the file is everybody's sign
    os.close(said[1])
    with os.fdopen(said[0]) as lines:
        sys.stdout.writelines(lines)
    for _ in range(many):
        os.wait()


main(int(sys.argv[1]), sys.argv[2:])
