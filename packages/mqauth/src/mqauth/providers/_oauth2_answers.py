"""What an authorization server's answers mean: usable, try again later, or no."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import requests

from mqauth.errors import IssuerRefusedError, IssuerUnavailableError, MQAuthError
from mqauth.providers._http_dates import retry_after
from mqauth.providers._text import clean
from mqauth.secret import Secret

# Error codes of RFC 6749 (and RFC 8628) that ask the client to try again.
_TRANSIENT_CODES = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
_TRANSIENT_STATUS = frozenset({408, 425, 429})

_REMEDIES = {
    "invalid_client": "check client_id, auth_method, and client_secret, key or certificate",
    "unauthorized_client": "allow this client the grant type at the issuer",
    "unsupported_grant_type": "allow the grant type at the issuer, or set another grant_type",
    "invalid_grant": "check the resource owner's name and password",
    "unauthorized": "check client_id and client_secret, and the resource owner's password",
    "invalid_scope": "check the option scope against what the client may have",
    "invalid_target": "check the options audience and resource",
    "invalid_request": "check which of scope, audience and resource the issuer wants",
    "access_denied": "grant the client at the issuer what it asks for",
}


def discovery_document(response: requests.Response, what: str) -> dict[str, Any]:
    """Return the JSON object of an issuer's configuration; an error, in JSON or not, is none.

    Args:
        response: The answer, its body read.
        what: Which document of whom, for error messages.

    Raises:
        IssuerUnavailableError: The answer is a redirect, a web page, broken, or "not now".
        IssuerRefusedError: The answer is another refusal.
    """
    content = json_object(response, what)
    if response.status_code >= 400:
        raise _refused_without_code(response, what)
    return content


def json_object(
    response: requests.Response, what: str, secrets: Iterable[Secret] = ()
) -> dict[str, Any]:
    """Return the JSON object of an answer; an OAuth error of status 4xx is one, too.

    Args:
        response: The answer, its body read.
        what: Who gave it, for error messages.
        secrets: Values that must not show in an error message.

    Raises:
        IssuerUnavailableError: The answer is a redirect, a web page, broken, or "not now".
        IssuerRefusedError: The answer is a refusal without an OAuth error code.
    """
    content = _parsed(response)
    code = content.get("error") if content else None
    if response.status_code >= 500 or response.status_code in _TRANSIENT_STATUS:
        raise _not_now(response, code, what, secrets)
    if 300 <= response.status_code < 400:
        raise IssuerUnavailableError(
            f"{what} answered with a redirect (HTTP {response.status_code}), which is not followed",
            remedy="configure the address it redirects to, or get past the login page in between",
        )
    if response.status_code >= 400 and code is None:
        raise _refused_without_code(response, what, secrets)
    if content is None:
        raise _no_json(response, what)
    return content


def refusal(
    response: requests.Response,
    code: object,
    description: object,
    what: str,
    secrets: Iterable[Secret],
    *,
    remedies: Mapping[str, str] | None = None,
) -> MQAuthError:
    """Return the error for an OAuth error answer (RFC 6749, 5.2).

    Args:
        response: The answer.
        code: Its error code.
        description: What it says besides.
        what: Who gave it.
        secrets: Values that must not show.
        remedies: What to do about a code where that depends on the grant.
    """
    if str(code) in _TRANSIENT_CODES:
        return _not_now(response, code, what, secrets)
    hidden = [secret.reveal() for secret in secrets]
    said = f"HTTP {response.status_code} {clean(code, hidden)}"
    if description:
        said += f": {clean(description, hidden)}"
    return IssuerRefusedError(
        f"{what} refused: {said}",
        remedy={**_REMEDIES, **(remedies or {})}.get(
            str(code), "see the issuer's log for the reason"
        ),
    )


def _not_now(
    response: requests.Response, code: object, what: str, secrets: Iterable[Secret]
) -> IssuerUnavailableError:
    said = f" {clean(code, [secret.reveal() for secret in secrets])}" if code else ""
    return IssuerUnavailableError(
        f"{what} cannot serve now: HTTP {response.status_code}{said}",
        remedy="ask less often" if response.status_code == 429 else "see the issuer's log",
        retry_after=retry_after(response.headers),
    )


def _refused_without_code(
    response: requests.Response, what: str, secrets: Iterable[Secret] = ()
) -> IssuerRefusedError:
    said = clean(response.reason, [secret.reveal() for secret in secrets])
    return IssuerRefusedError(
        f"{what} answered HTTP {response.status_code} {said}",
        remedy="check the URL and what stands in front of it",
    )


def _no_json(response: requests.Response, what: str) -> IssuerUnavailableError:
    kind = response.headers.get("content-type", "").lower()
    page = "html" in kind or response.content.lstrip()[:1] == b"<"
    return IssuerUnavailableError(
        f"{what} answered with {'a web page' if page else 'something else'} instead of JSON",
        remedy="check the URL, and that no login page or proxy answers in its place",
    )


def _parsed(response: requests.Response) -> dict[str, Any] | None:
    try:
        content = response.json()
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
