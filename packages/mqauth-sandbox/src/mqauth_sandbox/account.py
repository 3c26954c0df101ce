"""A whole AWS account behind one endpoint: STS, outbound federation, and what another fake plays.

Clients are pointed here for every service by `AWS_ENDPOINT_URL`. STS is the sandbox's own, and so
are IAM's calls about outbound web identity federation, which decide whether STS signs tokens. All
other calls are passed on, signatures verified, to `upstream`: moto's server, which knows IAM's
roles and Amazon MQ's brokers.

Source: AWS IAM API reference; the service model that botocore brings.
"""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import urlsplit

from mqauth_sandbox.accesskeys import AccessKey
from mqauth_sandbox.awsquery import AwsError, Parameters, result_response
from mqauth_sandbox.http import Request, Response, json_response
from mqauth_sandbox.sigv4 import claimed_scope
from mqauth_sandbox.sts import StsEndpoint

IAM_NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
IAM_REGION = "us-east-1"
"""IAM is global: its requests are signed for this region."""

_QUERY_SERVICES = ("sts", "iam")
_UPSTREAM_LIMIT = 30.0
_NOT_PASSED_ON = frozenset({"connection", "content-length", "transfer-encoding", "expect"})


class AwsAccount(StsEndpoint):
    """An AWS account; as `StsEndpoint`, with more services.

    Args:
        certificate: PEM file with the server's certificate (for `localhost`) and its chain.
        private_key: PEM file with the certificate's key.
        upstream: URL of what plays the other services, on loopback.
        region: Region of its regional services.
        account_id: Account number; `upstream` has to use the same.
        port: Port to use; 0 for a free one, kept over restarts.
    """

    def __init__(
        self,
        *,
        certificate: Path,
        private_key: Path,
        upstream: str,
        region: str = "eu-west-1",
        account_id: str = "123456789012",
        port: int = 0,
    ) -> None:
        """Begin with federation disabled, as a new account does."""
        super().__init__(
            certificate=certificate,
            private_key=private_key,
            region=region,
            account_id=account_id,
            port=port,
        )
        self._upstream = urlsplit(upstream)
        self.federation_enabled = False

    def respond(self, request: Request) -> Response:
        """Answer a request (called by the server)."""
        if request.method == "GET" and request.path.startswith("/federation/"):
            return super().respond(request)
        service = ""
        try:
            region, service = claimed_scope(request)
            if service == "sts":
                return super().respond(request)
            return self._other(request, service, region)
        except AwsError as error:
            return error.response() if service in _QUERY_SERVICES else _json_error(error)

    def _other(self, request: Request, service: str, claimed: str) -> Response:
        # With an endpoint of its own an SDK signs for its own region instead.
        region = IAM_REGION if (service, claimed) == ("iam", IAM_REGION) else self.region
        key = self._signed_by(request, region=region, service=service)
        if service == "iam":
            action = Parameters(request).text("Action") or ""
            answer = self._federation(key, action)
            self._note(f"iam:{action}", "ok")
            if answer is not None:
                return answer
        else:
            self._note(f"{service}:{request.method} {request.path}", "ok")
        return self._passed_on(request)

    def _federation(self, key: AccessKey, action: str) -> Response | None:
        """Answer a call about outbound federation; None for any other."""
        switches = {
            "EnableOutboundWebIdentityFederation": True,
            "DisableOutboundWebIdentityFederation": False,
        }
        if action == "GetOutboundWebIdentityFederationInfo":
            self._authorize(key, f"iam:{action}", "*")
            if not self.federation_enabled:
                raise self._already(enabled=False)
            return self._info(action)
        if action not in switches:
            return None
        self._authorize(key, f"iam:{action}", "*")
        if self.federation_enabled == switches[action]:
            raise self._already(enabled=self.federation_enabled)
        self.federation_enabled = switches[action]
        return self._info(action)

    def _info(self, action: str) -> Response:
        result: dict[str, object] = {}
        if self.federation_enabled:
            result["IssuerIdentifier"] = self.issuer_url
        if action.startswith("Get"):
            result["JwtVendingEnabled"] = "true"
        return result_response(action, result, IAM_NAMESPACE)

    def _already(self, *, enabled: bool) -> AwsError:
        state = "enabled" if enabled else "disabled"
        return AwsError(
            f"Feature{state.capitalize()}",
            f"Outbound web identity federation is already {state} for this account",
            409 if enabled else 404,
        )

    def _passed_on(self, request: Request) -> Response:
        connection = http.client.HTTPConnection(
            self._upstream.hostname or "", self._upstream.port, timeout=_UPSTREAM_LIMIT
        )
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _NOT_PASSED_ON
        }
        try:
            connection.request(request.method, request.target, request.body, headers)
            answer = connection.getresponse()
            body = answer.read()
            kept = {
                name: value
                for name, value in answer.getheaders()
                if name.lower().startswith("x-amzn")
            }
        finally:
            connection.close()
        return Response(
            status=answer.status,
            body=body,
            content_type=answer.getheader("Content-Type") or "application/json",
            headers=kept,
        )


def _json_error(error: AwsError) -> Response:
    # As AWS's JSON services refuse: the code stands in a header.
    return json_response({"message": error.message}, error.status, {"x-amzn-ErrorType": error.code})
