"""`credproc doctor` stops at the first broken link and says in one line what to do."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from credproc.cli import run
from credproc.diagnosis.walk import LINKS
from mqauth_sandbox.pki import IdentityFiles, Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint

NAMES = [link.name for link in LINKS]


class Doctor:
    """Runs the command against the sandbox, with an environment of its own."""

    def __init__(self, endpoint: RolesAnywhereEndpoint, capsys: pytest.CaptureFixture[str]) -> None:
        self.endpoint = endpoint
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """Return the exit code and the findings by link."""
        code = run(["doctor", "--json", *self.endpoint.arguments(), *arguments])
        captured = self._capsys.readouterr()
        report = json.loads(captured.out)
        assert captured.err == ""
        assert report["exit_code"] == code
        assert report["ok"] is (code == 0)
        return code, {finding["link"]: finding for finding in report["links"]}


@pytest.fixture
def doctor(
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Doctor:
    """The command, with an empty home and trust in the sandbox."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "CREDPROC_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CREDPROC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(mqauth_rolesanywhere.ca_file))
    return Doctor(mqauth_rolesanywhere, capsys)


@pytest.fixture
def files(mqauth_pki: Pki, tmp_path: Path) -> IdentityFiles:
    """An identity that works."""
    return mqauth_pki.issue("ec-p256", depth=2).write(tmp_path)


def test_a_whole_chain(doctor: Doctor, files: IdentityFiles) -> None:
    """Every link is looked at, in order, and none is broken."""
    code, found = doctor(*files.arguments())
    assert code == 0
    assert list(found) == NAMES
    statuses = {name: finding["status"] for name, finding in found.items()}
    assert statuses.pop("clock") in ("ok", "warning")  # not every host runs NTP
    assert set(statuses.values()) == {"ok"}
    assert (
        "1 intermediate; the trust anchor has to hold CN=mqauth sandbox root"
        in (found["chain"]["detail"])
    )
    assert found["session"]["detail"].startswith("opened, lasts until")


def broken(found: dict[str, dict[str, Any]], link: str) -> dict[str, Any]:
    """Return the broken link's finding after making sure that it is the last and only one."""
    assert list(found) == NAMES[: NAMES.index(link) + 1]
    assert [name for name, each in found.items() if each["status"] == "failed"] == [link]
    assert found[link]["remedy"]
    assert "\n" not in found[link]["detail"] + found[link]["remedy"]
    return found[link]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ca": True}, "CA:true"),
        ({"key_usage": ("key_encipherment",)}, "lacks digitalSignature"),
        ({"not_after": timedelta(minutes=-1)}, "expired at"),
        ({"not_before": timedelta(hours=1)}, "not valid before"),
    ],
)
def test_certificates_that_cannot_work(
    doctor: Doctor, mqauth_pki: Pki, tmp_path: Path, wrong: dict[str, Any], words: str
) -> None:
    """A certificate that the service would refuse is the first broken link."""
    now = datetime.now(UTC)
    facts: dict[str, Any] = {
        k: now + v if isinstance(v, timedelta) else v for k, v in wrong.items()
    }
    code, found = doctor(*mqauth_pki.issue("ec-p256", **facts).write(tmp_path).arguments())
    assert code == 3
    assert words in broken(found, "certificate")["detail"]


def test_a_missing_certificate(doctor: Doctor) -> None:
    """The path is named."""
    code, found = doctor("--certificate", "/nowhere/host.pem")
    assert code == 3
    assert "/nowhere/host.pem cannot be read" in broken(found, "certificate")["detail"]


def test_a_key_of_another_certificate(
    doctor: Doctor, files: IdentityFiles, mqauth_pki: Pki, tmp_path: Path
) -> None:
    """Swapped files are found before anything is sent."""
    before = len(doctor.endpoint.calls)
    other = mqauth_pki.issue("ec-p256").write(tmp_path)
    code, found = doctor(
        "--certificate", str(files.certificate), "--private-key", str(other.private_key)
    )
    assert code == 3
    assert "does not belong" in broken(found, "key")["detail"]
    assert len(doctor.endpoint.calls) == before


def test_a_key_that_others_can_read(doctor: Doctor, files: IdentityFiles) -> None:
    """It works, with a warning."""
    assert files.private_key is not None
    files.private_key.chmod(0o644)
    code, found = doctor(*files.arguments())
    assert code == 0
    assert found["key"]["status"] == "warning"
    assert "mode 0644" in found["key"]["detail"]


def test_arns_that_disagree(doctor: Doctor, files: IdentityFiles) -> None:
    """ARNs come after the files and before the network."""
    code, found = doctor(*files.arguments(), "--region", "us-east-1")
    assert code == 2
    assert "the trust anchor is in eu-west-1" in broken(found, "arns")["detail"]


def test_options_that_are_missing(doctor: Doctor, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot even be begun is a link of its own, in the same form."""
    assert run(["doctor", "--json", "--certificate", "c.pem"]) == 2
    (finding,) = json.loads(capsys.readouterr().out)["links"]
    assert finding["link"] == "options"
    assert "--role-arn not given" in finding["detail"]


def test_a_port_that_nobody_listens_on(doctor: Doctor, files: IdentityFiles) -> None:
    """The address is named that was tried."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    code, found = doctor(*files.arguments(), "--endpoint", f"https://127.0.0.1:{port}")
    assert code == 5
    assert f"127.0.0.1 port {port}: Connection refused" in broken(found, "tcp")["detail"]


def test_a_name_that_is_none(doctor: Doctor, files: IdentityFiles) -> None:
    """A host name that no resolver can be asked for ends at DNS."""
    name = "a" * 64  # longer than a label may be, so nothing goes over the network
    code, found = doctor(*files.arguments(), "--endpoint", f"https://{name}")
    assert code == 5
    assert f"{name} cannot be resolved" in broken(found, "dns")["detail"]


def test_a_server_that_is_not_trusted(
    doctor: Doctor, files: IdentityFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS that is not trusted ends there, with the variable to set."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(files.certificate))
    code, found = doctor(*files.arguments())
    assert code == 5
    assert "not trusted" in broken(found, "tls")["detail"]
    assert "AWS_CA_BUNDLE" in found["tls"]["remedy"]


def test_a_server_that_is_not_verified(doctor: Doctor, files: IdentityFiles) -> None:
    """Not verifying is worth a warning."""
    code, found = doctor(*files.arguments(), "--no-verify-ssl")
    assert code == 0
    assert found["tls"]["status"] == "warning"


@pytest.mark.parametrize(
    ("said", "code", "remedy"),
    [
        (("AccessDeniedException", "Untrusted certificate", 403), 4, "let the trust anchor hold"),
        (("AccessDeniedException", "Unable to assume role for x", 403), 4, "trust policy"),
        (("ResourceNotFoundException", "Profile not found", 404), 4, "--profile-arn"),
        (("ThrottlingException", "Rate exceeded", 429), 5, "leave the cache on"),
    ],
)
def test_refusals(
    doctor: Doctor, files: IdentityFiles, said: tuple[str, str, int], code: int, remedy: str
) -> None:
    """What the service says leads to what to do."""
    doctor.endpoint.refuse_with(*said)
    answered, found = doctor(*files.arguments())
    assert answered == code
    assert remedy in broken(found, "session")["remedy"]


def test_bad_answers(doctor: Doctor, files: IdentityFiles) -> None:
    """An answer without credentials is the session's link."""
    doctor.endpoint.faults.mode = "empty_set"
    code, found = doctor(*files.arguments())
    assert code == 6
    assert "credentialSet is empty" in broken(found, "session")["detail"]


def test_short_sessions(doctor: Doctor, files: IdentityFiles) -> None:
    """A session of 15 minutes makes SDKs ask on each use; one that is cut short is told."""
    code, found = doctor(*files.arguments(), "--session-duration", "900")
    assert code == 0
    assert "SDKs ask again on each use" in found["output"]["detail"]
    doctor.endpoint.profile_duration = 1800
    code, found = doctor(*files.arguments())
    assert code == 0
    assert "s instead of 3600" in found["session"]["detail"]


def test_no_cache_and_overriding_keys(
    doctor: Doctor, files: IdentityFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are warnings, as everything works all the same."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    code, found = doctor(*files.arguments(), "--no-cache")
    assert code == 0
    assert found["cache"]["status"] == found["sdk"]["status"] == "warning"


def test_a_certificate_that_ends_soon(doctor: Doctor, mqauth_pki: Pki, tmp_path: Path) -> None:
    """The end is announced while there is time to renew."""
    soon = mqauth_pki.issue("ec-p256", not_after=datetime.now(UTC) + timedelta(minutes=3))
    code, found = doctor(*soon.write(tmp_path).arguments())
    assert code == 0
    assert found["expiry"]["status"] == "warning"
    assert "have it renewed" in found["expiry"]["remedy"]


def test_the_official_helper_is_a_link(
    doctor: Doctor, files: IdentityFiles, mqauth_official_helper: Path
) -> None:
    """Where it signs, its path and version stand in the key's place."""
    arguments = ["--backend", "helper", "--helper", str(mqauth_official_helper)]
    code, found = doctor(*files.arguments(), *arguments)
    assert code == 0
    assert f"{mqauth_official_helper} 1." in found["key"]["detail"]
    code, found = doctor(*files.arguments(), "--backend", "helper", "--helper", "/nowhere/x")
    assert code == 7
    assert "/nowhere/x cannot be used" in broken(found, "key")["detail"]


def test_nothing_secret_is_shown(doctor: Doctor, mqauth_pki: Pki, tmp_path: Path) -> None:
    """Neither a password nor anything of the session stands in the report."""
    files = mqauth_pki.issue("ec-p256").write(tmp_path, "encrypted-pkcs8")
    code, found = doctor(*files.arguments(), "--pkcs8-password", str(files.password))
    assert code == 0
    assert str(files.password) not in json.dumps(found)
    code, found = doctor(*files.arguments(), "--pkcs8-password", "wr0ng-horse")
    assert code == 3
    assert "wr0ng-horse" not in json.dumps(found)
    broken(found, "key")


def test_text_has_a_line_for_each_link(
    doctor: Doctor,
    files: IdentityFiles,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a terminal there is neither colour nor progress; a remedy has a line of its own."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert run(["doctor", *doctor.endpoint.arguments(), *files.arguments(), "--no-cache"]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "\r" not in text
    lines = [line for line in text.splitlines() if "->" not in line]
    assert [line.split()[1] for line in lines] == NAMES
    assert "\n" + " " * 22 + " -> 10 a second" in text


def test_lines_are_as_wide_as_the_terminal(
    doctor: Doctor,
    files: IdentityFiles,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is longer goes on below itself; only a path or an ARN is left whole."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["doctor", *doctor.endpoint.arguments(), *files.arguments(), "--no-cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 or len(line.split()) <= 3 for line in lines), lines
    remedy = next(number for number, line in enumerate(lines) if "-> 10 a second" in line)
    assert lines[remedy + 1].startswith(" " * 26 + "out, or name a private directory")


def test_a_terminal_gets_progress_and_colour(doctor: Doctor, files: IdentityFiles) -> None:
    """On a terminal each link is announced, then overwritten with its finding."""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "credproc", "doctor"),
                *doctor.endpoint.arguments(),
                *files.arguments(),
            ],
            stdout=theirs,
            timeout=60,
            check=False,
        )
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0
    assert "...     certificate\r\x1b[K\x1b[32mok" in shown
