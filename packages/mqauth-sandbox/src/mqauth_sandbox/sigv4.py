"""Checks AWS Signature Version 4 on a request as AWS does, with botocore's own arithmetic.

The order and the wording of the refusals are those of AWS. Signatures in the query string
(pre-signed URLs) are not accepted.

Source: AWS, "Signature Version 4 for API requests" (IAM User Guide).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from mqauth_sandbox.accesskeys import AccessKey
from mqauth_sandbox.awsquery import AwsError
from mqauth_sandbox.http import Request

_ALGORITHM = "AWS4-HMAC-SHA256"
_TERMINATOR = "aws4_request"
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_TOLERANCE = timedelta(minutes=15)
_PARAMETERS = ("Credential", "Signature", "SignedHeaders")

FindKey = Callable[[str, str | None], AccessKey]
"""Returns the key for an access key id and a session token, or raises `AwsError`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Authorization:
    access_key_id: str
    date: str
    region: str
    service: str
    terminator: str
    signed_headers: tuple[str, ...]
    signature: str = field(repr=False)


def authenticate(
    request: Request, *, region: str, service: str, now: float, find_key: FindKey
) -> AccessKey:
    """Return the key that signed `request`.

    Args:
        request: What the client sent.
        region: Region the signature has to be for.
        service: Service the signature has to be for.
        now: Time on the service's clock, in POSIX seconds.
        find_key: Looks keys up.

    Raises:
        AwsError: The request is not signed, not signed for this service and time, or by no key
            that is known and alive.
    """
    authorization = _parse(request)
    _check_signed_headers(request, authorization)
    timestamp = _check_time(request, now)
    _check_scope(authorization, region, service, timestamp)
    key = find_key(authorization.access_key_id, request.headers.get("X-Amz-Security-Token"))
    expected = _Recalculation(request, authorization, key, timestamp).signature_of_request()
    if not hmac.compare_digest(expected.encode(), authorization.signature.encode()):
        raise _mismatch(
            "The request signature we calculated does not match the signature you provided. Check "
            "your AWS Secret Access Key and signing method. Consult the service documentation for "
            "details."
        )
    return key


def claimed_scope(request: Request) -> tuple[str, str]:
    """Return region and service that a request says it is signed for.

    Raises:
        AwsError: It is not signed.
    """
    authorization = _parse(request)
    return authorization.region, authorization.service


class _Recalculation(SigV4Auth):
    """Signs what the client says it signed: exactly its list of headers, and the body as it came.

    botocore decides by itself which headers to sign, and believes a client's
    `X-Amz-Content-SHA256`; a server may do neither.
    """

    def __init__(
        self, request: Request, authorization: _Authorization, key: AccessKey, timestamp: str
    ) -> None:
        credentials = Credentials(key.access_key_id, key.secret_access_key, key.session_token)
        super().__init__(credentials, authorization.service, authorization.region)
        self._headers = HTTPHeaders()
        for name in authorization.signed_headers:
            for value in request.headers.get_all(name, []):
                self._headers[name] = value
        host = request.headers["Host"]
        self._request = AWSRequest(
            method=request.method, url=f"https://{host}{request.target}", data=request.body
        )
        self._request.context["timestamp"] = timestamp

    def headers_to_sign(self, request: Any) -> Any:
        return self._headers

    def signature_of_request(self) -> str:
        canonical = self.canonical_request(self._request)
        to_sign = self.string_to_sign(self._request, canonical)
        return str(self.signature(to_sign, self._request))


def _parse(request: Request) -> _Authorization:
    header = request.headers.get("Authorization")
    if header is None:
        raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
    algorithm, _, rest = header.strip().partition(" ")
    if algorithm != _ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm': '{algorithm[:32]}'.")
    pairs = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    missing = [name for name in _PARAMETERS if not pairs.get(name)]
    if missing:
        requires = (f"Authorization header requires '{name}' parameter." for name in missing)
        raise _incomplete(" ".join(requires))
    credential = pairs["Credential"].split("/")
    if len(credential) != 5:
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. "
            "keyid/date/region/service/term"
        )
    access_key_id, date, region, service, terminator = credential
    return _Authorization(
        access_key_id=access_key_id,
        date=date,
        region=region,
        service=service,
        terminator=terminator,
        signed_headers=tuple(pairs["SignedHeaders"].split(";")),
        signature=pairs["Signature"],
    )


def _check_signed_headers(request: Request, authorization: _Authorization) -> None:
    signed = authorization.signed_headers
    if "host" not in signed or "Host" not in request.headers:
        raise _mismatch("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    if list(signed) != sorted({name.lower() for name in signed}):
        raise _incomplete("'SignedHeaders' must be in lower case, sorted and without repetition.")
    # AWS's rule for signers: host and every x-amz-* header of the request.
    present = {name.lower() for name in request.headers if name.lower().startswith("x-amz-")}
    unsigned = sorted(present - set(signed))
    if unsigned:
        names = ", ".join(f"'{name}'" for name in unsigned)
        raise _mismatch(f"{names} must be a 'SignedHeader' in the AWS Authorization.")


def _check_time(request: Request, now: float) -> str:
    timestamp = request.headers.get("X-Amz-Date")
    if timestamp is None:
        raise _incomplete("Authorization header requires existence of a 'X-Amz-Date' header.")
    if not re.fullmatch(r"\d{8}T\d{6}Z", timestamp):
        raise _incomplete("Date must be in ISO-8601 'basic format'.")
    try:
        signed_at = datetime.strptime(timestamp, _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise _incomplete("Date must be in ISO-8601 'basic format'.") from None
    here = datetime.fromtimestamp(now, UTC)
    earliest, latest = here - _TOLERANCE, here + _TOLERANCE
    written = here.strftime(_TIME_FORMAT)
    if signed_at < earliest:
        raise _mismatch(
            f"Signature expired: {timestamp} is now earlier than "
            f"{earliest.strftime(_TIME_FORMAT)} ({written} - 15 min.)"
        )
    if signed_at > latest:
        raise _mismatch(
            f"Signature not yet current: {timestamp} is still later than "
            f"{latest.strftime(_TIME_FORMAT)} ({written} + 15 min.)"
        )
    return timestamp


def _check_scope(authorization: _Authorization, region: str, service: str, timestamp: str) -> None:
    # AWS strings all that is wrong together, each sentence with a blank behind it.
    wrong = ""
    if authorization.region != region:
        wrong += "Credential should be scoped to a valid region. "
    if authorization.service != service:
        wrong += f"Credential should be scoped to correct service: '{service}'. "
    if authorization.terminator != _TERMINATOR:
        wrong += f"Credential should be scoped with a valid terminator: '{_TERMINATOR}'. "
    if authorization.date != timestamp[:8]:
        wrong += (
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
            f"HTTP: '{authorization.date[:8]}' != '{timestamp[:8]}', from '{timestamp}'. "
        )
    if wrong:
        raise _mismatch(wrong)


def _mismatch(message: str) -> AwsError:
    return AwsError("SignatureDoesNotMatch", message, 403)


def _incomplete(message: str) -> AwsError:
    return AwsError("IncompleteSignature", message, 400)
