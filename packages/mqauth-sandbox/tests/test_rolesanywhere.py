"""The Roles Anywhere endpoint: what it accepts, and everything that it refuses."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from mqauth_sandbox.faults import FaultMode
from mqauth_sandbox.pki import Container, Identity, KeyType, Pki, can_make
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from mqauth_sandbox.sandbox import Sandbox


def makeable(*kinds: KeyType) -> list[Any]:
    """Return parameters for key types; those that this cryptography cannot make are skipped."""
    reason = "this release of cryptography has no ML-DSA"
    return [
        pytest.param(kind, marks=pytest.mark.skipif(not can_make(kind), reason=reason))
        for kind in kinds
    ]


KEY_TYPES = makeable("rsa-2048", "ec-p256", "ec-p384", "ec-p521", "ml-dsa-65")


@dataclass
class Call:
    """One signed call, every part of which a test may falsify.

    `before` changes things before they are signed, `after` the headers that are sent.
    """

    identity: Identity
    endpoint: RolesAnywhereEndpoint
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    parameters: dict[str, Any] = field(default_factory=dict)
    in_body: bool = False
    scope: str | None = None
    algorithm: str | None = None
    serial: int | None = None
    unsigned: tuple[str, ...] = ()
    drop_chain: bool = False
    reverse_chain: bool = False
    corrupt: Callable[[bytes], bytes] = bytes
    digest: hashes.HashAlgorithm = field(default_factory=hashes.SHA256)
    headers: dict[str, str] = field(default_factory=dict)

    def send(self) -> tuple[int, dict[str, Any], http.client.HTTPMessage]:
        """Send it and return status, body and headers of the answer."""
        date = self.at.strftime("%Y%m%dT%H%M%SZ")
        values: dict[str, Any] = {
            "profileArn": self.endpoint.profile_arn,
            "roleArn": self.endpoint.role_arn,
            "trustAnchorArn": self.endpoint.trust_anchor_arn,
            "durationSeconds": 900,
            **self.parameters,
        }
        values = {name: value for name, value in values.items() if value is not None}
        arns = (
            {}
            if self.in_body
            else {name: values.pop(name) for name in sorted(values) if "Arn" in name}
        )
        body = json.dumps(values).encode()
        query = urlencode(arns)
        headers = self._headers(date)
        signed = sorted({"host", *(name.lower() for name in headers)} - set(self.unsigned))
        host = urlsplit(self.endpoint.url).netloc
        lines = {**{name.lower(): value for name, value in headers.items()}, "host": host}
        canonical = "\n".join(
            [
                "POST",
                "/sessions",
                query,
                "".join(f"{name}:{lines[name]}\n" for name in signed),
                ";".join(signed),
                hashlib.sha256(body).hexdigest(),
            ]
        )
        algorithm, signature = self._sign(canonical, date)
        serial = self.serial or self.identity.certificate.serial_number
        headers["Authorization"] = (
            f"{algorithm} Credential={serial}/{self._scope(date)}, "
            f"SignedHeaders={';'.join(signed)}, Signature={self.corrupt(signature).hex()}"
        )
        return post(
            self.endpoint,
            f"/sessions?{query}" if query else "/sessions",
            body,
            {**headers, **self.headers},
        )

    def _headers(self, date: str) -> dict[str, str]:
        chain = [] if self.drop_chain else list(self.identity.chain)
        if self.reverse_chain:
            chain.reverse()
        headers = {
            "Content-Type": "application/json",
            "X-Amz-Date": date,
            "X-Amz-X509": encoded(self.identity.certificate),
        }
        if chain:
            headers["X-Amz-X509-Chain"] = ",".join(map(encoded, chain))
        return headers

    def _scope(self, date: str) -> str:
        return self.scope or f"{date[:8]}/{self.endpoint.region}/rolesanywhere/aws4_request"

    def _sign(self, canonical: str, date: str) -> tuple[str, bytes]:
        key = self.identity.key
        arguments: tuple[Any, ...] = ()
        kind = "MLDSA"
        if isinstance(key, rsa.RSAPrivateKey):
            arguments, kind = (padding.PKCS1v15(), self.digest), "RSA-SHA256"
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            arguments, kind = (ec.ECDSA(self.digest),), "ECDSA-SHA256"
        algorithm = self.algorithm or f"AWS4-X509-{kind}"
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"{algorithm}\n{date}\n{self._scope(date)}\n{hashed}".encode()
        return algorithm, key.sign(to_sign, *arguments)


def post(
    endpoint: RolesAnywhereEndpoint, target: str, body: bytes, headers: dict[str, str]
) -> tuple[int, dict[str, Any], http.client.HTTPMessage]:
    """Post to the endpoint over TLS."""
    tls = ssl.create_default_context(cafile=str(endpoint.ca_file))
    connection = http.client.HTTPSConnection(urlsplit(endpoint.url).netloc, context=tls, timeout=10)
    try:
        connection.request("POST", target, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read()), response.headers
    finally:
        connection.close()


def encoded(certificate: x509.Certificate) -> str:
    """Return the base64 of a certificate's DER."""
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


@pytest.fixture
def call(mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki) -> Call:
    """A good call of a P-256 identity below one intermediate."""
    return Call(mqauth_pki.issue(depth=2), mqauth_rolesanywhere)


def refusal(call: Call) -> tuple[int, str, str]:
    """Send a call that is refused; return status, code and message."""
    before = call.endpoint.fetches
    status, body, headers = call.send()
    assert set(body) == {"message"}
    assert call.endpoint.fetches == before
    code = str(headers["x-amzn-ErrorType"])
    assert call.endpoint.calls[-1].outcome == code
    return status, code, body["message"]


def sts_of(endpoint: RolesAnywhereEndpoint, session: dict[str, Any]) -> Any:
    """Return an STS client that signs with a session's credentials."""
    credentials = session["credentials"]
    return botocore.session.Session().create_client(
        "sts",
        region_name=endpoint.sts.region,
        endpoint_url=endpoint.sts.url,
        verify=str(endpoint.ca_file),
        aws_access_key_id=credentials["accessKeyId"],
        aws_secret_access_key=credentials["secretAccessKey"],
        aws_session_token=credentials["sessionToken"],
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.mark.parametrize("key", KEY_TYPES)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_accepts_every_kind_of_key_and_chain(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki, key: KeyType, depth: int
) -> None:
    """Every key type of the service opens a session, alone and below intermediates."""
    status, body, _ = Call(mqauth_pki.issue(key, depth=depth), mqauth_rolesanywhere).send()
    assert status == 201, body
    (session,) = body["credentialSet"]
    assert set(session["credentials"]) == {
        "accessKeyId",
        "secretAccessKey",
        "sessionToken",
        "expiration",
    }


@pytest.mark.parametrize("root", makeable("rsa-2048", "ec-p384", "ml-dsa-87"))
def test_accepts_every_kind_of_authority(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, root: KeyType
) -> None:
    """Authorities of every key type are followed."""
    pki = Pki(root)
    mqauth_rolesanywhere.trust(pki.root)
    status, body, _ = Call(pki.issue(depth=3), mqauth_rolesanywhere).send()
    assert status == 201, body


def test_arns_in_the_body_do_as_well(call: Call) -> None:
    """The three ARNs may stand in the body instead of the query."""
    status, body, _ = replace(call, in_body=True).send()
    assert status == 201, body


def test_intermediate_as_anchor(call: Call) -> None:
    """A trust anchor that holds the intermediate needs no chain, and does not mind one."""
    call.endpoint.trust(*call.identity.chain)
    assert call.send()[0] == 201
    assert replace(call, drop_chain=True).send()[0] == 201


def test_sessions_are_good_for_sts_until_they_expire(call: Call) -> None:
    """What was issued signs calls to STS, for as long as it lives on the endpoints' clock."""
    (session,) = call.send()[1]["credentialSet"]
    client = sts_of(call.endpoint, session)
    assert client.get_caller_identity()["Arn"] == session["assumedRoleUser"]["arn"]
    token = client.get_web_identity_token(Audience=["me"], SigningAlgorithm="ES384")
    assert token["WebIdentityToken"].count(".") == 2
    role = {"RoleArn": call.endpoint.sts.role_arn, "RoleSessionName": "on"}
    chained = client.assume_role(**role, DurationSeconds=900)
    assert chained["Credentials"]["AccessKeyId"].startswith("ASIA")
    call.endpoint.sts.faults.clock_skew = 890  # botocore's own clock is within 15 minutes of it
    assert client.get_caller_identity()
    call.endpoint.sts.faults.clock_skew = 0
    call.endpoint.session_lifetime = 0.0
    (session,) = call.send()[1]["credentialSet"]
    with pytest.raises(ClientError, match="ExpiredToken"):
        sts_of(call.endpoint, session).get_caller_identity()


def with_parameters(make: Callable[[Call], dict[str, Any]]) -> Callable[[Call], Call]:
    """Return a change of a call's parameters."""
    return lambda call: replace(call, parameters=make(call))


def with_headers(make: Callable[[Call], dict[str, str]]) -> Callable[[Call], Call]:
    """Return a change of a call's headers after it was signed."""
    return lambda call: replace(call, headers=make(call))


def with_scope(make: Callable[[Call], str]) -> Callable[[Call], Call]:
    """Return a change of the scope that a call is signed for."""
    return lambda call: replace(call, scope=make(call))


REFUSED: dict[str, tuple[Callable[[Call], Call], str, str]] = {
    "signature": (
        lambda c: replace(c, corrupt=lambda s: s[:-1] + bytes([s[-1] ^ 1])),
        "AccessDenied",
        "does not match",
    ),
    "digest": (lambda c: replace(c, digest=hashes.SHA384()), "AccessDenied", "does not match"),
    "algorithm": (
        lambda c: replace(c, algorithm="AWS4-X509-RSA-SHA256"),
        "AccessDenied",
        "algorithm",
    ),
    "unknown-algorithm": (
        lambda c: replace(c, algorithm="AWS4-HMAC-SHA256"),
        "IncompleteSignature",
        "algorithm",
    ),
    "serial": (lambda c: replace(c, serial=1), "AccessDenied", "serial"),
    "old": (lambda c: replace(c, at=c.at - timedelta(seconds=310)), "AccessDenied", "expired"),
    "early": (
        lambda c: replace(c, at=c.at + timedelta(seconds=310)),
        "AccessDenied",
        "not yet current",
    ),
    "region": (
        with_scope(lambda c: f"{c.at:%Y%m%d}/eu-west-2/rolesanywhere/aws4_request"),
        "AccessDenied",
        "region",
    ),
    "service": (
        with_scope(lambda c: f"{c.at:%Y%m%d}/eu-west-1/sts/aws4_request"),
        "AccessDenied",
        "rolesanywhere",
    ),
    "day": (
        with_scope(lambda c: "20200101/eu-west-1/rolesanywhere/aws4_request"),
        "AccessDenied",
        "20200101",
    ),
    "unsigned-host": (lambda c: replace(c, unsigned=("host",)), "AccessDenied", "host"),
    "unsigned-chain": (
        lambda c: replace(c, unsigned=("x-amz-x509-chain",)),
        "AccessDenied",
        "x509-chain",
    ),
    "unsigned-type": (
        lambda c: replace(c, unsigned=("content-type",)),
        "AccessDenied",
        "content-type",
    ),
    "other-certificate": (
        with_headers(lambda c: {"X-Amz-X509": encoded(c.identity.chain[0])}),
        "AccessDenied",
        "serial",
    ),
    "no-certificate": (with_headers(lambda c: {"X-Amz-X509": "AAAA"}), "Validation", "certificate"),
    "no-authorization": (
        with_headers(lambda c: {"Authorization": ""}),
        "MissingAuthenticationToken",
        "Missing",
    ),
    "short-authorization": (
        with_headers(lambda c: {"Authorization": "AWS4-X509-RSA-SHA256 Credential=1/2"}),
        "IncompleteSignature",
        "SignedHeaders",
    ),
    "missing-intermediate": (
        lambda c: replace(c, drop_chain=True),
        "AccessDenied",
        "Untrusted signing certificate",
    ),
    "short": (with_parameters(lambda c: {"durationSeconds": 899}), "Validation", "900"),
    "long": (with_parameters(lambda c: {"durationSeconds": 43201}), "Validation", "43200"),
    "text-duration": (
        with_parameters(lambda c: {"durationSeconds": "900"}),
        "Validation",
        "whole number",
    ),
    "unknown-parameter": (
        with_parameters(lambda c: {"duration": 900}),
        "Validation",
        "Unknown parameters: duration",
    ),
    "no-role": (with_parameters(lambda c: {"roleArn": None}), "Validation", "roleArn"),
    "bad-arn": (
        with_parameters(lambda c: {"profileArn": "arn:aws:rolesanywhere"}),
        "Validation",
        "profileArn",
    ),
    "other-role": (
        with_parameters(lambda c: {"roleArn": f"{c.endpoint.role_arn}X"}),
        "AccessDenied",
        "Unable to assume role",
    ),
    "other-profile": (
        with_parameters(lambda c: {"profileArn": c.endpoint.profile_arn[:-12] + "0" * 12}),
        "ResourceNotFound",
        "Profile",
    ),
    "other-anchor": (
        with_parameters(lambda c: {"trustAnchorArn": c.endpoint.trust_anchor_arn[:-12] + "0" * 12}),
        "ResourceNotFound",
        "Trust anchor",
    ),
    "session-name": (
        with_parameters(lambda c: {"roleSessionName": "me"}),
        "AccessDenied",
        "Not authorized to set roleSessionName",
    ),
    "bad-session-name": (
        with_parameters(lambda c: {"roleSessionName": "m e"}),
        "Validation",
        "roleSessionName",
    ),
}


STATUS = {"Validation": 400, "IncompleteSignature": 400, "ResourceNotFound": 404}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_the_service_refuses(call: Call, case: str) -> None:
    """Each single fault in a request gets the service's code and a reason."""
    change, code, reason = REFUSED[case]
    status, found, message = refusal(change(call))
    assert (found, status) == (f"{code}Exception", STATUS.get(code, 403))
    assert reason in message


def test_refuses_a_chain_out_of_order(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki
) -> None:
    """Intermediates count in the order given."""
    identity = mqauth_pki.issue(depth=3)
    _, _, message = refusal(Call(identity, mqauth_rolesanywhere, reverse_chain=True))
    assert message == "Untrusted signing certificate"


YESTERDAY = datetime.now(UTC) - timedelta(days=1)
TOMORROW = datetime.now(UTC) + timedelta(days=1)
UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"not_before": YESTERDAY - timedelta(days=1), "not_after": YESTERDAY}, "expired"),
    "early": ({"not_before": TOMORROW}, "not yet valid"),
    "ca": ({"ca": True}, "CA"),
    "usage": ({"key_usage": ("key_encipherment",)}, "digitalSignature"),
    "no-usage": ({"key_usage": ()}, "digitalSignature"),
    "large": ({"padding": 17000}, "16384 bytes"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_refuses_unfit_certificates(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki, case: str
) -> None:
    """A certificate that may not sign is refused although its signature is right."""
    arguments, reason = UNFIT[case]
    _, _, message = refusal(Call(mqauth_pki.issue(**arguments), mqauth_rolesanywhere))
    assert reason in message


@pytest.mark.parametrize(("digest", "extensions"), [("-sha1", True), ("-sha256", False)])
def test_refuses_sha1_and_version_1(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, tmp_path: Path, digest: str, extensions: Any
) -> None:
    """Certificates of older days, which only OpenSSL's command still makes, are insufficient."""
    pki = Pki("rsa-2048")
    mqauth_rolesanywhere.trust(pki.root)
    identity = pki.issue("rsa-2048")
    old = reissue(pki, identity, tmp_path, digest, extensions=extensions)
    _, _, message = refusal(Call(replace(identity, certificate=old), mqauth_rolesanywhere))
    assert message.startswith("Untrusted certificate. Insufficient certificate")


def reissue(
    pki: Pki, identity: Identity, folder: Path, digest: str, *, extensions: bool
) -> x509.Certificate:
    """Let openssl certify an identity's key again."""
    files = identity.write(folder)
    root = replace(identity, certificate=pki.root, key=pki._key).write(folder)
    assert files.private_key
    assert root.private_key
    config = folder / "extensions"
    config.write_text("basicConstraints=CA:false\nkeyUsage=digitalSignature\n")
    request, made = folder / "request.pem", folder / "old.pem"
    openssl = ["openssl", "req", "-new", "-key", str(files.private_key), "-subj", "/CN=old"]
    subprocess.run([*openssl, "-out", str(request)], check=True, timeout=30)
    sign = ["openssl", "x509", "-req", "-in", str(request), digest, "-CA", str(root.certificate)]
    sign += ["-CAkey", str(root.private_key), "-set_serial", "77", "-out", str(made)]
    sign += ["-extfile", str(config)] if extensions else []
    subprocess.run(sign, check=True, timeout=30, capture_output=True)
    return x509.load_pem_x509_certificate(made.read_bytes())


def test_refuses_authorities_that_are_none(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki
) -> None:
    """An end-entity certificate cannot issue others, whatever it signed."""
    middle = mqauth_pki.issue("ec-p256", key_usage=("digital_signature", "key_cert_sign"))
    below = Pki("ec-p256")
    below._key, below._name = middle.key, middle.certificate.subject
    leaf = replace(below.issue(), chain=[middle.certificate])
    assert refusal(Call(leaf, mqauth_rolesanywhere))[2] == "Untrusted signing certificate"


def test_unknown_authority_and_empty_anchor(call: Call) -> None:
    """Nobody is trusted without an anchor, nor below another one of the same name."""
    for anchors in ((), (Pki().root,)):
        call.endpoint.trust(*anchors)
        assert refusal(call)[2] == "Untrusted signing certificate"


def test_switches_of_profile_and_anchor(call: Call) -> None:
    """Disabled resources open no session; a profile may accept names and bound the duration."""
    call.endpoint.accept_role_session_name = True
    call.endpoint.profile_duration = 1000
    named = replace(call, parameters={"roleSessionName": "me", "durationSeconds": 3600})
    (session,) = named.send()[1]["credentialSet"]
    assert session["assumedRoleUser"]["arn"].endswith("/me")
    expires = datetime.fromisoformat(session["credentials"]["expiration"])
    assert expires - datetime.now(UTC) < timedelta(seconds=1001)
    call.endpoint.profile_enabled = False
    assert refusal(call)[2] == "Profile is disabled"
    call.endpoint.profile_enabled, call.endpoint.trust_anchor_enabled = True, False
    assert refusal(call)[2] == "Trust anchor is disabled"


def test_other_partitions(call: Call) -> None:
    """Region and partition can be changed, and everything has to agree with them."""
    call.endpoint.region, call.endpoint.partition = "cn-north-1", "aws-cn"
    assert call.endpoint.trust_anchor_arn.startswith("arn:aws-cn:rolesanywhere:cn-north-1:")
    assert call.send()[0] == 201


def test_throttles_over_its_rate(call: Call) -> None:
    """Over the quota it answers 429 and opens no session."""
    call.endpoint.rate_limit = 2
    call.endpoint.faults.retry_after = 3
    outcomes = [call.send() for _ in range(3)]
    assert [status for status, _, _ in outcomes] == [201, 201, 429]
    assert outcomes[2][2]["x-amzn-ErrorType"] == "ThrottlingException"
    assert outcomes[2][2]["Retry-After"] == "3"


def test_refuses_with_any_code_on_demand(call: Call) -> None:
    """A test can choose the refusal, and end it."""
    call.endpoint.refuse_with("ResourceNotFoundException", "gone", 404)
    assert refusal(call) == (404, "ResourceNotFoundException", "gone")
    call.endpoint.refusal = None
    assert call.send()[0] == 201


@pytest.mark.parametrize(
    ("mode", "status"),
    [("error500", 500), ("throttle", 429), ("empty_set", 201), ("no_expiration", 201)],
)
def test_faults_that_answer(call: Call, mode: FaultMode, status: int) -> None:
    """Well-formed wrong answers arrive as such and are not counted as sessions."""
    before = call.endpoint.fetches
    with call.endpoint.faults.during(mode):
        found, body, _ = call.send()
    assert found == status
    assert call.endpoint.fetches == before
    assert call.endpoint.calls[-1].outcome == mode
    sets: Any = body.get("credentialSet")
    assert mode != "empty_set" or sets == []
    assert mode != "no_expiration" or "expiration" not in sets[0]["credentials"]


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("half_body", http.client.IncompleteRead),
        ("nothing", http.client.RemoteDisconnected),
        ("not_json", json.JSONDecodeError),
        ("html", json.JSONDecodeError),
        ("down", ConnectionResetError),
    ],
)
def test_faults_that_break_the_answer(call: Call, mode: FaultMode, error: type[Exception]) -> None:
    """Half an answer, no answer and a web page reach the client as just that."""
    with call.endpoint.faults.during(mode), pytest.raises(error):
        call.send()


def test_expired_fault_issues_sessions_of_the_past(call: Call) -> None:
    """The fault `expired` gives credentials that are over already."""
    with call.endpoint.faults.during("expired"):
        (session,) = call.send()[1]["credentialSet"]
    assert datetime.fromisoformat(session["credentials"]["expiration"]) < datetime.now(UTC)


CONTAINERS: list[Container] = [
    "pkcs8",
    "traditional",
    "encrypted-pkcs8",
    "pkcs12",
    "pkcs12-openssl",
]


@pytest.mark.parametrize("container", CONTAINERS)
def test_identities_are_written_for_their_owner_only(
    mqauth_pki: Pki, tmp_path: Path, container: Container
) -> None:
    """Every container opens with its password, and nobody else may read it."""
    files = mqauth_pki.issue("rsa-2048", depth=2).write(tmp_path, container)
    written = [path for path in tmp_path.iterdir() if path.is_file()]
    assert written
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in written)
    if container.startswith("pkcs12"):
        show = ["openssl", "pkcs12", "-legacy", "-in", str(files.certificate), "-nodes"]
        read = [*show, "-passin", f"pass:{files.password}"]
    else:
        read = [
            "openssl",
            "pkey",
            "-in",
            str(files.private_key),
            "-passin",
            f"pass:{files.password}",
        ]
    shown = subprocess.run(read, check=True, timeout=30, capture_output=True, text=True).stdout
    assert "PRIVATE KEY" in shown


def test_the_official_helper_is_accepted(
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    mqauth_pki: Pki,
    mqauth_official_helper: Path,
    tmp_path: Path,
) -> None:
    """AWS's own helper opens a session, so the endpoint is no stricter than its clients."""
    files = mqauth_pki.issue("ec-p256", depth=3).write(tmp_path)
    command = [str(mqauth_official_helper), "credential-process"]
    result = subprocess.run(
        [*command, *mqauth_rolesanywhere.arguments(), *files.arguments()],
        env={"AWS_CA_BUNDLE": str(mqauth_rolesanywhere.ca_file), "HOME": str(tmp_path)},
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert json.loads(result.stdout)["AccessKeyId"].startswith("ASIA")


def test_part_of_the_sandbox() -> None:
    """A sandbox has the endpoint, an authority that it trusts, and one STS for all."""
    with Sandbox(broker="amqp://localhost:1") as sandbox:
        endpoint = sandbox.roles_anywhere
        assert sandbox.environment()["AWS_ENDPOINT_URL_ROLESANYWHERE"] == endpoint.url
        (session,) = Call(sandbox.pki.issue(depth=2), endpoint).send()[1]["credentialSet"]
        assert endpoint.sts is sandbox.sts
        assert sts_of(endpoint, session).get_caller_identity()["Account"] == endpoint.account_id
