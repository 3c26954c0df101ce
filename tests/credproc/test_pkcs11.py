"""Keys on PKCS#11 tokens, on real ones of SoftHSM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from ctypes.util import find_library
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mqauth_sandbox.pki import Identity, KeyType, Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from tests.credproc.programs import Outcome, Program, at_a_prompt
from tests.credproc.softhsm import PIN, Entry, SoftHsm

pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")

Run = Callable[..., Outcome]


@pytest.fixture
def softhsm(tmp_path: Path, softhsm_module: Path) -> SoftHsm:
    """A directory for tokens."""
    return SoftHsm(tmp_path / "softhsm", softhsm_module)


@pytest.fixture
def run(credproc: Program, softhsm: SoftHsm, mqauth_rolesanywhere: RolesAnywhereEndpoint) -> Run:
    """Run credproc with SoftHSM as its PKCS#11 module."""

    def run(*arguments: str, program: Program = credproc, **extra: Any) -> Outcome:
        return program(
            "credential-process",
            *mqauth_rolesanywhere.arguments(),
            *("--pkcs11-lib", str(softhsm.module)),
            *arguments,
            env={**softhsm.environment, **extra},
        )

    return run


def pin_file(folder: Path, pin: str = PIN) -> Path:
    """Write a file that holds the PIN."""
    path = folder / "pin"
    path.write_text(f"{pin}\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("key", ["rsa-2048", "rsa-4096", "ec-p256", "ec-p384", "ec-p521"])
def test_signs_with_keys_of_every_kind(
    run: Run, softhsm: SoftHsm, mqauth_pki: Pki, tmp_path: Path, key: KeyType
) -> None:
    """Certificate and key on a token open a session, the PIN comes from a file."""
    softhsm.add_token("robot", [Entry(identity=mqauth_pki.issue(key))])
    uri = f"pkcs11:token=robot?pin-source=file:{pin_file(tmp_path)}"
    assert run("--certificate", uri).credentials["AccessKeyId"].startswith("ASIA")


def test_as_the_helper_reads_it(
    run: Run, helper: Program, softhsm: SoftHsm, mqauth_pki: Pki
) -> None:
    """A URI with pin-value, a label and an escaped id means the same to both programs."""
    others = Entry(identity=mqauth_pki.issue(), label="other", id=b"\x02", certificate=False)
    softhsm.add_token("my robot", [Entry(identity=mqauth_pki.issue("rsa-2048")), others])
    uri = f"pkcs11:token=my%20robot;object=host;id=%01?pin-value={PIN}"
    for program in (helper, None):
        arguments = {} if program is None else {"program": program}
        assert run("--certificate", uri, **arguments).credentials["Version"] == 1


@pytest.mark.parametrize("depth", [2, 3])
def test_completes_the_chain_from_the_token(
    run: Run,
    softhsm: SoftHsm,
    mqauth_pki: Pki,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    depth: int,
) -> None:
    """Authorities that lie on the token are sent along, in order."""
    leaf = mqauth_pki.issue("ec-p256", depth=depth)
    above = [
        Entry(
            identity=Identity(certificate=one, key=None),
            label=f"ca{n}",
            id=bytes([9, n]),
            key=False,
        )
        for n, one in enumerate(reversed(leaf.chain))
    ]
    softhsm.add_token("robot", [*above, Entry(identity=leaf)])
    uri = f"pkcs11:token=robot;object=host?pin-value={PIN}"
    assert run("--certificate", uri).credentials
    sent = mqauth_rolesanywhere.calls[-1].request.headers["X-Amz-X509-Chain"]
    assert len(sent.split(",")) == depth - 1


def test_certificate_in_a_file(run: Run, softhsm: SoftHsm, mqauth_pki: Pki, tmp_path: Path) -> None:
    """Only the key need be on the token, and of several the certificate's own is taken."""
    mine, other = mqauth_pki.issue("rsa-2048", own_key=None), mqauth_pki.issue("ec-p256")
    softhsm.add_token(
        "robot",
        [
            Entry(identity=other, label="other", id=b"\x02", certificate=False),
            Entry(identity=mine, certificate=False),
        ],
    )
    certificate = str(mine.write(tmp_path).certificate)
    uri = f"pkcs11:token=robot?pin-value={PIN}"
    assert run("--certificate", certificate, "--private-key", uri).credentials


def test_key_in_a_file(run: Run, softhsm: SoftHsm, mqauth_pki: Pki, tmp_path: Path) -> None:
    """Only the certificate may be on the token, and then no PIN is needed."""
    identity = mqauth_pki.issue()
    softhsm.add_token("robot", [Entry(identity=identity, key=False)])
    key = str(identity.write(tmp_path).private_key)
    assert run("--certificate", "pkcs11:token=robot", "--private-key", key).credentials


def test_certificate_that_shows_after_login(run: Run, softhsm: SoftHsm, mqauth_pki: Pki) -> None:
    """A private certificate is found once the one token meant is logged in to."""
    softhsm.add_token("robot", [Entry(identity=mqauth_pki.issue(), private=True)])
    assert run("--certificate", f"pkcs11:token=robot?pin-value={PIN}").credentials


def test_key_that_asks_each_time(run: Run, softhsm: SoftHsm, mqauth_pki: Pki) -> None:
    """--reuse-pin gives the token's PIN to a key that wants one for each signature."""
    softhsm.add_token("robot", [Entry(identity=mqauth_pki.issue("rsa-2048"), each_time=True)])
    uri = f"pkcs11:token=robot?pin-value={PIN}"
    assert run("--certificate", uri, "--reuse-pin").credentials
    refused = run("--certificate", uri, "--no-cache")
    assert refused.code == 3
    assert "no terminal" in refused.stderr


_IN_PROCESS = """
import json, os, sys, threading
from credproc.identity import pkcs11_session
from credproc.identity.load import load_identity
from credproc.identity.signer import Identity
from credproc.options import SessionOptions

uris, module, how = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]

def sign(uri: str) -> None:
    options = SessionOptions("", "", "", certificate=uri, pkcs11_lib=module)
    assert load_identity(options).signer.sign(b"message")

def many(uri: str, failures: list) -> None:
    try:
        for _ in range(10):
            sign(uri)
    except BaseException as error:
        failures.append(error)

for uri in uris:
    sign(uri)
if how == "again":
    for uri in uris:
        sign(uri)
elif how == "closed":
    for login in pkcs11_session._process.logins:
        login.session.close()
    sign(uris[0])
elif how == "logged in":
    first = pkcs11_session._process.logins.pop()
    sign(uris[0])
elif how == "threads":
    failures: list = []
    threads = [threading.Thread(target=many, args=(uri, failures)) for uri in uris * 4]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert not failures, failures
elif how == "fork":
    child = os.fork()
    if not child:
        try:
            sign(uris[0])
            sign(uris[0])
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    sign(uris[0])
print("signed")
"""


@pytest.mark.parametrize("how", ["again", "closed", "logged in", "threads", "fork"])
def test_one_process_signs_again_and_again(
    credproc: Program, softhsm: SoftHsm, mqauth_pki: Pki, how: str
) -> None:
    """One process opens identities on tokens as often as it wants, also in threads and forks.

    And where the token was out meanwhile, or the program itself is logged in already.
    """
    uris = []
    for label, private in (("robot", False), ("hidden", True)):
        softhsm.add_token(label, [Entry(identity=mqauth_pki.issue("rsa-2048"), private=private)])
        uris.append(f"pkcs11:token={label}?pin-value={PIN}")
    done = subprocess.run(
        [sys.executable, "-c", _IN_PROCESS, json.dumps(uris), str(softhsm.module), how],
        env={**credproc.environment, **softhsm.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "signed\n", done.stderr


def test_doctor_knows_tokens(
    credproc: Program,
    softhsm: SoftHsm,
    mqauth_pki: Pki,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """`doctor` loads the identity for its own look and once more for the session."""
    softhsm.add_token("robot", [Entry(identity=mqauth_pki.issue())])
    outcome = credproc(
        "doctor",
        *mqauth_rolesanywhere.arguments(),
        *("--pkcs11-lib", str(softhsm.module)),
        *("--certificate", f"pkcs11:token=robot?pin-value={PIN}"),
        env=softhsm.environment,
    )
    assert outcome.code == 0, outcome


def test_a_prompt_of_the_key_keeps_nobody_waiting(
    credproc: Program,
    softhsm: SoftHsm,
    mqauth_pki: Pki,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """A key that asks each time asks before the lock is taken, and once for a session."""
    softhsm.add_token("robot", [Entry(identity=mqauth_pki.issue("rsa-2048"), each_time=True)])
    own = replace(credproc, environment={**credproc.environment, **softhsm.environment})
    arguments = [
        *("credential-process", *mqauth_rolesanywhere.arguments()),
        *("--pkcs11-lib", str(softhsm.module)),
        *("--certificate", f"pkcs11:token=robot?pin-value={PIN}"),
    ]
    with at_a_prompt(own, arguments) as (asked, terminal):
        other = own(*arguments, "--reuse-pin", limit=20)
        assert asked.poll() is None
        os.write(terminal, f"{PIN}\n".encode())
        printed, said = asked.communicate(timeout=20)
    assert other.credentials["Version"] == 1
    assert (printed, said) == (other.stdout, "")


def test_pin_from_the_password_file(
    run: Run, softhsm: SoftHsm, mqauth_pki: Pki, tmp_path: Path
) -> None:
    """Where the URI has no PIN, the key's password file and variable are looked at."""
    softhsm.add_token("robot", [Entry(identity=mqauth_pki.issue())])
    uri = "pkcs11:token=robot"
    assert run("--certificate", uri, "--key-password-file", str(pin_file(tmp_path))).credentials
    assert run("--certificate", uri, CREDPROC_PKCS8_PASSWORD=PIN).credentials


WRONG: dict[str, tuple[str, str, int]] = {
    "pin": ("pkcs11:token=robot?pin-value=99999999", "PIN is wrong", 3),
    "no-pin": ("pkcs11:token=robot", "needs a password", 3),
    "token": ("pkcs11:token=nobody?pin-value=1", "no PKCS#11 token", 3),
    "object": ("pkcs11:token=robot;object=ghost?pin-value=" + PIN, "no certificate", 3),
    "two": ("pkcs11:token=robot2?pin-value=" + PIN, "describes 2 certificates", 3),
    "attribute": ("pkcs11:tokn=robot", "something of 4 characters", 2),
    "twice": ("pkcs11:token=a;token=b", "token twice", 2),
    "escape": ("pkcs11:token=%zz", "hexadecimal", 2),
    "type": ("pkcs11:token=robot;type=key", "unknown type", 2),
    "slot": ("pkcs11:slot-id=one", "slot-id", 2),
    "command": ("pkcs11:token=robot?pin-source=|echo", "command", 2),
    "pin-file": ("pkcs11:token=robot?pin-source=/nowhere/pin", "/nowhere/pin", 3),
}


def test_mistakes_are_named(run: Run, softhsm: SoftHsm, mqauth_pki: Pki) -> None:
    """Each mistake is one line with its cause, the documented exit code, and never the PIN."""
    softhsm.add_token("robot", [Entry(identity=mqauth_pki.issue())])
    both = [Entry(identity=mqauth_pki.issue(), label=str(n), id=bytes([n])) for n in (1, 2)]
    softhsm.add_token("robot2", both)
    for uri, reason, code in WRONG.values():
        outcome = run("--certificate", uri)
        assert (outcome.code, outcome.stdout) == (code, ""), outcome
        assert reason in outcome.stderr, outcome
        assert outcome.stderr.count("\n") == 1
        assert "99999999" not in outcome.stderr
        assert PIN not in outcome.stderr


def test_modules_of_this_host(
    credproc: Program,
    softhsm: SoftHsm,
    mqauth_pki: Pki,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """Without --pkcs11-lib the tokens of all modules that p11-kit knows are looked at."""
    registered = Path("/usr/share/p11-kit/modules/softhsm2.module")
    if find_library("p11-kit") is None or not registered.exists():
        pytest.skip("this machine has no p11-kit that knows SoftHSM")
    softhsm.add_token("robot", [Entry(identity=mqauth_pki.issue())])
    uri = f"pkcs11:token=robot?pin-value={PIN}"
    arguments = ["credential-process", *mqauth_rolesanywhere.arguments(), "--certificate", uri]
    assert credproc(*arguments, env=softhsm.environment).credentials


def test_module_that_is_none(
    credproc: Program, mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """A module that cannot be loaded is named, with what to install."""
    common = ["credential-process", *mqauth_rolesanywhere.arguments()]
    outcome = credproc(*common, "--certificate", "pkcs11:token=a", "--pkcs11-lib", "/nowhere.so")
    assert outcome.code == 3
    assert "/nowhere.so cannot be loaded" in outcome.stderr


def test_key_of_another_certificate(
    run: Run,
    softhsm: SoftHsm,
    mqauth_pki: Pki,
    tmp_path: Path,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """A key that is not the certificate's is noticed before anything is sent."""
    softhsm.add_token("robot", [Entry(identity=mqauth_pki.issue("ec-p256"), certificate=False)])
    certificate = str(mqauth_pki.issue("ec-p256").write(tmp_path).certificate)
    before = mqauth_rolesanywhere.requests
    uri = f"pkcs11:token=robot?pin-value={PIN}"
    outcome = run("--certificate", certificate, "--private-key", uri)
    assert outcome.code == 3
    assert "does not belong to the certificate" in outcome.stderr
    assert mqauth_rolesanywhere.requests == before
