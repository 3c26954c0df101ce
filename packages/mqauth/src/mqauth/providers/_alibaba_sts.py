"""`AssumeRoleWithOIDC` of Alibaba Cloud's STS (version 2015-04-01), which needs no signature."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests

from mqauth.credentials import BrokerCredentials
from mqauth.errors import InvalidCredentialError, IssuerUnavailableError, MQAuthError
from mqauth.providers import _http
from mqauth.providers._alibaba_errors import refusal
from mqauth.providers._apsaramq_config import ApsaraConfig
from mqauth.providers._apsaramq_login import login_name, login_password
from mqauth.providers._bearer import already_expired, on_issuers_clock
from mqauth.providers._deadline import Deadline
from mqauth.providers._token_text import is_token, read_token
from mqauth.secret import Secret

_HEADERS = {
    # A compressed answer could grow far beyond its bound before anybody notices.
    "Accept-Encoding": "identity",
    "Accept": "application/json",
    "User-Agent": "mqauth",
}
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_WHAT = "Alibaba Cloud STS"


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A session of the role.

    Args:
        access_key_id: Its key.
        access_key_secret: The key's secret half.
        security_token: What has to go with the key.
        expires_at: Its end, on the clock of STS.
        principal: The role's session, for display.
    """

    access_key_id: str
    access_key_secret: Secret
    security_token: Secret
    expires_at: datetime
    principal: str | None


def fetch(config: ApsaraConfig, deadline: Deadline, *, provider: str) -> BrokerCredentials:
    """Assume the role and return the user name and password that its session makes.

    Raises:
        CredentialError: No usable session was to be had.
        ConfigurationError: The token file may not be read.
    """
    token = read_token(config.token_file)
    adapter = _http.BoundedAdapter(deadline)
    response = _ask(config, token, adapter)
    session = _session(response, token)
    skew = adapter.clock_skew(response)
    now = adapter.answered_at + skew
    credentials = BrokerCredentials(
        username=login_name(config.instance_id, session.access_key_id, session.security_token),
        password=login_password(session.access_key_secret, int(now * 1000)),
        issued_at=on_issuers_clock(now, _WHAT),
        expires_at=session.expires_at,
        principal=session.principal or config.role_arn,
        provider=provider,
        clock_skew=skew,
    )
    if credentials.expired():
        raise already_expired(credentials, _WHAT)
    return credentials


def _ask(config: ApsaraConfig, token: Secret, adapter: _http.BoundedAdapter) -> requests.Response:
    query = {
        "Action": "AssumeRoleWithOIDC",
        "Format": "JSON",
        "Version": "2015-04-01",
        "Timestamp": datetime.now(UTC).strftime(_TIME),
        "SignatureNonce": uuid.uuid4().hex,
    }
    with requests.Session() as session:
        session.headers.update(_HEADERS)
        what = f"{_WHAT} at {config.endpoint}"
        _http.prepare(session, config.endpoint, what, adapter, verify=config.verify)
        try:
            return session.post(
                config.endpoint,
                params=query,
                # In the body: addresses stand in logs.
                data={**config.parameters, "OIDCToken": token.reveal()},
                auth=_no_authentication,
                allow_redirects=False,
                verify=config.verify,
            )
        except _http.FAILURES as error:
            failure = _http.unavailable(error, what)
    raise failure


def _session(response: requests.Response, token: Secret) -> Session:
    content = _json_object(response)
    failure: MQAuthError | None = refusal(response, content, [token])
    if failure is not None:
        raise failure
    if content is None:
        raise IssuerUnavailableError(
            f"{_WHAT} answered with {_kind(response)} instead of JSON",
            remedy="check endpoint_url, and that no login page or proxy answers in its place",
        )
    return _read(content)


def _read(content: Mapping[str, Any]) -> Session:
    found = content.get("Credentials")
    fields = found if isinstance(found, Mapping) else {}
    names = ("AccessKeyId", "AccessKeySecret", "SecurityToken", "Expiration")
    missing = [name for name in names if not isinstance(fields.get(name), str) or not fields[name]]
    if missing:
        what = ", ".join(missing) if fields else "Credentials"
        raise InvalidCredentialError(
            f"{_WHAT} answered without {what}",
            remedy="check endpoint_url: it must be an STS endpoint of Alibaba Cloud",
        )
    odd = [name for name in names if not is_token(fields[name])]
    if odd:
        raise InvalidCredentialError(
            f"{_WHAT} answered with characters that no {', '.join(odd)} has",
            remedy="check endpoint_url and what stands in front of it",
        )
    user = content.get("AssumedRoleUser")
    principal = user.get("Arn") if isinstance(user, Mapping) else None
    return Session(
        access_key_id=fields["AccessKeyId"],
        access_key_secret=Secret(fields["AccessKeySecret"]),
        security_token=Secret(fields["SecurityToken"]),
        expires_at=_moment(fields["Expiration"]),
        principal=principal if isinstance(principal, str) else None,
    )


def _moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError:
        pass
    raise InvalidCredentialError(
        f"{_WHAT} answered with an Expiration that is no time such as 2026-01-31T12:00:00Z",
        remedy="check endpoint_url and what stands in front of it",
    )


def _json_object(response: requests.Response) -> dict[str, Any] | None:
    try:
        content = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _kind(response: requests.Response) -> str:
    start = response.content.lstrip()[:200].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    return "XML" if start.startswith(b"<") else "something else"


def _no_authentication(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # In its place requests would look for a password in ~/.netrc.
    return request
