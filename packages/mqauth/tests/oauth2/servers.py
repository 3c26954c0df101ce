"""Servers on loopback that answer as no issuer should."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

Answer = tuple[int, dict[str, str], bytes]


class Server:
    """Answers HTTP on loopback with whatever a test wants, and remembers what was asked."""

    def __init__(self, answer: Callable[[str], Answer], *, reason: str | None = None) -> None:
        """Listen; `answer` gets the path, `reason` follows the status."""
        self._reason = reason
        self.requests: list[tuple[str, str | None]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(answer))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _handler(self, answer: Callable[[str], Answer]) -> type[BaseHTTPRequestHandler]:
        requests, reason = self.requests, self._reason

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                requests.append((self.path, self.headers.get("Authorization")))
                status, headers, body = answer(self.path)
                self.send_response_only(status, reason)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST

        return Handler


class Serve(Protocol):
    """Starts servers for the time of a test."""

    def __call__(self, answer: Callable[[str], Answer], *, reason: str | None = None) -> Server:
        """Start one; see `Server`."""
        ...


def as_json(content: object, status: int = 200, **headers: str) -> Answer:
    """Return a JSON answer; underscores in header names become dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": "application/json", **named}, json.dumps(content).encode()
