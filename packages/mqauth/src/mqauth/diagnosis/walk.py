"""The chain, link by link."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mqauth.config.resolution import ResolvedConfig, resolve
from mqauth.credentials import BrokerCredentials
from mqauth.diagnosis.broker_links import BrokerLinks
from mqauth.diagnosis.claims_link import check_claims, claims_of
from mqauth.diagnosis.findings import Finding, broken
from mqauth.diagnosis.issuer_links import (
    IssuerAnswer,
    check_clock,
    check_files,
    files_as_written,
    goes_through_proxy,
    issuer_url,
    look_at_issuer,
    named_files,
)
from mqauth.diagnosis.other_brokers import OtherBroker, nobody_looks_at, other_broker
from mqauth.diagnosis.target import Target, TopicUse
from mqauth.durations import duration
from mqauth.errors import ConfigurationError, MQAuthError
from mqauth.hosts import derived_from_host
from mqauth.links import Linked
from mqauth.permissions.operations import Operation
from mqauth.permissions.resource_server import ResourceServer
from mqauth.rotation.building import Parts, parts

TIMEOUT = 10.0
"""Seconds that one step may take."""


def diagnose(
    name: str,
    *,
    options: Mapping[str, Any] | None = None,
    target: Target | None = None,
    operations: Sequence[Operation] = (),
    scopes: Sequence[str] = (),
    needed: Sequence[Operation] | None = None,
    topics: Sequence[TopicUse] = (),
    servers: Sequence[ResourceServer] = (),
    timeout: float = TIMEOUT,
    host: str | None = None,
    started: Callable[[str], object] = str,
) -> Iterator[Finding]:
    """Walk the chain from configuration to the broker, up to the first broken link.

    Args:
        name: A provider or a named entry.
        options: Options of the provider and settings of the source.
        target: The broker; without one, the chain ends with the credential.
        operations: What is to be tried there, without doing it.
        scopes: Scopes without prefix that permit the operations and all others of their families:
            what a remedy is written with. Without them, it permits just what was tried.
        needed: Passive declarations of queues and exchanges that have to be there already. Without
            them, those that the operations use are looked for, and may be missing where the
            credential may declare them.
        topics: With Kafka, what is to be used there.
        servers: What the broker is told about OAuth 2, where that is known.
        timeout: Seconds that one step may take.
        host: The broker's host, where `target` is not given: Amazon MQ's and
            ApsaraMQ's tell options.
        started: Called with the name of each link before it is looked at.

    Yields:
        What each link is like; only the last can be a broken one.
    """
    walk = _Walk(
        name=name,
        options=options or {},
        target=target,
        topics=topics,
        servers=servers,
        timeout=timeout,
        host=host,
    )
    try:
        for link, look in walk.links(operations, scopes, needed):
            started(link)
            finding = _look(link, look)
            yield finding
            if finding.code:
                return
    finally:
        walk.close()


def _look(link: str, look: Callable[[], str]) -> Finding:
    started = time.monotonic()
    try:
        detail = look()
    except MQAuthError as error:
        return broken(link, error, _since(started))
    return Finding(link=link, status="ok", detail=detail, seconds=_since(started))


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


_Look = tuple[str, Callable[[], str]]


class _Walk:
    """What is known on the way."""

    def __init__(
        self,
        *,
        name: str,
        options: Mapping[str, Any],
        target: Target | None,
        topics: Sequence[TopicUse],
        servers: Sequence[ResourceServer],
        timeout: float,
        host: str | None,
    ) -> None:
        self._name, self._options, self._target = name, options, target
        self._servers, self._timeout = servers, timeout
        self._host = target.host if target is not None else host
        self._config: ResolvedConfig | None = None
        self._parts: Parts | None = None
        self._files: dict[str, Path] = {}
        self._answer: IssuerAnswer | None = None
        self._credentials: BrokerCredentials | None = None
        self._broker: BrokerLinks | None = None
        self._topics = topics
        self._other: OtherBroker | None = None

    def close(self) -> None:
        if self._other is not None:
            self._other.close()
        if self._broker is not None:
            self._broker.close()

    def links(
        self,
        operations: Sequence[Operation],
        scopes: Sequence[str],
        needed: Sequence[Operation] | None,
    ) -> Iterator[_Look]:
        yield "options", self._look_at_options
        if self._foreign and self._config is not None:
            yield "libraries", self._look_at_libraries
        if self._files:
            yield "files", lambda: check_files(self._files)
        assert self._config is not None  # noqa: S101 - or the walk had ended
        url = issuer_url(self._config)
        if url is not None and not goes_through_proxy(url):
            yield "issuer", lambda: self._look_at_issuer(url)
            yield "clock", lambda: check_clock(self._answer.skew if self._answer else None)
        yield from self._credential_links()
        if self._target is None:
            return
        yield "claims", self._look_at_claims
        if self._foreign:
            yield from self._other_links()
        else:
            yield from self._broker_links(operations, scopes, needed)

    @property
    def _foreign(self) -> bool:
        return self._target is not None and self._target.kind != "rabbitmq"

    def _look_at_options(self) -> str:
        try:
            self._config = resolve(
                self._name,
                explicit={**self._options, "cache": False},
                derived=derived_from_host(self._host) if self._host else {},
            )
            self._parts = parts(self._config)
        except ConfigurationError:
            # A file that cannot be used is the business of the next link, which says more.
            self._files = files_as_written(self._name, self._options, os.environ)
            if not _one_is_broken(self._files):
                raise
            return self._name
        self._files = named_files(self._config)
        if self._foreign:
            assert self._target is not None  # noqa: S101 - it is foreign
            self._other = other_broker(
                self._target, self._topics, insecure=bool(self._config.settings.get("insecure"))
            )
        return self._parts.provider.identity

    def _look_at_libraries(self) -> str:
        assert self._target is not None  # noqa: S101 - it is foreign
        if self._other is None:
            raise nobody_looks_at(self._target.kind)
        return self._other.libraries()

    def _look_at_issuer(self, url: str) -> str:
        assert self._config is not None  # noqa: S101 - the first link
        self._answer = answer = look_at_issuer(self._config, url, self._timeout)
        return f"{answer.where} answers" + (f" over {answer.tls}" if answer.tls else "")

    def _credential_links(self) -> Iterator[_Look]:
        assert self._parts is not None  # noqa: S101 - or a file is broken
        provider, timeout = self._parts.provider, self._parts.policy.timeout
        if isinstance(provider, Linked):
            for link in provider.links():
                yield link.name, lambda link=link: link.look(timeout)  # type: ignore[misc]
            if self._target is None:
                return
        yield "credential", lambda: self._fetch(timeout)

    def _fetch(self, timeout: float) -> str:
        assert self._parts is not None  # noqa: S101 - the first link
        self._credentials = fetched = self._parts.provider.fetch(timeout=timeout)
        left = _left(fetched)
        return f"{fetched.principal or fetched.username or 'fetched'}, {left}"

    def _look_at_claims(self) -> str:
        config, credentials = self._config, self._credentials
        assert config is not None  # noqa: S101 - links before this one
        assert credentials is not None  # noqa: S101 - the same
        if self._other is not None:
            self._other.check_token(credentials)
        jwt_only = config.provider in ("oauth2", "aws-iam")
        return check_claims(
            credentials,
            issuer=config.options.get("issuer"),
            servers=self._servers,
            jwt_expected=jwt_only and config.options.get("token_format") != "opaque",
            kind=self._target.kind if self._target is not None else "rabbitmq",
        )

    def _other_links(self) -> Iterator[_Look]:
        other, parts_, credentials = self._other, self._parts, self._credentials
        assert other is not None  # noqa: S101 - links before this one
        assert parts_ is not None  # noqa: S101 - the same
        assert credentials is not None  # noqa: S101 - the same
        for link in other.links(credentials, parts_.provider):
            yield link.name, lambda link=link: link.look(self._timeout)  # type: ignore[misc]

    def _broker_links(
        self,
        operations: Sequence[Operation],
        scopes: Sequence[str],
        needed: Sequence[Operation] | None,
    ) -> Iterator[_Look]:
        config, credentials, target = self._config, self._credentials, self._target
        assert config is not None  # noqa: S101 - links before this one
        assert credentials is not None  # noqa: S101 - the same
        assert target is not None  # noqa: S101 - looked at by the caller
        self._broker = broker = BrokerLinks(
            target,
            timeout=self._timeout,
            insecure=bool(config.settings.get("insecure")),
            servers=self._servers,
        )
        yield "broker", broker.reach
        if target.tls:
            yield "tls", lambda: broker.secure(credentials)
        yield "login", lambda: broker.sign_in(credentials, claims_of(credentials))
        yield "vhost", broker.enter
        yield "operations", lambda: broker.try_operations(operations, scopes, needed)
        yield "renewal", lambda: broker.renew(credentials)


def _one_is_broken(files: Mapping[str, Path]) -> bool:
    try:
        check_files(files)
    except MQAuthError:
        return True
    return False


def _left(credentials: BrokerCredentials) -> str:
    endless = credentials.expires_at is None
    return "it never expires" if endless else f"{duration(credentials.remaining())} left"
