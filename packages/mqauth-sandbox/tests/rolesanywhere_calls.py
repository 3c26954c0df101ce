"""Calls of the Roles Anywhere endpoint as its clients sign them, and as they should not."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import botocore.session
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from mqauth_sandbox.pki import Identity
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint


@dataclass
class Call:
    """One signed call, every part of which a test may falsify.

    `headers` and `corrupt` change what was signed, everything else what is signed.
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
