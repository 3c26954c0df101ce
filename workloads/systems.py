"""The systems that a run can sign in with: one entry of `SYSTEMS` each."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from mqauth_sandbox import Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """How worker and producer sign in while a system runs.

    Args:
        environment: Variables besides those of the sandbox.
        fetches: Returns how many credentials have been handed out so far.
        links: Returns how often each link of a chain has been gone through, in their order; none
            where the credential comes in one step.
    """

    fetches: Callable[[], int]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    links: Callable[[], Mapping[str, int]] = dict


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One identity system.

    Args:
        provider: The user part of the broker URL.
        sandbox: Returns a sandbox that has not been started, given which broker to run and how
            many seconds credentials live.
        signing_in: Given the running sandbox, that life and a private folder, does what has to go
            on beside the run.
        renews_in_place: Whether a live connection takes a new secret; where not, rotations are
            credentials handed out after the first and connections are replaced.
    """

    provider: str
    sandbox: Callable[[str, float], Sandbox]
    signing_in: Callable[[Sandbox, float, Path], AbstractContextManager[SignIn]]
    renews_in_place: bool = True


@contextlib.contextmanager
def _oauth2(sandbox: Sandbox, ttl: float, private: Path) -> Iterator[SignIn]:
    del ttl, private
    yield SignIn(fetches=lambda: sandbox.issuer.fetches)


@contextlib.contextmanager
def _amazonmq(sandbox: Sandbox, ttl: float, private: Path) -> Iterator[SignIn]:
    del private
    # AWS itself gives no token for less than a minute.
    sandbox.sts.token_lifetime_override = ttl
    yield SignIn(fetches=lambda: sandbox.sts.fetches)


@contextlib.contextmanager
def _apsaramq(sandbox: Sandbox, ttl: float, private: Path) -> Iterator[SignIn]:
    del private
    # Credentials are renewed after a fifth to a quarter of their life: with 25 s, every 15 to 19 s.
    # The tasks of 1.8 lives, 45 s, end before their session does, as in Alibaba Cloud, which knows
    # none of less than 15 minutes.
    sandbox.alibaba_sts.session_lifetime = 3 * ttl
    yield SignIn(fetches=lambda: sandbox.alibaba_sts.fetches)


@contextlib.contextmanager
def _external(sandbox: Sandbox, ttl: float, private: Path) -> Iterator[SignIn]:
    del private
    # As with ApsaraMQ, tasks of 1.8 lives end before the certificate that they began with does.
    sandbox.certificate_lifetime = 3 * ttl
    sandbox.renew_client_certificate()
    ended, count = threading.Event(), 1

    def renew() -> None:
        nonlocal count
        while not ended.wait(ttl / 2):
            sandbox.renew_client_certificate()
            count += 1

    renewing = threading.Thread(target=renew, name="certificate-renewal")
    renewing.start()
    try:
        yield SignIn(fetches=lambda: count)
    finally:
        ended.set()
        renewing.join()


@contextlib.contextmanager
def _static(sandbox: Sandbox, ttl: float, private: Path) -> Iterator[SignIn]:
    # Rotated as often as ApsaraMQ's: every 15 s with 25.
    broker, file, changes = sandbox.broker, private / "password", itertools.count(1)
    changed, stop = [0], threading.Event()

    def change() -> None:
        password = secrets.token_urlsafe(16)
        broker.ctl("change_password", "soak", stdin=f"{password}\n")
        file.write_text(password)
        changed[0] = next(changes)

    def keep_changing() -> None:
        while not stop.wait(0.6 * ttl):
            change()

    file.touch(mode=0o600)
    broker.add_user("soak", secrets.token_urlsafe(16))
    change()
    thread = threading.Thread(target=keep_changing, name="password-changer", daemon=True)
    thread.start()
    try:
        yield SignIn(
            environment={
                "MQAUTH_STATIC_USERNAME": "soak",
                "MQAUTH_STATIC_PASSWORD_FILE": str(file),
            },
            fetches=lambda: changed[0],
        )
    finally:
        stop.set()
        thread.join()


SESSION_TOKENS = 4
"""Tokens' lives that a session of the chain lasts: it is replaced under load, too."""


@contextlib.contextmanager
def _chain(sandbox: Sandbox, ttl: float, private: Path) -> Iterator[SignIn]:
    del private
    sandbox.sts.token_lifetime_override = ttl
    # AWS itself opens no session for less than 15 minutes.
    sandbox.roles_anywhere.session_lifetime = SESSION_TOKENS * ttl
    yield SignIn(
        fetches=lambda: sandbox.sts.fetches,
        # The private key is to be the only secret on disk.
        environment={"MQAUTH_CACHE": "off"},
        links=lambda: {
            "CreateSession": sandbox.roles_anywhere.fetches,
            "GetWebIdentityToken": sandbox.sts.fetches,
        },
    )


SYSTEMS: Mapping[str, System] = {
    "oauth2": System(
        provider="oauth2",
        sandbox=lambda broker, ttl: Sandbox(broker=broker, token_lifetime=ttl),
        signing_in=_oauth2,
    ),
    "amazonmq": System(
        provider="aws-iam",
        sandbox=lambda broker, ttl: Sandbox(
            broker=broker, token_lifetime=ttl, broker_auth="amazonmq"
        ),
        signing_in=_amazonmq,
    ),
    "apsaramq": System(
        provider="apsaramq-rrsa",
        sandbox=lambda broker, ttl: Sandbox(
            broker=broker, token_lifetime=ttl, broker_auth="apsaramq"
        ),
        signing_in=_apsaramq,
        renews_in_place=False,
    ),
    "external": System(
        provider="external",
        sandbox=lambda broker, ttl: Sandbox(
            broker=broker, token_lifetime=ttl, broker_auth="external"
        ),
        signing_in=_external,
        renews_in_place=False,
    ),
    "static": System(
        provider="static",
        sandbox=lambda broker, ttl: Sandbox(broker=broker, token_lifetime=ttl),
        signing_in=_static,
        renews_in_place=False,
    ),
    "chain": System(
        provider="aws-iam",
        sandbox=lambda broker, ttl: Sandbox(
            broker=broker,
            token_lifetime=ttl,
            broker_auth="amazonmq",
            aws_login="roles-anywhere",
        ),
        signing_in=_chain,
    ),
}
"""All of them by the names that `--system` takes."""
