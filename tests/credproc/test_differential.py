"""credproc beside AWS's own helper: the same request, the same signature, the same output."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import ProcessProvider

from credproc import signing
from credproc.identity.load import load_identity
from credproc.options import build
from mqauth_sandbox.pki import IdentityFiles, Pki, can_make
from mqauth_sandbox.rolesanywhere import CreateSessionCall, RolesAnywhereEndpoint
from tests.credproc.cases import RSA_AND_EC, Case, cases
from tests.credproc.programs import Outcome, Program

CASES = dict(cases())
OURS_ONLY = {
    # 1.8 brought ML-DSA, and reads no key that cryptography writes.
    **{key: Case(key=key) for key in ("ml-dsa-44", "ml-dsa-65", "ml-dsa-87")},
    # Its reader wants the hash named that OpenSSL leaves out where it is the default.
    "hmacWithSHA1": Case(
        container="encrypted-pkcs8", encryption=("-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1")
    ),
    "ml-dsa-encrypted": Case(key="ml-dsa-65", container="encrypted-pkcs8"),
    **{
        f"{key}-{container}": Case(key=key, container=container, depth=2)
        for key in RSA_AND_EC
        for container in ("pkcs12", "pkcs12-openssl")
    },
}
_roots: dict[str, Pki] = {}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A case, ready to be run by either program.

    Args:
        endpoint: The service.
        files: The identity.
        arguments: The command line.
        environment: Variables to add.
    """

    endpoint: RolesAnywhereEndpoint
    files: IdentityFiles
    arguments: list[str]
    environment: dict[str, str]

    def run(self, program: Program, *more: str) -> tuple[Outcome, CreateSessionCall]:
        """Run a program; return what it did and what the service saw."""
        before = self.endpoint.requests
        outcome = program("credential-process", *self.arguments, *more, env=self.environment)
        assert outcome.code == 0, outcome.stderr
        assert self.endpoint.requests == before + 1
        call = self.endpoint.calls[-1]
        assert call.outcome == "ok", call.message
        return outcome, call


def prepare(case: Case, endpoint: RolesAnywhereEndpoint, folder: Path) -> Setting:
    """Write the case's identity and say how a command line names it."""
    if case.root not in _roots:
        _roots[case.root] = Pki(case.root)
    pki = _roots[case.root]
    endpoint.trust(pki.root)
    endpoint.region, endpoint.partition = case.region, case.partition
    endpoint.accept_role_session_name = case.session_name is not None
    identity = pki.issue(case.key, depth=case.depth, digest=case.digest)
    files = identity.write(folder, case.container, password=case.password)
    if case.encryption:
        encrypt_again(identity.key_pem(), files, case)
    flags = [*endpoint.arguments(), *files.arguments(), *case.flags]
    if case.duration is not None:
        flags += ["--session-duration", str(case.duration)]
    if case.session_name is not None:
        flags += ["--role-session-name", case.session_name]
    return Setting(
        endpoint=endpoint, files=files, arguments=flags, environment=dict(case.environment)
    )


def encrypt_again(pem: bytes, files: IdentityFiles, case: Case) -> None:
    """Let openssl encrypt a key in a way that cryptography does not write."""
    command = ["openssl", "pkcs8", "-topk8", *case.encryption, "-out", str(files.private_key)]
    subprocess.run(
        [*command, "-passout", f"pass:{case.password}"], input=pem, check=True, timeout=30
    )


def password_flags(case: Case) -> list[str]:
    """Return how both programs are told a password."""
    return ["--pkcs8-password", case.password] if case.container == "encrypted-pkcs8" else []


def compared(call: CreateSessionCall) -> dict[str, object]:
    """Return all of a request that must not depend on the program."""
    headers = call.request.headers
    own = headers["X-Amz-X509"]
    # Out of a PKCS#12 file the helper sends the end-entity certificate twice.
    chain = [one for one in headers.get("X-Amz-X509-Chain", "").split(",") if one not in ("", own)]
    authorization = call.authorization
    return {
        "method": call.request.method,
        "target": call.request.target,
        "body": json.loads(call.request.body),
        "algorithm": authorization.algorithm,
        "serial": authorization.serial,
        "scope": authorization.scope.partition("/")[2],
        "type": headers["Content-Type"],
        "certificate": own,
        "chain": chain,
    }


@pytest.mark.parametrize("name", CASES)
def test_like_the_helper(
    name: str,
    credproc: Program,
    helper: Program,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    tmp_path: Path,
) -> None:
    """Both open a session with one request that says the same, and print the same JSON."""
    case = CASES[name]
    setting = prepare(case, mqauth_rolesanywhere, tmp_path)
    passwords = password_flags(case)
    theirs, their_call = setting.run(helper, *passwords)
    ours, our_call = setting.run(credproc, *passwords)
    assert compared(our_call) == compared(their_call)
    assert shape(ours) == shape(theirs)
    assert ours.stderr == ""
    for outcome in (theirs, ours):
        assert read_by_botocore(outcome, tmp_path / "output") == outcome.credentials
    check_signature_of_ours(case, setting, their_call)


@pytest.mark.parametrize("name", CASES)
def test_the_aws_cli_reads_both_alike(
    *,
    name: str,
    credproc: Program,
    helper: Program,
    aws_cli: Path,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    tmp_path: Path,
) -> None:
    """With what either program prints, the AWS CLI signs as the same role."""
    case = CASES[name]
    setting = prepare(case, mqauth_rolesanywhere, tmp_path)
    said = []
    for program in (helper, credproc):
        outcome, _ = setting.run(program, *password_flags(case))
        (tmp_path / "output").write_text(outcome.stdout)
        config = tmp_path / "config"
        config.write_text(f"[default]\ncredential_process = cat {tmp_path}/output\n")
        aws = Program(
            executable=aws_cli,
            environment={**program.environment, "AWS_CONFIG_FILE": str(config)},
        )
        words = ("sts", "get-caller-identity", "--output", "json", "--region", "eu-west-1")
        answer = aws(*words, "--endpoint-url", mqauth_rolesanywhere.sts.url)
        assert answer.code == 0, answer.stderr
        said.append(json.loads(answer.stdout))
    assert said[0]["Arn"] == said[1]["Arn"]


def read_by_botocore(outcome: Outcome, path: Path) -> dict[str, object]:
    """Return what botocore makes of an output, as `credential_process` hands it over."""
    path.write_text(outcome.stdout)
    profiles = {"profiles": {"default": {"credential_process": f"cat {path}"}}}
    found: Any = ProcessProvider("default", lambda: profiles).load()
    assert found is not None
    assert not found.refresh_needed(refresh_in=0)
    return {
        "Version": 1,
        "AccessKeyId": found.access_key,
        "SecretAccessKey": found.secret_key,
        "SessionToken": found.token,
        "Expiration": found._expiry_time.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def check_signature_of_ours(case: Case, setting: Setting, call: CreateSessionCall) -> None:
    """Sign the helper's own headers at the helper's own time, and compare the result.

    RSA signatures with PKCS#1 v1.5 are the same every time, so then every byte is; with ECDSA,
    everything but the signature is.
    """
    flags = dict(zip(setting.arguments[::2], setting.arguments[1::2], strict=False))
    fields = {
        name.removeprefix("--").replace("-", "_"): flags[name]
        for name in flags
        if name.endswith("-arn") or name in ("--certificate", "--private-key", "--intermediates")
    }
    if case.container == "encrypted-pkcs8":
        fields["pkcs8_password"] = case.password
    identity = load_identity(build(fields, {"CREDPROC_PKCS8_PASSWORD": case.password}))
    signed = {name: call.request.headers[name] for name in call.authorization.signed_headers}
    canonical, names = signing.canonical_request(
        "POST", "/sessions", call.request.query, signed, call.request.body
    )
    assert canonical == call.canonical
    header = signing.authorization(identity, case.region, signed["x-amz-date"], canonical, names)
    sent = call.request.headers["Authorization"]
    if case.key.startswith("rsa"):
        assert header == sent
    else:
        assert header.rpartition("=")[0] == sent.rpartition("=")[0]


def shape(outcome: Outcome) -> dict[str, object]:
    """Return what must be the same in both outputs: names, their order, types, form."""
    document = outcome.credentials
    expires = datetime.fromisoformat(document["Expiration"])
    assert expires > datetime.now(UTC)
    compact = json.dumps(document, separators=(",", ":"))
    return {
        "names": list(document),
        "types": [type(value).__name__ for value in document.values()],
        "version": document["Version"],
        "zone": document["Expiration"][-1],
        "key": document["AccessKeyId"][:4],
        "compact": compact == outcome.stdout.strip(),
    }


@pytest.mark.parametrize("name", OURS_ONLY)
def test_what_the_helper_cannot(
    name: str, credproc: Program, mqauth_rolesanywhere: RolesAnywhereEndpoint, tmp_path: Path
) -> None:
    """Post-quantum keys of every library's form and PKCS#12 with a password open sessions."""
    case = OURS_ONLY[name]
    if not can_make(case.key):
        pytest.skip("this release of cryptography has no ML-DSA")
    setting = prepare(case, mqauth_rolesanywhere, tmp_path)
    setting.environment["CREDPROC_PKCS8_PASSWORD"] = case.password
    outcome, call = setting.run(credproc)
    assert outcome.credentials["Version"] == 1
    chain = call.request.headers.get("X-Amz-X509-Chain")
    assert (chain is not None) == (case.depth > 1)


def test_there_are_enough_cases() -> None:
    """The comparison covers what it promises."""
    assert len(CASES) >= 40
    assert {case.key for case in CASES.values()} >= set(RSA_AND_EC)
