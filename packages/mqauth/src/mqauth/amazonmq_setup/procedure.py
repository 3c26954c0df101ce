"""The set-up itself: its steps in order, each looked at anew right before it acts."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mqauth.amazonmq_setup.account import Account, BrokerState
from mqauth.amazonmq_setup.broker_conf import (
    SCOPE_PREFIX,
    UNKNOWN_ISSUER,
    SignIn,
    with_sign_in,
)
from mqauth.amazonmq_setup.policies import allowing_tokens, as_text, assumed_role, trusting
from mqauth.amazonmq_setup.steps import Say, Step
from mqauth.errors import ConfigurationError, IssuerRefusedError, IssuerUnavailableError

DEFAULT_ROLE = "RabbitMqAdminRole"
DEFAULT_SCOPES = (
    f"{SCOPE_PREFIX}tag:administrator",
    f"{SCOPE_PREFIX}read:*/*/*",
    f"{SCOPE_PREFIX}write:*/*/*",
    f"{SCOPE_PREFIX}configure:*/*/*",
)
"""AWS's example with a third segment: without it no topic may be used, and Celery's events are
topics."""

_POLL_EVERY = 5.0
_FORMS = {
    "role": r"[\w+=,.@-]{1,64}",
    "trust": r"arn:[!-~]+|\d{12}",
    "scope": r"[!-~]+",
    "audience": r"[!-~]+",
}
_REMEDIES = {
    "role": "give a role's name: letters, digits and +=,.@-_ , at most 64",
    "trust": "give an ARN, such as arn:aws:iam::123456789012:role/Worker",
    "scope": "give one scope without blanks, such as rabbitmq/read:prod/*/*",
    "audience": "give a text without blanks",
}
_OLDEST = (3, 13)
_REBOOTING = "REBOOT_IN_PROGRESS"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is to be set up.

    Args:
        broker_id: The broker.
        role: Name of the role that signs in.
        trusted: ARNs of who may assume it; the caller if empty.
        scopes: What it may do on the broker.
        audience: Audience of its tokens.
        reboot: Whether the broker may be rebooted.
        reboot_timeout: Seconds that a reboot may take.
    """

    broker_id: str
    role: str = DEFAULT_ROLE
    trusted: tuple[str, ...] = ()
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    audience: str = "rabbitmq"
    reboot: bool = True
    reboot_timeout: float = 1800.0

    def __post_init__(self) -> None:
        """Refuse what AWS would refuse halfway, or what would add lines to a configuration."""
        values = {"scope": self.scopes, "audience": (self.audience,), "trust": self.trusted}
        for name, forms in _FORMS.items():
            given = (self.role,) if name == "role" else values[name]
            for value in given:
                if not re.fullmatch(forms, value):
                    raise ConfigurationError(
                        f"--{name} {value[:80]!a} cannot be one", remedy=_REMEDIES[name]
                    )

    @property
    def policy(self) -> str:
        """Name of the role's inline policy."""
        return f"{self.role}Policy"


class Procedure:
    """Compares and changes, step by step.

    Args:
        account: The account.
        wanted: What is to be set up there.
        poll_every: Seconds between two looks at a broker that reboots.
    """

    def __init__(
        self, account: Account, wanted: Wanted, *, poll_every: float = _POLL_EVERY
    ) -> None:
        """Ask who calls, and whether the broker is one that can do it.

        Raises:
            MQAuthError: It is not, or AWS does not tell.
        """
        self._account = account
        self._wanted = wanted
        self._poll_every = poll_every
        self._caller = account.caller_arn()
        self._role_arn: str | None = None
        self.awaits_reboot = False
        """Whether the broker has what it needs and takes it with its next reboot only."""
        _check(wanted.broker_id, account.broker(wanted.broker_id))

    @property
    def role_arn(self) -> str:
        """ARN of the role that signs in; while there is none, the one that it gets."""
        if self._role_arn is not None:
            return self._role_arn
        # One that is made here has no path; one that was there before may have.
        partition, number = self._caller.split(":")[1], self._caller.split(":")[4]
        return f"arn:{partition}:iam::{number}:role/{self._wanted.role}"

    def plan(self) -> list[Step]:
        """Return all steps as they stand now; changes nothing."""
        return [look() for look in self._looks()]

    def apply(self, say: Say) -> Iterator[Step]:
        """Take each step that is due and yield it; what is as it ought to be is left alone."""
        for look in self._looks():
            step = look()
            if step.due:
                say(f"{step.title} ...")
                step.act(say)
                yield step

    def _looks(self) -> tuple[Callable[[], Step], ...]:
        return self._federation, self._role, self._policy, self._configuration, self._association

    def _federation(self) -> Step:
        issuer = self._account.issuer()
        return Step(
            title="outbound web identity federation of the account",
            present=f"enabled: {issuer}" if issuer else "disabled",
            wanted=f"enabled: {issuer or UNKNOWN_ISSUER}",
            act=lambda _: self._account.enable_federation(),
        )

    def _role(self) -> Step:
        role = self._wanted.role
        found = self._account.role(role)
        self._role_arn = found.arn if found else None
        present = found.trust if found else None
        wanted = trusting(present, self._wanted.trusted or (self._principal(),))
        write = self._account.create_role if present is None else self._account.set_trust_policy
        return Step(
            title=f"role {role}: who may assume it",
            present=as_text(present),
            wanted=as_text(wanted),
            act=lambda _: write(role, wanted),
        )

    def _principal(self) -> str:
        """Return what a trust policy names for the caller: of a session, its role."""
        name = assumed_role(self._caller)
        if name is None:
            return self._caller
        why = ""
        try:
            found = self._account.role(name)
        except IssuerRefusedError as error:
            found, why = None, f": {error.message}"
        if found is not None:
            return found.arn
        raise IssuerRefusedError(
            f"the ARN of the caller's own role {name}, which may have a path, is not known{why}",
            remedy="name who may assume the role with --trust ARN; somebody who may ask IAM sees "
            f"the caller's by aws iam get-role --role-name {name}",
        )

    def _policy(self) -> Step:
        role, name = self._wanted.role, self._wanted.policy
        present = self._account.role_policy(role, name)
        wanted = allowing_tokens(present)
        return Step(
            title=f"role {role}: policy {name}",
            present=as_text(present),
            wanted=as_text(wanted),
            act=lambda _: self._account.set_role_policy(role, name, wanted),
        )

    def _configuration(self) -> Step:
        broker = self._account.broker(self._wanted.broker_id)
        present, wanted = self._texts(broker)
        latest = self._account.latest_revision(broker.configuration)
        text = present
        if self._account.configuration_text(broker.configuration, latest) == wanted:
            text = wanted  # an earlier run got as far as this
        return Step(
            title=f"configuration {broker.configuration}",
            present=text,
            wanted=wanted,
            act=lambda say: self._add_revision(broker.configuration, wanted, say),
        )

    def _add_revision(self, configuration: str, text: str, say: Say) -> None:
        revision, warnings = self._account.add_revision(configuration, text)
        say(f"configuration {configuration} has revision {revision} now")
        for warning in warnings:
            say(f"Amazon MQ warns: {warning}")

    def _association(self) -> Step:
        broker_id = self._wanted.broker_id
        broker = self._account.broker(broker_id)
        present, wanted = self._texts(broker)
        revision: int | None = broker.pending or broker.revision
        if present != wanted:
            revision = self._account.latest_revision(broker.configuration)
            if self._account.configuration_text(broker.configuration, revision) != wanted:
                revision = None  # not made yet
        number = "the new revision" if revision is None else f"revision {revision}"
        target = -1 if revision is None else revision
        return Step(
            title=f"broker {broker_id}",
            present=f"runs with revision {broker.revision} of {broker.configuration}",
            wanted=f"runs with {number} of {broker.configuration}",
            act=lambda say: self._take(broker, target, say),
            consequence="the broker reboots" if self._wanted.reboot else None,
        )

    def _take(self, broker: BrokerState, revision: int, say: Say) -> None:
        broker_id = self._wanted.broker_id
        if broker.pending != revision:
            self._account.associate(broker_id, broker.configuration, revision)
        if not self._wanted.reboot:
            say(f"the broker takes revision {revision} with its next reboot")
            self.awaits_reboot = True
            return
        # An earlier run may have been cut off while it waited.
        if broker.state != _REBOOTING or broker.pending != revision:
            self._account.reboot(broker_id)
        self._wait(revision, say)

    def _wait(self, revision: int, say: Say) -> None:
        started = time.monotonic()
        while (passed := time.monotonic() - started) < self._wanted.reboot_timeout:
            broker = self._account.broker(self._wanted.broker_id)
            if broker.state == "RUNNING" and broker.revision == revision:
                say(f"the broker is back after {passed:.0f} s")
                return
            say(f"the broker is {broker.state} ({passed:.0f} s)")
            time.sleep(self._poll_every)
        raise IssuerUnavailableError(
            f"the broker {self._wanted.broker_id} was not back with revision {revision} "
            f"within {self._wanted.reboot_timeout:.0f} s",
            remedy="wait for it in the Amazon MQ console and run this again: it goes on from there",
        )

    def _texts(self, broker: BrokerState) -> tuple[str, str]:
        """Return the configuration that the broker has, or gets next, and the one it ought to."""
        revision = broker.pending or broker.revision
        present = self._account.configuration_text(broker.configuration, revision)
        sign_in = SignIn(
            issuer=self._account.issuer(),
            audience=self._wanted.audience,
            role_arn=self.role_arn,
            scopes=self._wanted.scopes,
        )
        return present, with_sign_in(present, sign_in)


def _check(broker_id: str, broker: BrokerState) -> None:
    if broker.engine != "RABBITMQ":
        raise ConfigurationError(
            f"the broker {broker_id} runs {broker.engine}", remedy="name a RabbitMQ broker"
        )
    version = tuple(int(part) for part in broker.version.split(".")[:2] if part.isdecimal())
    if version < _OLDEST:
        raise ConfigurationError(
            f"the broker {broker_id} runs RabbitMQ {broker.version}, which has no IAM sign-in",
            remedy="upgrade it to 3.13, or to 4.2 or newer",
        )
