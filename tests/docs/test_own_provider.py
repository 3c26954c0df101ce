"""A third party's provider, exactly as documented, is installed and signs in to a real broker."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mqauth_sandbox import Sandbox
from mqauth_sandbox.oidc import OidcIssuer
from tests.docs.conftest import inherited
from tests.docs.documents import ROOT, blocks

CORE = ROOT / "packages" / "mqauth" / "README.md"
KEY = "key-of-the-metadata-service"
SIGN_IN = """
import sys
import celery_mqauth
import kombu

with kombu.Connection(sys.argv[1]) as connection:
    print(connection.connect().connected)
"""


class Metadata(BaseHTTPRequestHandler):
    """What the example calls Acme's metadata service."""

    issuer: OidcIssuer

    def do_GET(self) -> None:
        """Answer with a token, to those who have the key."""
        known = self.headers["Authorization"] == f"Bearer {KEY}"
        content = {"token": self.issuer.mint(lifetime=30), "expires_in": 30} if known else {}
        body = json.dumps(content).encode()
        self.send_response(200 if known else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@pytest.fixture
def url(mqauth_issuer: OidcIssuer) -> Iterator[str]:
    """The URL of a running metadata service."""
    handler = type("Handler", (Metadata,), {"issuer": mqauth_issuer})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="metadata")
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()
        thread.join(5)


@pytest.fixture
def usage(tmp_path: Path, url: str) -> str:
    """The documented use of the provider, which is installed in `tmp_path` as documented."""
    section = [b for b in blocks(CORE) if b.section == "Write your own provider"]
    code, metadata, usage = section
    file = code.text.splitlines()[0].removeprefix("# ")
    (tmp_path / file).write_text(code.text)
    info = tmp_path / "acme_mqauth-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-mqauth\nVersion: 1.0\n")
    groups = tomllib.loads(metadata.text)["project"]["entry-points"]
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (tmp_path / "key").write_text(KEY)
    text = usage.text.replace("https://metadata.acme.example/token", url)
    return text.replace("/run/secrets/acme-key", str(tmp_path / "key"))


def run(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program with the provider installed."""
    variables = {"PYTHONPATH": str(folder), "MQAUTH_CACHE": "off", **(environment or {})}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", *arguments],
        env={**inherited(), **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_gets_a_credential(usage: str, tmp_path: Path) -> None:
    """The documented use prints a credential, without the token."""
    done = run(tmp_path, usage)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("BrokerCredentials(")
    assert "provider='acme'" in done.stdout
    assert "eyJ" not in done.stdout + done.stderr


def test_a_refusal_is_one_line(usage: str, tmp_path: Path) -> None:
    """Where the service refuses, the error says so, and never the key."""
    (tmp_path / "key").write_text("another-key-of-somebody")
    done = run(tmp_path, usage)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "mqauth.errors.IssuerRefusedError: Acme refuses the role worker: HTTP 403 "
        "(check api_key and role)"
    )
    assert "another-key-of-somebody" not in done.stderr


@pytest.mark.usefixtures("usage")
def test_it_signs_in(url: str, tmp_path: Path, mqauth_sandbox: Sandbox) -> None:
    """Its name in a broker URL is enough; options come from the documented variables."""
    broker = f"mqauth://acme@localhost:{mqauth_sandbox.broker.amqp_port}//"
    variables = {"MQAUTH_ACME_URL": url, "MQAUTH_ACME_API_KEY_FILE": str(tmp_path / "key")}
    text = CORE.read_text()
    assert all(f"`{name}`" in text for name in variables)
    done = run(tmp_path, SIGN_IN, broker, environment=variables)
    assert done.stdout == "True\n", done.stderr
