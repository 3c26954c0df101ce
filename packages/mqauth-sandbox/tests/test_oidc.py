"""The OIDC issuer answers as a strict real one does."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
import urllib3
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet

from mqauth_sandbox.oidc import OidcIssuer

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture
def issuer(tls_files: Any) -> Iterator[OidcIssuer]:
    """Run an issuer."""
    with OidcIssuer(
        certificate=tls_files.certificate, private_key=tls_files.private_key
    ) as running:
        yield running


@pytest.fixture
def http(tls_files: Any) -> Iterator[urllib3.PoolManager]:
    """Give an HTTP client that trusts the issuer and never retries."""
    with urllib3.PoolManager(ca_certs=str(tls_files.ca), retries=False, timeout=10) as manager:
        yield manager


def basic(client_id: str, secret: str) -> dict[str, str]:
    """Return the header of `client_secret_basic`, encoded as RFC 6749 wants it."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def ask(
    http: urllib3.PoolManager, issuer: OidcIssuer, **parameters: str
) -> urllib3.BaseHTTPResponse:
    """Ask for a token as the issuer's client does."""
    return http.request(
        "POST",
        issuer.token_endpoint,
        body=urlencode({**GRANT, **parameters}),
        headers={**FORM, **basic(issuer.client_id, issuer.client_secret)},
    )


def verified(http: urllib3.PoolManager, issuer: OidcIssuer, token: str) -> dict[str, Any]:
    """Return the claims of a token once its signature proves right by the published keys."""
    keys = KeySet.import_key_set(http.request("GET", issuer.jwks_uri).json())
    return jwt.decode(token, keys, algorithms=["RS256"]).claims


@pytest.mark.parametrize("path", ["openid-configuration", "oauth-authorization-server"])
def test_discovery_leads_to_every_endpoint(
    issuer: OidcIssuer, http: urllib3.PoolManager, path: str
) -> None:
    """Discovery names the issuer itself, its token endpoint and its keys."""
    document = http.request("GET", f"{issuer.issuer_url}/.well-known/{path}").json()
    assert document["issuer"] == issuer.issuer_url
    assert document["token_endpoint"] == issuer.token_endpoint
    assert document["jwks_uri"] == issuer.jwks_uri
    assert document["grant_types_supported"][0] == "client_credentials"


def test_a_token_has_the_claims_rabbitmq_reads(
    issuer: OidcIssuer, http: urllib3.PoolManager
) -> None:
    """A token is signed by a published key and says who, for whom, how long and what for."""
    issuer.token_lifetime = 15
    before = int(time.time())
    answer = ask(http, issuer)
    content = answer.json()
    claims = verified(http, issuer, content["access_token"])
    assert answer.status == 200
    assert content["token_type"] == "Bearer"
    assert content["expires_in"] == 15 == claims["exp"] - claims["iat"]
    assert before <= claims["iat"] <= int(time.time())
    assert (claims["iss"], claims["sub"], claims["client_id"], claims["aud"]) == (
        issuer.issuer_url,
        "celery",
        "celery",
        ["rabbitmq"],
    )
    assert claims["scope"] == " ".join(issuer.scopes) == content["scope"]
    assert "rabbitmq.read:*/*/*" in issuer.scopes
    assert claims["jti"] != verified(http, issuer, ask(http, issuer).json()["access_token"])["jti"]


def test_the_secret_may_stand_in_the_body(issuer: OidcIssuer, http: urllib3.PoolManager) -> None:
    """`client_secret_post` works as `client_secret_basic` does."""
    body = {**GRANT, "client_id": issuer.client_id, "client_secret": issuer.client_secret}
    answer = http.request("POST", issuer.token_endpoint, body=urlencode(body), headers=FORM)
    assert verified(http, issuer, answer.json()["access_token"])["client_id"] == "celery"


def test_basic_credentials_are_form_encoded(tls_files: Any, http: urllib3.PoolManager) -> None:
    """A secret with reserved characters has to be encoded, as RFC 6749 says."""
    with OidcIssuer(
        certificate=tls_files.certificate,
        private_key=tls_files.private_key,
        client_id="a:b",
        client_secret="50%+ of: ü",
    ) as issuer:
        assert ask(http, issuer).status == 200
        raw = base64.b64encode(b"a%3Ab:50%25+ of: u").decode()
        answer = http.request(
            "POST",
            issuer.token_endpoint,
            body=urlencode(GRANT),
            headers={**FORM, "Authorization": f"Basic {raw}"},
        )
        assert answer.json()["error"] == "invalid_client"


def with_secret(issuer: OidcIssuer) -> dict[str, str]:
    """Return the right header."""
    return basic(issuer.client_id, issuer.client_secret)


REFUSALS: dict[str, tuple[Callable[[OidcIssuer], dict[str, str]], str, int, str]] = {
    "wrong secret": (
        lambda issuer: basic(issuer.client_id, "wrong"),
        urlencode(GRANT),
        401,
        "invalid_client",
    ),
    "unknown client": (
        lambda issuer: basic("other", issuer.client_secret),
        urlencode(GRANT),
        401,
        "invalid_client",
    ),
    "no client": (lambda _: {}, urlencode(GRANT), 401, "invalid_client"),
    "client without a secret": (
        lambda _: {},
        urlencode({**GRANT, "client_id": "celery"}),
        401,
        "invalid_client",
    ),
    "another scheme": (
        lambda _: {"Authorization": "Bearer abc"},
        urlencode(GRANT),
        401,
        "invalid_client",
    ),
    "no base64": (
        lambda _: {"Authorization": "Basic ???"},
        urlencode(GRANT),
        401,
        "invalid_client",
    ),
    "no colon": (
        lambda _: {"Authorization": "Basic YWJj"},
        urlencode(GRANT),
        401,
        "invalid_client",
    ),
    "two ways at once": (
        with_secret,
        urlencode({**GRANT, "client_id": "celery", "client_secret": "x"}),
        400,
        "invalid_request",
    ),
    "two clients": (
        with_secret,
        urlencode({**GRANT, "client_id": "other"}),
        400,
        "invalid_request",
    ),
    "no grant type": (with_secret, "", 400, "invalid_request"),
    "another grant type": (
        with_secret,
        "grant_type=authorization_code&code=a",
        400,
        "unsupported_grant_type",
    ),
    "repeated parameter": (
        with_secret,
        urlencode(GRANT) + "&" + urlencode(GRANT),
        400,
        "invalid_request",
    ),
    "undecodable": (with_secret, urlencode(GRANT) + "&scope=%ff", 400, "invalid_request"),
    "unknown scope": (with_secret, urlencode({**GRANT, "scope": "root"}), 400, "invalid_scope"),
    "malformed scope": (
        with_secret,
        urlencode({**GRANT, "scope": "a  b"}),
        400,
        "invalid_scope",
    ),
    "unknown audience": (
        with_secret,
        urlencode({**GRANT, "audience": "kafka"}),
        400,
        "invalid_target",
    ),
    "unknown resource": (
        with_secret,
        urlencode({**GRANT, "resource": "https://kafka"}),
        400,
        "invalid_target",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_are_those_of_rfc_6749(
    issuer: OidcIssuer, http: urllib3.PoolManager, case: str
) -> None:
    """Each wrong request gets the status and the error code of RFC 6749 and is not cached."""
    headers, body, status, code = REFUSALS[case]
    answer = http.request(
        "POST", issuer.token_endpoint, body=body, headers={**FORM, **headers(issuer)}
    )
    assert (answer.status, answer.json()["error"]) == (status, code)
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    assert (issuer.fetches, issuer.requests) == (0, 1)
    assert [entry.outcome for entry in issuer.token_requests] == [code]


def test_a_wrong_secret_and_an_unknown_client_look_alike(
    issuer: OidcIssuer, http: urllib3.PoolManager
) -> None:
    """The answer does not tell which half of the client's credentials is wrong."""
    bodies = {
        http.request(
            "POST", issuer.token_endpoint, body=urlencode(GRANT), headers={**FORM, **header}
        ).data
        for header in (basic("celery", "wrong"), basic("other", issuer.client_secret))
    }
    assert len(bodies) == 1


def test_only_forms_and_only_post(issuer: OidcIssuer, http: urllib3.PoolManager) -> None:
    """JSON bodies, forms without their content type and GET are refused."""
    header = with_secret(issuer)
    as_json = http.request("POST", issuer.token_endpoint, json=GRANT, headers=header)
    bare = http.request("POST", issuer.token_endpoint, body=urlencode(GRANT), headers=header)
    get = http.request("GET", issuer.token_endpoint + "?" + urlencode(GRANT), headers=header)
    assert [as_json.json()["error"], bare.json()["error"]] == ["invalid_request"] * 2
    assert (get.status, get.headers["Allow"]) == (405, "POST")


def test_scopes_can_be_narrowed(issuer: OidcIssuer, http: urllib3.PoolManager) -> None:
    """A client that asks for fewer scopes gets just those."""
    issuer.scopes = ["rabbitmq.read:*/*/*", "rabbitmq.write:*/*/*"]
    content = ask(http, issuer, scope="rabbitmq.read:*/*/*").json()
    claims = verified(http, issuer, content["access_token"])
    assert claims["scope"] == "rabbitmq.read:*/*/*" == content["scope"]


def test_audiences_can_be_chosen(issuer: OidcIssuer, http: urllib3.PoolManager) -> None:
    """`audience` and `resource` decide who the token is for, among those the issuer knows."""
    issuer.audiences.append("https://other.example")
    token = ask(http, issuer, audience="rabbitmq", resource="https://other.example").json()
    claims = verified(http, issuer, token["access_token"])
    assert claims["aud"] == ["rabbitmq", "https://other.example"]


def test_old_tokens_outlive_a_key_rotation(issuer: OidcIssuer, http: urllib3.PoolManager) -> None:
    """After a rotation new tokens name a new key, and old ones still verify."""
    old = ask(http, issuer).json()["access_token"]
    issuer.rotate_keys()
    new = ask(http, issuer).json()["access_token"]
    published = http.request("GET", issuer.jwks_uri).json()["keys"]
    names = [jwt_header(token)["kid"] for token in (old, new)]
    assert names == [key["kid"] for key in published]
    assert names[0] != names[1]
    assert all({"kty", "n", "e", "alg", "use", "kid"} == key.keys() for key in published)
    assert verified(http, issuer, old)["jti"] != verified(http, issuer, new)["jti"]


def test_the_signature_is_worth_something(issuer: OidcIssuer, http: urllib3.PoolManager) -> None:
    """A token with another payload does not verify."""
    head, _, signature = issuer.mint().split(".")
    forged = issuer.mint(sub="admin").split(".")[1]
    with pytest.raises(BadSignatureError):
        verified(http, issuer, f"{head}.{forged}.{signature}")


def test_minted_tokens_can_say_anything(issuer: OidcIssuer, http: urllib3.PoolManager) -> None:
    """Claims can be set, left out and aged without asking the token endpoint."""
    claims = verified(
        http, issuer, issuer.mint(sub="other", jti=None, lifetime=-10, scopes=["a", "b"], x=1)
    )
    assert (claims["sub"], claims["scope"], claims["x"]) == ("other", "a b", 1)
    assert "jti" not in claims
    assert claims["iat"] < claims["exp"] < time.time()
    assert (issuer.fetches, issuer.requests) == (0, 0)


@pytest.mark.parametrize("padding", [100, 4096, 9000])
def test_padding_sets_the_size_of_a_token(issuer: OidcIssuer, padding: int) -> None:
    """Padding makes a token longer by that many bytes, give or take the claim's own name."""
    growth = len(issuer.mint(padding=padding)) - len(issuer.mint())
    assert padding <= growth <= padding + 24


def test_the_issuers_clock_can_be_wrong(issuer: OidcIssuer, http: urllib3.PoolManager) -> None:
    """Skew moves the token's times and the Date header alike, and nothing else."""
    issuer.faults.clock_skew = -600
    before = int(time.time())
    answer = ask(http, issuer)
    after = time.time()
    claims = verified(http, issuer, answer.json()["access_token"])
    date = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    assert before - 600 <= claims["iat"] <= after - 600
    assert before - 600 <= date <= after - 600
    assert answer.json()["expires_in"] == claims["exp"] - claims["iat"] == issuer.token_lifetime


def test_counts_hold_when_many_ask_at_once(issuer: OidcIssuer, http: urllib3.PoolManager) -> None:
    """Every request of many threads is counted once, in the order it came."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(http, issuer).status, range(40)))
    times = [entry.at for entry in issuer.token_requests]
    assert answers == [200] * 40
    assert (issuer.fetches, issuer.requests, len(times)) == (40, 40, 40)
    assert times == sorted(times)


def test_a_fetch_can_be_awaited(issuer: OidcIssuer, http: urllib3.PoolManager) -> None:
    """A test can wait for the issuer's next token instead of sleeping."""
    assert not issuer.wait_for_fetches(1, timeout=0)
    thread = threading.Thread(target=ask, args=(http, issuer))
    thread.start()
    assert issuer.wait_for_fetches(1, timeout=10)
    assert issuer.wait_for_requests(1, timeout=0)
    thread.join()


def test_a_restart_keeps_what_clients_know(issuer: OidcIssuer, http: urllib3.PoolManager) -> None:
    """After stop and start the port, the keys and the counts are as they were."""
    before = issuer.token_endpoint
    token = ask(http, issuer).json()["access_token"]
    issuer.stop()
    with pytest.raises(urllib3.exceptions.HTTPError):
        ask(http, issuer)
    issuer.start()
    assert issuer.token_endpoint == before
    assert verified(http, issuer, token)
    assert ask(http, issuer).status == 200
    assert issuer.fetches == 2


def test_unknown_paths_are_404(issuer: OidcIssuer, http: urllib3.PoolManager) -> None:
    """A path the issuer does not have is a 404 in JSON."""
    answer = http.request("GET", issuer.issuer_url + "/nothing?secret=x")
    assert (answer.status, answer.json()["error"]) == (404, "not_found")


def test_secrets_stay_out_of_sight(
    issuer: OidcIssuer, http: urllib3.PoolManager, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the log at DEBUG nor any repr shows the client's secret or a token."""
    caplog.set_level(logging.DEBUG)
    token = ask(http, issuer).json()["access_token"]
    bad = http.request(
        "POST",
        issuer.token_endpoint,
        body=urlencode(GRANT),
        headers={**FORM, **basic("celery", "canary-of-a-client")},
    )
    seen = caplog.text + repr(issuer) + repr(issuer.token_requests) + str(bad.data)
    assert "POST /oauth/token -> 200" in seen
    for secret in (issuer.client_secret, token, token.split(".")[2], "canary-of-a-client"):
        assert secret not in seen


def jwt_header(token: str) -> dict[str, Any]:
    """Return the header of a token without checking anything."""
    part = token.partition(".")[0]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded
