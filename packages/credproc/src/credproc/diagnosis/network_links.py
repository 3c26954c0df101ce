"""The links to the service: its name, its port, its TLS."""

from __future__ import annotations

import os
import socket
import threading
import time

from credproc.deadline import Deadline
from credproc.diagnosis.links import Facts, Warn
from credproc.endpoint import Endpoint, resolve_endpoint
from credproc.errors import CredprocError, UnavailableError
from credproc.proxies import choose_proxy
from credproc.wire import Connection

NAME_LIMIT = 10.0
"""Seconds for a name, whose resolution knows no limit of its own."""


def dns(facts: Facts) -> str:
    """Resolve the name of the service, or of the proxy before it."""
    assert facts.target is not None  # noqa: S101 - an earlier link's
    facts.endpoint = resolve_endpoint(facts.options, facts.target)
    if facts.options.with_proxy:
        facts.proxy = choose_proxy(facts.endpoint, os.environ)
    place = _first_hop(facts)
    facts.addresses = _resolve(place)
    proxy = f"through the proxy {place.authority}; " if facts.proxy else ""
    return f"{proxy}{place.host} is {', '.join(facts.addresses[:4])}"


def tcp(facts: Facts) -> str:
    """Connect to the service, or to the proxy before it."""
    place = _first_hop(facts)
    limit = facts.options.connect_timeout
    problem = ""
    for address in facts.addresses:
        started = time.monotonic()
        try:
            with socket.create_connection((address, place.port), timeout=limit):
                taken = (time.monotonic() - started) * 1000
                return f"{address} port {place.port} answers in {taken:.0f} ms"
        except TimeoutError:
            problem = f"{address} port {place.port} does not answer within {limit} s"
        except OSError as error:
            problem = f"{address} port {place.port}: {error.strerror or error}"
    raise UnavailableError(
        f"{place.host} cannot be reached: {problem}",
        remedy="check the network and the firewall; behind a proxy, add --with-proxy",
    )


def tls(facts: Facts) -> str:
    """Shake hands, through the proxy if there is one, and verify the server."""
    assert facts.endpoint is not None  # noqa: S101 - an earlier link's
    if facts.endpoint.scheme != "https":
        raise Warn(
            f"{facts.endpoint.authority} is spoken to in clear text",
            "use an https endpoint anywhere but in tests",
        )
    connection = Connection(
        facts.endpoint, facts.proxy, facts.options, Deadline(facts.options.time_limit)
    )
    connection._wait().close()  # noqa: SLF001 - exactly what a session's connection goes through
    if facts.options.no_verify_ssl:
        raise Warn(
            "the server's certificate is not verified: anybody on the way may answer in its place",
            "leave --no-verify-ssl out, and name the authority with AWS_CA_BUNDLE",
        )
    trusted = facts.options.ca_bundle or "the system's authorities"
    return f"{facts.endpoint.authority} is trusted by {trusted}"


def _first_hop(facts: Facts) -> Endpoint:
    place = facts.proxy or facts.endpoint
    assert place is not None  # noqa: S101 - an earlier link's
    return place


def _resolve(place: Endpoint) -> list[str]:
    found: list[str] = []
    errors: list[str] = []

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
            found.extend(dict.fromkeys(str(answer[4][0]) for answer in answers))
        except (OSError, UnicodeError) as error:
            errors.append(getattr(error, "strerror", None) or str(error))

    thread = threading.Thread(target=ask, daemon=True, name="credproc-resolver")
    thread.start()
    thread.join(NAME_LIMIT)
    if found:
        return found
    why = errors[0] if errors else f"no answer within {NAME_LIMIT:g} s"
    error: CredprocError = UnavailableError(
        f"the host name {place.host} cannot be resolved: {why}",
        remedy="check region and endpoint, and this host's DNS",
    )
    raise error
