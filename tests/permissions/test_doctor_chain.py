"""Each way to break the chain is found, named, and mended by following the remedy."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from kombu import Exchange, Queue

from celery_mqauth.diagnosis import app_uses, diagnose_app
from celery_mqauth.least.grants import role_grants
from celery_mqauth.least.roles import ROLES
from mqauth.diagnosis.findings import EXIT_CODES, Finding
from mqauth.diagnosis.target import Target
from mqauth.diagnosis.walk import diagnose
from mqauth.permissions.operations import Operation
from mqauth.permissions.questions import parse_question
from mqauth_sandbox import Sandbox
from mqauth_sandbox.ports import free_ports
from mqauth_sandbox.tls import create_certificates
from tests.permissions.apps import classic, custom, edges, quorum, routed
from tests.permissions.trying import Management

Mend = Callable[[], object]
PUBLISH = "publish to exchange amq.topic with key task.sent"


@dataclass
class Chain:
    """A chain that a test breaks and mends.

    Attributes:
        sandbox: The issuer and the broker.
        folder: For files.
        name: The provider or entry.
        options: Its options.
        target: The broker.
        operations: What the app does there.
        permit: Scopes that permit all of that.
    """

    sandbox: Sandbox
    folder: Path
    name: str
    options: dict[str, Any]
    target: Target
    operations: Sequence[Operation] = field(default=())
    permit: Sequence[str] = field(default=())
    needed: Sequence[Operation] | None = None
    timeout: float = 20.0
    management: Management | None = None

    def walk(self) -> list[Finding]:
        """Walk it to its end or to the broken link."""
        return list(
            diagnose(
                self.name,
                options=self.options,
                target=self.target,
                operations=self.operations,
                scopes=self.permit,
                needed=self.needed,
                timeout=self.timeout,
            )
        )

    def manage(self) -> Management:
        """Return what sets the broker up."""
        if self.management is None:
            self.management = Management(self.sandbox.broker)
        return self.management


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the developer's environment may decide a test."""
    for name in list(os.environ):
        if name.startswith(("MQAUTH_", "AWS_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)


@pytest.fixture
def chain(sandbox_4: Sandbox, tmp_path: Path) -> Iterator[Chain]:
    """A chain in which nothing is broken; issuer and broker are well again afterwards."""
    issuer, broker = sandbox_4.issuer, sandbox_4.broker
    scopes, audience, lifetime = list(issuer.scopes), issuer.resource_server_id, 900.0
    secret = tmp_path / "secret"
    secret.write_text(issuer.client_secret)
    made = Chain(
        sandbox=sandbox_4,
        folder=tmp_path,
        name="oauth2",
        options={
            "issuer": issuer.issuer_url,
            "client_id": issuer.client_id,
            "client_secret_file": str(secret),
            "ca_file": str(sandbox_4.ca_file),
        },
        target=Target(host="localhost", port=broker.amqps_port, ca_file=str(sandbox_4.ca_file)),
        operations=[parse_question(PUBLISH), parse_question("declare queue celery")],
    )
    yield made
    issuer.faults.reset()
    issuer.scopes, issuer.resource_server_id, issuer.token_lifetime = scopes, audience, lifetime
    issuer.start()
    if made.management is not None:
        made.management.close()


def option(chain: Chain, name: str, value: Any) -> Mend:
    """Set an option; return what sets it back."""
    before = chain.options.get(name)
    chain.options[name] = value

    def mend() -> None:
        chain.options[name] = before
        if before is None:
            del chain.options[name]

    return mend


def target(chain: Chain, **changes: Any) -> Mend:
    """Point to another broker; return what points back."""
    before, chain.target = chain.target, replace(chain.target, **changes)
    return lambda: setattr(chain, "target", before)


def file(chain: Chain, content: bytes | None) -> Mend:
    """Spoil the file of the secret; return what writes it well."""
    path = Path(chain.options["client_secret_file"])
    path.unlink() if content is None else path.write_bytes(content)
    return lambda: path.write_text(chain.sandbox.issuer.client_secret)


def fault(chain: Chain, mode: Any, **settings: Any) -> Mend:
    """Have the issuer misbehave; return what makes it well."""
    faults = chain.sandbox.issuer.faults
    for name, value in {"mode": mode, **settings}.items():
        setattr(faults, name, value)
    return faults.reset


def scopes(chain: Chain, *granted: str) -> Mend:
    """Have tokens carry these scopes; the remedy's are added, and nothing else."""
    issuer = chain.sandbox.issuer
    issuer.scopes = list(granted)

    def mend() -> None:
        remedy = chain.walk()[-1].remedy or ""
        issuer.scopes += re.findall(r"rabbitmq\.\w+:[^\s;,]+", remedy)

    return mend


def stopped(chain: Chain) -> Mend:
    """Stop the issuer; return what starts it."""
    chain.sandbox.issuer.stop()
    return chain.sandbox.issuer.start


def audience(chain: Chain) -> Mend:
    """Have tokens be for somebody else; return what asks for the broker's own audience."""
    issuer = chain.sandbox.issuer
    issuer.resource_server_id = "elsewhere"
    return lambda: setattr(issuer, "resource_server_id", "rabbitmq")


def missing_vhost(chain: Chain) -> Mend:
    """Name a virtual host that is not there; return what creates it."""
    target(chain, vhost="doctor")
    return lambda: chain.manage().put(("vhosts", "doctor"), {})


def other_authority(chain: Chain) -> Mend:
    """Trust an authority that signed nothing here."""
    folder = chain.folder / "other"
    folder.mkdir()
    return target(chain, ca_file=str(create_certificates(folder).ca_file))


def no_pem(chain: Chain) -> Mend:
    """Name a file of authorities that holds none."""
    path = chain.folder / "ca.pem"
    path.write_text("nothing\n")
    return option(chain, "ca_file", str(path))


def long_token(chain: Chain) -> Mend:
    """Have tokens be longer than any broker takes; return what shortens them."""
    issuer = chain.sandbox.issuer
    before = list(issuer.scopes)
    issuer.scopes = [*before, *(f"rabbitmq.read:team-{number}/*" for number in range(400))]
    return lambda: setattr(issuer, "scopes", before)


def plain_elsewhere(chain: Chain) -> Mend:
    """Name a broker on the network without TLS; the remedy is TLS."""
    before = chain.target
    chain.target = replace(before, host="192.0.2.1", tls=False)
    return lambda: setattr(chain, "target", before)


def user(chain: Chain, password: str) -> Mend:
    """Sign in as a user of the broker's own, with this password; the remedy corrects it."""
    chain.manage().put(("users", "doctor"), {"password": "right", "tags": ""})
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    chain.manage().put(("permissions", "/", "doctor"), everything)
    file = chain.folder / "password"
    file.write_text(password)
    chain.name, chain.options = "static", {"username": "doctor", "password_file": str(file)}
    return lambda: file.write_text("right")


def user_without_permissions(chain: Chain) -> Mend:
    """Sign in as a user without permissions; the remedy gives them."""
    user(chain, "right")
    chain.manage().delete(("permissions", "/", "doctor"))
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    return lambda: chain.manage().put(("permissions", "/", "doctor"), everything)


def asked(chain: Chain, *questions: str) -> None:
    """Try other operations."""
    chain.operations = [parse_question(question) for question in questions]


def missing(chain: Chain, question: str, *granted: str) -> Mend:
    """Use what is not there and may not be declared; the remedy permits to declare it."""
    asked(chain, question)
    return scopes(chain, *granted)


def closed_port() -> int:
    """Return a port that nobody listens on."""
    return free_ports(1)[0]


def renamed(chain: Chain) -> Mend:
    """Name a provider that there is not; the remedy names those that there are."""
    before, chain.name = chain.name, "oauth"
    return lambda: setattr(chain, "name", before)


def misspelt(chain: Chain, name: str, wrong: str) -> Mend:
    """Misspell an option; return what spells it well."""
    chain.options[wrong] = chain.options.pop(name)
    return lambda: chain.options.update({name: chain.options.pop(wrong)})


def issuer_port(chain: Chain) -> int:
    """Return the port of something that speaks TLS and no AMQP."""
    return int(chain.sandbox.issuer.issuer_url.rpartition(":")[2])


Break = Callable[[Chain], Mend]

WAYS: dict[str, tuple[str, str, str, Break]] = {
    "unknown provider": ("options", "did you mean oauth2", "oauth2", renamed),
    "misspelt option": ("options", "clientid", "client_id",
                        lambda chain: misspelt(chain, "client_id", "clientid")),
    "missing option": ("options", "issuer", "MQAUTH_OAUTH2_ISSUER",
                       lambda chain: option(chain, "issuer", None)),
    "option that cannot be": ("options", "neither client_credentials", "use one of them",
                              lambda chain: option(chain, "grant_type", "magic")),
    "missing file": ("files", "cannot be read", "create it", lambda chain: file(chain, None)),
    "empty file": ("files", "is empty", "ought to write it", lambda chain: file(chain, b"\n")),
    "no certificates": ("files", "no certificates", "PEM", no_pem),
    "missing authority": ("files", "cannot be read", "name one",
                          lambda chain: option(chain, "ca_file", "/nowhere/ca.pem")),
    "issuer's host": ("issuer", "no address for", "spelling",
                      lambda chain: option(chain, "issuer", "https://issuer.invalid")),
    "issuer stopped": ("issuer", "no connection", "it runs", stopped),
    "issuer's authority": ("issuer", "not to be trusted", "ca_file",
                           lambda chain: option(chain, "ca_file", None)),
    "issuer's path": ("issuer", "HTTP 404", "option issuer",
                      lambda chain: option(chain, "issuer", chain.options["issuer"] + "/realm")),
    "issuer hangs": ("issuer", "did not answer within", "health",
                     lambda chain: fault(chain, "hang")),
    "issuer fails": ("issuer", "HTTP 500", "is well", lambda chain: fault(chain, "error500")),
    "clock": ("clock", "behind the issuer's", "clocks right",
              lambda chain: fault(chain, "none", clock_skew=600)),
    "wrong secret": ("credential", "invalid_client", "client_secret",
                     lambda chain: file(chain, b"wrong")),
    "unknown client": ("credential", "invalid_client", "client_id",
                       lambda chain: option(chain, "client_id", "nobody")),
    "scope not allowed": ("credential", "invalid_scope", "scope",
                          lambda chain: option(chain, "scope", "rabbitmq.read:other/*")),
    "throttled": ("credential", "429", "",
                  lambda chain: fault(chain, "throttle", affects="tokens")),
    "opaque token": ("credential", "no JWT", "",
                     lambda chain: fault(chain, "not_jwt", affects="tokens")),
    "expired token": ("credential", "token that expired", "",
                      lambda chain: fault(chain, "expired", affects="tokens")),
    "too long": ("claims", "characters; RabbitMQ takes", "fewer scopes", long_token),
    "broker's host": ("broker", "no address for", "spelling",
                      lambda chain: target(chain, host="rabbit.invalid")),
    "broker's port": ("broker", "no connection", "the port",
                      lambda chain: target(chain, port=closed_port())),
    "in clear": ("broker", "in clear text", "mqauths://", plain_elsewhere),
    "plain to the TLS port": ("broker", "does not speak AMQP", "mqauths://",
                              lambda chain: target(chain, tls=False)),
    "TLS to the plain port": ("tls", "no TLS with", "TLS port",
                              lambda chain: target(chain, port=chain.sandbox.broker.amqp_port)),
    "broker's authority": ("tls", "not to be trusted", "--ca-file", other_authority),
    "TLS to something else": ("tls", "does not speak AMQP", "check the port",
                              lambda chain: target(chain, port=issuer_port(chain))),
    "audience": ("login", "ACCESS_REFUSED", "resource_server_id", audience),
    "wrong password": ("login", "ACCESS_REFUSED", "user name and password",
                       lambda chain: user(chain, "wrong")),
    "missing vhost": ("vhost", "not found", "rabbitmqctl add_vhost doctor", missing_vhost),
    "vhost not granted": ("vhost", "refused", "rabbitmq.read:%2F/",
                          lambda chain: scopes(chain, "rabbitmq.read:other/*")),
    "user without permissions": ("vhost", "refused", "set_permissions", user_without_permissions),
    "other prefix": ("vhost", "refused", "rabbitmq.read:%2F/",
                     lambda chain: scopes(chain, "rmq/read:*/*/*", "rmq/write:*/*/*")),
    "operations": ("operations", "2 of 2 operations are refused", "rabbitmq.configure:%2F/celery",
                   lambda chain: scopes(chain, "rabbitmq.read:%2F/other")),
    "topics": ("operations", "1 of 2 operations are refused", "amq.topic/task.sent",
               lambda chain: scopes(chain, "rabbitmq.write:*/*", "rabbitmq.configure:*/*")),
    "one scope unprefixed": ("operations", "'rabbitmq.' is assumed: 2 of 3 scopes have it",
                             "rabbitmq.write:%2F/amq.topic/task.sent",
                             lambda chain: scopes(chain, "read:*/*", "rabbitmq.write:*/*",
                                                  "rabbitmq.configure:*/*")),
    "missing queue": ("operations", "may not declare it: queue 'doctor-none'",
                      "rabbitmq.configure:%2F/doctor-none",
                      lambda chain: missing(chain, "consume from queue doctor-none",
                                            "rabbitmq.read:*/*")),
    "missing exchange": ("operations", "may not declare it: exchange 'doctor-none'",
                         "declare it as a user who may",
                         lambda chain: missing(chain, "publish to exchange doctor-none",
                                               "rabbitmq.write:*/*/*")),
}  # fmt: skip


def test_a_healthy_chain(chain: Chain) -> None:
    """All links are there, in their order, and all are well."""
    findings = chain.walk()
    assert [finding.link for finding in findings] == [
        *("options", "files", "issuer", "clock", "credential", "claims"),
        *("broker", "tls", "login", "vhost", "operations", "renewal"),
    ]
    assert {finding.status for finding in findings} == {"ok"}
    assert sum(finding.code for finding in findings) == 0


@pytest.mark.parametrize("way", WAYS)
def test_a_broken_link(way: str, chain: Chain) -> None:
    """The broken link is found and named, and following its remedy mends it."""
    link, cause, remedy, breaks = WAYS[way]
    patience, hangs = chain.timeout, way == "issuer hangs"
    mend = breaks(chain)
    chain.timeout = 1.0 if hangs else patience
    *before, broken = chain.walk()
    chain.timeout = patience
    assert all(finding.status == "ok" for finding in before), before
    assert (broken.link, broken.status, broken.code) == (link, "failed", EXIT_CODES[link]), broken
    assert cause in broken.detail, broken
    assert remedy in (broken.remedy or ""), broken
    mend()
    healed = chain.walk()
    if way in ("missing vhost", "vhost not granted", "other prefix"):
        # Entering is mended; what an app does inside is the next link's business.
        assert healed[-1].link in ("operations", "renewal"), healed[-1]
        healed = [finding for finding in healed if finding.link != "operations"]
    assert all(finding.status == "ok" for finding in healed), healed[-1]


@pytest.mark.parametrize(
    ("family", "sample"),
    [
        ("rabbitmq.write:%2F/shop.celeryev/task.*", "rabbitmq.write:%2F/shop.celeryev/task.x"),
        (
            "rabbitmq.configure:%2F/shopev.*-*-*-*-*",
            "rabbitmq.configure:%2F/shopev.57a92bb9-48fb-3b86-a497-1f5931f492b2",
        ),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_family_is_granted_whole(family: str, sample: str, chain: Chain, *, there: bool) -> None:
    """A worker that lacks a family of names or keys is told to grant it; a sample is not enough."""
    if there:
        chain.manage().put(("exchanges", "/", "shop.celeryev"), {"type": "topic"})
    uses = app_uses(custom.make(), chain.target, roles=["worker"])
    chain.operations, chain.permit = uses["operations"], uses["scopes"]
    enough = [f"rabbitmq.{scope}" for scope in chain.permit]
    assert family in enough
    least = [scope for scope in enough if scope != family]
    for granted in (least, [*least, sample]):
        scopes(chain, *granted)
        broken = chain.walk()[-1]
        assert (broken.link, broken.remedy) == ("operations", f"add scopes: {family}"), broken
    scopes(chain, *enough)
    assert chain.walk()[-1].status == "ok"
    if there:
        chain.manage().delete(("exchanges", "/", "shop.celeryev"))


def test_what_may_be_declared_may_be_missing(chain: Chain) -> None:
    """It is told, and is no failure; what is there, or is declared first, is not told of."""
    asked(chain, "consume from queue doctor-none", "purge queue doctor-made",
          "declare queue doctor-made")  # fmt: skip
    *_, operations, _ = chain.walk()
    assert operations.status == "ok"
    assert (
        operations.detail == "3 permitted; not there yet, and may be declared: queue 'doctor-none'"
    )
    chain.manage().put(("queues", "/", "doctor-none"), {})
    *_, operations, _ = chain.walk()
    chain.manage().delete(("queues", "/", "doctor-none"))
    assert operations.detail == "3 permitted"


def test_what_an_app_has_others_declare(chain: Chain) -> None:
    """A queue that no part of the app declares has to be there, whatever is permitted."""
    app = classic.make()
    app.conf.task_queues = [
        Queue("doctor-own", Exchange("doctor-own")),
        Queue("doctor-given", Exchange("doctor-own"), no_declare=True),
    ]
    uses = app_uses(app, chain.target)
    chain.operations, chain.permit, chain.needed = (
        uses[name] for name in ("operations", "scopes", "needed")
    )
    broken = chain.walk()[-1]
    assert (broken.link, broken.code) == ("operations", EXIT_CODES["operations"]), broken
    assert broken.detail == "not there, and no part of the app declares it: queue 'doctor-given'"
    assert "no_declare" in (broken.remedy or "")
    chain.manage().put(("queues", "/", "doctor-given"), {})
    healed = chain.walk()[-1]
    chain.manage().delete(("queues", "/", "doctor-given"))
    assert healed.status == "ok", healed


@pytest.mark.parametrize("app", [classic, custom, quorum, routed, edges])
def test_a_new_broker_lacks_nothing(app: ModuleType) -> None:
    """What one part of an app declares is not missed by another that comes first."""
    for role in ROLES:
        uses = app_uses(app.make(), Target(host="localhost", port=5671), roles=[role])
        assert uses["needed"] == []


def test_there_are_twenty_ways() -> None:
    """At least twenty ways are tried, and each link is broken in one of them."""
    assert len(WAYS) >= 20
    assert {link for link, *_ in WAYS.values()} == EXIT_CODES.keys() - {"renewal"}


def test_nothing_is_left_behind(chain: Chain) -> None:
    """The broker has the queues, exchanges and bindings that it had, and no connection more."""
    management = chain.manage()
    questions = [
        "declare queue doctor-q",
        "declare exchange doctor-e",
        "bind queue doctor-q to exchange amq.topic with key a",
        "bind exchange amq.fanout to exchange amq.topic with key a",
        "publish to exchange amq.topic with key a",
        "consume from queue doctor-q",
        "purge queue doctor-q",
        "delete queue doctor-q",
        "delete exchange doctor-e",
        "declare queue doctor-q with dead-letter exchange doctor-e",
        "declare exchange doctor-e with alternate exchange amq.topic",
        "declare queue doctor-q with dead-letter exchange ''",
        "declare exchange doctor-e with alternate exchange ''",
    ]
    chain.operations = [parse_question(question) for question in questions]

    def state() -> list[Any]:
        names = [
            sorted(item["name"] for item in management.get(kind))
            for kind in ("queues", "exchanges")
        ]
        bindings = sorted(str(sorted(item.items())) for item in management.get("bindings"))
        return [*names, bindings]

    before = state()
    assert chain.walk()[-1].status == "ok"
    assert state() == before


@pytest.mark.parametrize("other", ["''", "amq.direct", "amq.topic"])
@pytest.mark.parametrize(
    "question",
    [
        "declare queue doctor-q with dead-letter exchange",
        "declare exchange doctor-e with alternate",
    ],
)
def test_where_messages_are_left(question: str, other: str, chain: Chain) -> None:
    """What a dead-letter or an alternate exchange needs is tried, and a topic is none of it."""
    named, kind = question.split()[2], question.split()[1]
    resource = "amq.default" if other == "''" else other
    needed = [
        f"rabbitmq.configure:%2F/{named}",
        f"rabbitmq.read:%2F/{named}",
        f"rabbitmq.write:%2F/{resource}",
    ]
    asked(chain, f"{question} {other}")
    scopes(chain, *needed)
    assert chain.walk()[-1].status == "ok"
    for lacking in needed:
        scopes(chain, *(scope for scope in needed if scope != lacking))
        broken = chain.walk()[-1]
        assert (broken.link, broken.remedy) == ("operations", f"add scopes: {lacking}"), broken
        about = f"exchange '{resource}'" if "write" in lacking else f"{kind} '{named}'"
        assert f"access to {about} in vhost" in broken.detail, broken


def test_what_nobody_may(chain: Chain) -> None:
    """An operation that no permission allows is refused, and no scope is said to help."""
    asked(chain, "declare queue celery", "delete exchange amq.topic")
    broken = chain.walk()[-1]
    assert (broken.link, broken.code) == ("operations", EXIT_CODES["operations"])
    assert broken.detail.startswith("nobody may delete exchange 'amq.topic'")
    assert broken.remedy == "leave it out: no permission allows it"


def test_a_reading_url_of_its_own(chain: Chain) -> None:
    """An app is walked to both of its virtual hosts, each for what it does there."""
    issuer, manage = chain.sandbox.issuer, chain.manage()
    for vhost in ("doctor-read", "doctor-write"):
        manage.put(("vhosts", vhost), {})
    app = classic.make()
    base = f"mqauths://oauth2@localhost:{chain.sandbox.broker.amqps_port}"
    app.conf.update(
        broker_url=None,
        broker_read_url=f"{base}/doctor-read",
        broker_write_url=f"{base}/doctor-write",
        broker_use_ssl={"ca_certs": str(chain.sandbox.ca_file)},
        broker_transport_options={"auth": chain.options},
    )
    (grant,) = role_grants(app, ["worker"])
    enough = [element.scope("", "rabbitmq.") for element in grant.scopes]
    issuer.scopes = enough
    found = list(diagnose_app(app, roles=["worker"]))
    assert found[-1].status == "ok", found[-1]
    links = [finding.link for finding in found]
    assert links.index("renewal") < links.index("vhost (read)") < links.index("operations (read)")
    lacking = "rabbitmq.read:doctor-read/celery"
    issuer.scopes = [scope for scope in enough if scope != lacking]
    broken = list(diagnose_app(app, roles=["worker"]))[-1]
    assert (broken.link, broken.code) == ("operations (read)", EXIT_CODES["operations"])
    assert broken.remedy == f"add scopes: {lacking}"
    for vhost in ("doctor-read", "doctor-write"):
        manage.delete(("vhosts", vhost))
