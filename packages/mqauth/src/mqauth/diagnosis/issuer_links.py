"""The issuer's end of the chain: files, reachability, TLS and clock."""

from __future__ import annotations

import http.client
import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from mqauth.config.named_entries import named_entries
from mqauth.config.options import environment_name
from mqauth.config.resolution import ResolvedConfig
from mqauth.config.secret_file import FileSecret
from mqauth.config.small_file import MAX_PEM_BYTES, read_limited, reason
from mqauth.diagnosis.findings import BrokenLinkError
from mqauth.diagnosis.network import connect, context, secure
from mqauth.durations import duration
from mqauth.errors import MQAuthError
from mqauth.providers._aws_region import sts_endpoint_of_environment
from mqauth.providers._urls import is_loopback

MOST_SKEW = 60.0
"""Seconds that the clocks of issuer and host may differ: a token's life is short."""

_URLS = ("issuer", "token_endpoint", "endpoint_url")
_DISCOVERY = "/.well-known/openid-configuration"
_PEM = "-----BEGIN"
_OTHER_FILES = {"token-file": "path"}
"""Options that name files though they do not end in `_file`, by provider."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IssuerAnswer:
    """What an issuer answered to a look.

    Attributes:
        where: Its host and port.
        tls: The version of TLS, or None without it.
        status: The HTTP status.
        skew: Seconds that its clock is ahead of this host's; None if it does not say.
    """

    where: str
    tls: str | None
    status: int
    skew: float | None


def named_files(config: ResolvedConfig) -> dict[str, Path]:
    """Return the files that a provider's options name, by option."""
    files = {}
    for name, value in config.options.items():
        if isinstance(value, FileSecret):
            files[f"{name}_file"] = Path(value.path)
        elif _names_file(config.provider, name) and isinstance(value, str | Path) and str(value):
            files[name] = Path(value).expanduser()
    return files


def _names_file(provider: str, option: str) -> bool:
    return option.endswith("_file") or option == _OTHER_FILES.get(provider)


def files_as_written(
    name: str, options: Mapping[str, Any], environ: Mapping[str, str]
) -> dict[str, Path]:
    """Return the files that options name, as the user wrote them and before anybody reads them.

    Args:
        name: A provider or a named entry.
        options: The options that were passed in.
        environ: Environment variables.
    """
    try:
        entries = named_entries(environ)
    except MQAuthError:
        entries = {}
    entry = entries.get(name)
    written = {**(entry.options if entry else {}), **options}
    provider = str(written.get("provider", name))
    prefix = environment_name(provider, "")
    for variable, value in environ.items():
        if variable.startswith(prefix) and variable.endswith("_FILE"):
            written.setdefault(variable.removeprefix(prefix).lower(), value)
    return {
        key: Path(value).expanduser()
        for key, value in written.items()
        if _names_file(provider, key) and isinstance(value, str | Path) and str(value)
    }


def check_files(files: Mapping[str, Path]) -> str:
    """Look at the files that options name.

    Raises:
        BrokenLinkError: One cannot be read, is empty, or holds no PEM where it should.
    """
    for option, path in files.items():
        try:
            content = read_limited(path, MAX_PEM_BYTES)
        except OSError as error:
            raise BrokenLinkError(
                f"the file {path} ({option}) cannot be read: {reason(error)}",
                remedy="create it, or name one that this user may read",
            ) from None
        if not content.strip():
            raise BrokenLinkError(
                f"the file {path} ({option}) is empty", remedy="see what ought to write it"
            )
        if option == "ca_file" and _PEM.encode() not in content:
            raise BrokenLinkError(
                f"the file {path} ({option}) holds no certificates",
                remedy="name a PEM file: it holds lines of -----BEGIN CERTIFICATE-----",
            )
    return ", ".join(str(path) for path in files.values())


def issuer_url(config: ResolvedConfig) -> str | None:
    """Return where a provider fetches from, as far as its options tell."""
    for name in _URLS:
        if config.options.get(name):
            return str(config.options[name])
    if config.provider != "aws-iam":
        return None
    given = sts_endpoint_of_environment()
    region = config.options.get("region") or os.environ.get("AWS_REGION")
    if given or not region:
        return given
    return f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def look_at_issuer(config: ResolvedConfig, url: str, timeout: float) -> IssuerAnswer:
    """Ask the issuer for something that it gives everybody.

    Raises:
        BrokenLinkError: It cannot be reached or trusted, or does not answer.
    """
    parts = urlsplit(url)
    host, tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    link = connect("the issuer", host, port, timeout)
    version = None
    if tls:
        settings = context("the issuer", authorities(config, host))
        hint = "name the authority that signs it with the option ca_file"
        secured = secure("the issuer", link, host, settings, hint)
        link, version = secured, secured.version()
    path = parts.path.rstrip("/") + (_DISCOVERY if config.options.get("issuer") == url else "/")
    with link:
        answer = _get(link, host, port, path, timeout)
    if answer.status >= 500 or (path.endswith(_DISCOVERY) and answer.status != 200):
        raise BrokenLinkError(
            f"the issuer {host}:{port} answers HTTP {answer.status} to {path}",
            remedy="check the option issuer, and whether the issuer is well",
        )
    return IssuerAnswer(
        where=f"{host}:{port}", tls=version, status=answer.status, skew=_skew(answer)
    )


def authorities(config: ResolvedConfig, host: str) -> str | None:
    """Return the file of authorities that a provider trusts its issuer by; None for the system's.

    Whatever the fetch does not heed must not count here either. Source: requests, "SSL Cert
    Verification"; botocore, `EndpointCreator`. On loopback our requests heed no variables.
    """
    if config.options.get("ca_file"):
        return str(config.options["ca_file"])
    variables: tuple[str, ...] = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    if config.provider.startswith("aws-"):
        variables = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    elif is_loopback(host):
        variables = ()
    named = (os.environ.get(variable) for variable in variables)
    found = next((name for name in named if name), None)
    if found is not None:
        return found
    try:
        import certifi  # noqa: PLC0415 - requests and botocore bring it along
    except ImportError:
        return None
    return certifi.where()


def goes_through_proxy(url: str) -> bool:
    """Tell whether requests to a URL go through a proxy, which then is what can be reached."""
    parts = urlsplit(url)
    return parts.scheme in getproxies() and not proxy_bypass(parts.hostname or "")


def check_clock(skew: float | None) -> str:
    """Judge the difference between the issuer's clock and this host's.

    Raises:
        BrokenLinkError: It is larger than `MOST_SKEW`.
    """
    if skew is None:
        return "the issuer does not tell the time"
    if abs(skew) > MOST_SKEW:
        way = "behind" if skew > 0 else "ahead of"
        raise BrokenLinkError(
            f"this host's clock is {duration(skew)} {way} the issuer's",
            remedy="set the clocks right: timedatectl set-ntp true, here or there",
        )
    return f"{duration(skew)} from the issuer's"


def _get(link: Any, host: str, port: int, path: str, timeout: float) -> http.client.HTTPResponse:
    link.settimeout(timeout)
    asked = (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    try:
        link.sendall(asked.encode())
        answer = http.client.HTTPResponse(link)
        answer.begin()
    except TimeoutError:
        raise BrokenLinkError(
            f"the issuer {host}:{port} took the request and did not answer within {timeout:g} s",
            remedy="look at the issuer's own health; nothing here can mend that",
        ) from None
    except (OSError, ssl.SSLError, http.client.HTTPException) as error:
        raise BrokenLinkError(
            f"the issuer {host}:{port} ended the connection: {str(error) or type(error).__name__}",
            remedy="look at the issuer's own health, and at what stands in between",
        ) from None
    return answer


def _skew(answer: http.client.HTTPResponse) -> float | None:
    date = answer.getheader("Date")
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return None
