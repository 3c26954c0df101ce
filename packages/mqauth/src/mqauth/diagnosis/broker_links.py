"""The broker's end of the chain: TCP, TLS, login, virtual host, operations, renewal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mqauth.credentials import BrokerCredentials
from mqauth.diagnosis.findings import BrokenLinkError
from mqauth.diagnosis.network import connect, context, secure
from mqauth.diagnosis.probes import declaring, is_missing, refusal, refusals, undeclared
from mqauth.diagnosis.session import LostError, Refusal, Session
from mqauth.diagnosis.target import Target
from mqauth.diagnosis.wire import NotAmqpError
from mqauth.errors import ConfigurationError
from mqauth.permissions.checks import Check
from mqauth.permissions.explain import Explanation, explain, without_covered
from mqauth.permissions.least_formats import AMAZON_MQ_PREFIX
from mqauth.permissions.operations import Operation, plan
from mqauth.permissions.prefix_guess import assumed_server
from mqauth.permissions.resource_server import ResourceServer
from mqauth.permissions.token_scopes import TokenReading, read_token
from mqauth.permissions.versions import NEWEST, BrokerVersion
from mqauth.secret import Secret

_FRAMES = {True: 8192, False: 4096}
_OVERHEAD = 320
_SHOWN = 6


class BrokerLinks:
    """The links from a credential to what an app does on its broker.

    Args:
        target: The broker.
        timeout: Seconds that one step may take.
        insecure: Whether a credential may travel in clear.
        servers: What the broker is told about OAuth 2, where that is known.
    """

    def __init__(
        self,
        target: Target,
        *,
        timeout: float,
        insecure: bool,
        servers: Sequence[ResourceServer] = (),
    ) -> None:
        """Connect nowhere yet."""
        self._target = target
        self._timeout = timeout
        self._insecure = insecure
        self._servers = servers
        self._link: Any = None
        self._session: Session | None = None
        self._claims: Mapping[str, Any] = {}
        self._provider = ""
        self._entered = False

    def close(self) -> None:
        """Leave."""
        if self._session is not None:
            self._session.close()
        elif self._link is not None:
            self._link.close()
        self._session = self._link = None

    def reach(self) -> str:
        """Open a TCP connection; without TLS, find out who speaks there."""
        target = self._target
        if not (target.tls or target.loopback or self._insecure):
            raise BrokenLinkError(
                f"a credential would be sent to {target.host} in clear text",
                remedy="use mqauths://, or set insecure if the network is safe",
            )
        self._link = connect("the broker", target.host, target.port, self._timeout)
        return f"{target} answers" if target.tls else self._greet("mqauths:// speaks TLS")

    def secure(self, credentials: BrokerCredentials) -> str:
        """Begin TLS, and find out who speaks there."""
        target = self._target
        self._link.settimeout(self._timeout)
        hint = "name the authority that signs it: --ca-file, or ca_certs in broker_use_ssl"
        settings = context("the broker", target.ca_file, credentials.certificate)
        self._link = secured = secure("the broker", self._link, target.host, settings, hint)
        return f"{secured.version()}, {self._greet('this may be the port of something else')}"

    def sign_in(self, credentials: BrokerCredentials, claims: Mapping[str, Any]) -> str:
        """Sign in with the credential."""
        session, self._claims = self._open(), claims
        self._provider = credentials.provider
        secret = credentials.password.reveal()
        self._check_size(len(secret) + len(credentials.username))
        mechanism, response = "PLAIN", Secret(f"\0{credentials.username}\0{secret}")
        if credentials.certificate is not None:
            mechanism, response = "EXTERNAL", Secret("")
        if mechanism not in session.mechanisms:
            raise BrokenLinkError(
                f"the broker offers no login by {mechanism}: {', '.join(session.mechanisms)}",
                remedy=f"let auth_mechanisms have {mechanism}",
            )
        try:
            session.sign_in(mechanism, response)
        except Refusal as answer:
            raise BrokenLinkError(
                f"the broker refuses the login: {answer.text}", remedy=self._login_remedy()
            ) from None
        except (LostError, TimeoutError) as error:
            raise BrokenLinkError(
                f"the broker ended the connection at login: {str(error) or 'no answer'}",
                remedy="the token may be too long for its first frame; its log has the reason",
            ) from None
        named = self._reading().username if claims else None
        return f"as {named or credentials.principal or credentials.username or 'its own user'}"

    def enter(self) -> str:
        """Enter the virtual host."""
        vhost = self._target.vhost
        try:
            self._open().enter(vhost)
        except Refusal as answer:
            raise BrokenLinkError(
                f"the broker does not let it into virtual host {vhost!r}: {answer.text}",
                remedy=self._vhost_remedy(answer.text),
            ) from None
        self._entered = True
        return repr(vhost)

    def try_operations(
        self,
        operations: Sequence[Operation],
        scopes: Sequence[str] = (),
        needed: Sequence[Operation] | None = None,
    ) -> str:
        """Try each operation without doing it, and look whether what they use is there.

        Args:
            operations: The operations.
            scopes: Scopes that permit them all, prefix left out.
            needed: Passive declarations of what has to be there already; None for what the
                operations use and do not declare, unless it may be declared.
        """
        session = self._open()
        for operation in operations:
            forbidden = plan(operation).forbidden
            if forbidden is not None:
                raise BrokenLinkError(
                    f"nobody may {operation}: {forbidden}",
                    remedy="leave it out: no permission allows it",
                )
        refused: list[tuple[Operation, str]] = []
        for operation in operations:
            said = refusals(session, operation) or self._foreseen(operation)
            if said:
                refused.append((operation, said))
        if refused:
            added = self._lacking([operation for operation, _ in refused], scopes)
            shown = "; ".join(f"{operation}: {said}" for operation, said in refused[:_SHOWN])
            more = f"; and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
            assumed = self._assumed()[1] if self._claims and added else ""
            raise BrokenLinkError(
                f"{len(refused)} of {len(operations)} operations are refused: {shown}{more}"
                + (f"; {assumed}" if assumed else ""),
                remedy=self._grant_remedy(without_covered(added)),
            )
        said = f"{len(operations)} permitted" if operations else "none were named"
        return said + self._look_for(undeclared(operations) if needed is None else needed, needed)

    def _look_for(self, used: Sequence[Operation], needed: Sequence[Operation] | None) -> str:
        """Look for queues and exchanges; return what is to be told of those that may be missing."""
        session = self._open()
        missing = [each for each in used if is_missing(session, each)]
        lacking = [
            each
            for each in missing
            if needed is not None or refusal(session, declaring(each)) is not None
        ]
        if not lacking:
            names = ", ".join(map(_named, missing))
            return f"; not there yet, and may be declared: {names}" if missing else ""
        names = ", ".join(map(_named, lacking[:_SHOWN])) + ", …" * (len(lacking) > _SHOWN)
        if needed is not None:
            raise BrokenLinkError(
                f"not there, and no part of the app declares it: {names}",
                remedy="declare it on the broker, or have the app declare it (without no_declare)",
            )
        added = self._lacking([declaring(each) for each in lacking], ())
        raise BrokenLinkError(
            f"not there, and this credential may not declare it: {names}",
            remedy="declare it as a user who may, correct its name, or permit it: "
            + self._grant_remedy(without_covered(added)),
        )

    def renew(self, credentials: BrokerCredentials) -> str:
        """Renew the credential in place, with itself."""
        if credentials.expires_at is None:
            return "not needed: the credential never expires"
        if credentials.certificate is not None or not self._claims:
            return "connections are replaced when it is renewed: it is no token"
        try:
            self._open().update_secret(credentials.password)
        except (Refusal, LostError, TimeoutError, NotAmqpError) as error:
            raise BrokenLinkError(
                f"the broker does not renew a credential in place: {error}",
                remedy="it has to be RabbitMQ 3.8 or newer; connections are replaced otherwise",
            ) from None
        return "a credential is renewed in place (update-secret)"

    @property
    def _version(self) -> BrokerVersion:
        try:
            return BrokerVersion.parse(self._open().version)
        except ConfigurationError:
            return NEWEST

    def _open(self) -> Session:
        assert self._session is not None  # noqa: S101 - links are looked at in their order
        return self._session

    def _greet(self, hint: str) -> str:
        session = Session(self._link, self._timeout)
        try:
            session.greet()
        except TimeoutError:
            raise BrokenLinkError(
                f"{self._target} does not speak AMQP: no answer within {self._timeout:g} s",
                remedy=f"check the port; {hint}",
            ) from None
        except (NotAmqpError, LostError, Refusal) as error:
            raise BrokenLinkError(
                f"{self._target} does not speak AMQP: {error}",
                remedy=f"check the port; {hint}",
            ) from None
        self._session = session
        product = session.properties.get("product") or "AMQP"
        return f"{product} {session.version}".strip()

    def _check_size(self, length: int) -> None:
        limit = _FRAMES[self._version.has("frame_8192")]
        if length + _OVERHEAD > limit:
            raise BrokenLinkError(
                f"a token of {length:,} bytes does not fit into the first frame of RabbitMQ "
                f"{self._open().version}, which holds {limit:,}",
                remedy="ask the issuer for fewer scopes or claims, or use scope aliases"
                + ("" if limit > _FRAMES[False] else "; RabbitMQ 4.1 takes twice the size"),
            )

    def _reading(self) -> TokenReading:
        return read_token(self._claims, self._assumed()[0], self._version)

    def _assumed(self) -> tuple[Sequence[ResourceServer], str]:
        """Return what the broker is told, and why that is thought; empty where it is known."""
        if self._servers:
            return self._servers, ""
        known = AMAZON_MQ_PREFIX if self._provider == "aws-iam" else None
        server, guess = assumed_server(self._claims, self._version, known)
        if known:
            return [server], ""
        why = guess.why
        if not self._entered and server.scope_prefix is not None:
            # Had the broker wanted what the scopes have, they would have opened the virtual host.
            server, why = replace(server, scope_prefix=None), "the audience suggests it"
        prefix = server.prefix(self._version)
        return [server], f"scope prefix {prefix!r} is assumed: {why}; --conf tells it for sure"

    def _login_remedy(self) -> str:
        if not self._claims:
            return "check user name and password, or whether the broker has the OAuth 2 plugin"
        refused = self._reading().refused
        if refused is not None:
            return f"{refused.remedy} ({refused.reason})"
        audience = self._claims.get("aud")
        return (
            "the broker's log has the reason; compare its resource_server_id with the audience "
            f"{audience!r}, and its issuer and keys with {self._claims.get('iss')!r}"
        )

    def _vhost_remedy(self, said: str) -> str:
        vhost = self._target.vhost
        if "not found" in said:
            return f"create it (rabbitmqctl add_vhost {vhost}), or correct the URL"
        entering = Check(kind="vhost", vhost=vhost)
        reading = self._reading()
        if self._claims and reading.grant.decide(entering).allow:
            return f"create it (rabbitmqctl add_vhost {vhost}), or correct the URL"
        if self._claims:
            wanted = reading.grant.missing(entering)
            assumed = self._assumed()[1]
            return (
                f"add a scope for it, at the least {wanted}"
                + (f" ({assumed})" if assumed else "")
                + "; mqauth explain shows those it has"
            )
        return "give the user permissions there: rabbitmqctl set_permissions -p VHOST USER ..."

    def _grant_remedy(self, added: Sequence[str]) -> str:
        if self._claims and added and "scope" not in self._claims:
            subject = self._claims.get("sub")
            return f"the broker's alias of {subject} has to stand for these too: {' '.join(added)}"
        if self._claims and added:
            return f"add scopes: {' '.join(added)}"
        return "give the user these permissions; celery mqauth scopes prints them"

    def _lacking(self, refused: Sequence[Operation], scopes: Sequence[str]) -> list[str]:
        """Return what has to be granted: those of the scopes that it takes, and what they lack."""
        grant, version = self._reading().grant, self._version

        def left(added: Sequence[str]) -> list[str]:
            more = grant.with_scopes([*grant.scopes, *added])
            return [text for each in refused for text in explain(more, each, version).add]

        kept = list(scopes)
        least = len(left(kept))
        for scope in scopes:
            without = [other for other in kept if other != scope]
            if len(left(without)) == least:
                kept = without
        return [*(grant.prefix + scope for scope in kept), *left(kept)]

    def _foreseen(self, operation: Operation) -> str | None:
        """Return a refusal that comes once an exchange is there: of its topics."""
        if not self._claims:
            return None
        explanation: Explanation = explain(self._reading().grant, operation, self._version)
        refused = [step for step in explanation.steps if not step.allow]
        foreseen = refused and all(" topic " in f" {step.needs} " for step in refused)
        return f"{refused[0].because} (once the exchange is there)" if foreseen else None


def _named(declared: Operation) -> str:
    kind = declared.kind.name.partition(".")[0]
    return f"{kind} {(declared.queue or declared.exchange)!r}"
