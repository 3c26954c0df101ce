"""Edges that are easy to get wrong, each by its name, and how releases differ."""

from __future__ import annotations

import time

import pytest

from mqauth.errors import ConfigurationError, InvalidCredentialError
from mqauth.permissions.broker_conf import resource_servers
from mqauth.permissions.checks import ACTIONS, Check
from mqauth.permissions.credential import scopes_asked, token_asked
from mqauth.permissions.explain import explain, explain_all
from mqauth.permissions.least import Use, least_expressions, least_scopes
from mqauth.permissions.least_check import compare_expressions, compare_scopes
from mqauth.permissions.name_patterns import Blank, named
from mqauth.permissions.operations import OPERATIONS, Operation, plan
from mqauth.permissions.prefix_guess import assumed_server
from mqauth.permissions.questions import parse_question
from mqauth.permissions.regexes import RegexGrant, TopicPermission
from mqauth.permissions.resource_server import Refused, ResourceServer, choose
from mqauth.permissions.scope_grant import ScopeGrant
from mqauth.permissions.scopes import IgnoredScope, parse_scope
from mqauth.permissions.token_scopes import read_token
from mqauth.permissions.versions import BrokerVersion

OLD, MIDDLE, NEW = (BrokerVersion.parse(text) for text in ("3.10.8", "3.13.7", "4.3.6"))
NOW = 1_700_000_000.0
CLAIMS = {"aud": "rabbitmq", "exp": int(NOW) + 600}


def allowed(grant: object, question: str, version: BrokerVersion = NEW) -> bool:
    """Put a question to a grant."""
    return explain(grant, parse_question(question), version).allow  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "difference", "has"),
    [
        ("4.2.6", "passive_configure", True),
        ("4.2.5", "passive_configure", False),
        ("4.2.7", "passive_any", True),
        ("4.3.0", "passive_any", False),
        ("4.3.1", "passive_any", True),
        ("4.4.0", "passive_any", True),
        ("4.3", "require_exp", True),
        ("4.3.2", "require_exp", False),
        ("3.10.18", "rar", False),
        ("3.10.19", "rar", True),
        ("3", "pipeline", False),
        ("4", "pipeline", True),
    ],
)
def test_versions(text: str, difference: str, *, has: bool) -> None:
    """A release has what its own branch or an older one brought."""
    assert BrokerVersion.parse(text).has(difference) is has


def test_a_version_that_is_none() -> None:
    """A version that cannot be read is refused with the way to write one."""
    with pytest.raises(ConfigurationError, match="write it as"):
        BrokerVersion.parse("newest")


def test_two_segments_open_no_topic() -> None:
    """AWS's own example lets a worker publish nothing to celeryev, and it is said why."""
    grant = ScopeGrant(["read:*/*", "write:*/*", "configure:*/*"])
    explanation = explain(grant, parse_question("publish to exchange celeryev with key task.sent"))
    assert not explanation.allow
    assert "two segments" in explanation.because
    assert explanation.add == ("write:%2F/celeryev/task.sent",)
    nothing = explain(ScopeGrant(()), parse_question("publish to exchange celeryev with key a"))
    assert nothing.add == ("write:%2F/celeryev/a",)
    assert explain(ScopeGrant(()), parse_question("connect")).add == ("read:%2F/",)


def test_what_is_to_be_added_is_enough() -> None:
    """For every operation, adding what is missing allows it, and nothing less does."""
    subject = Operation(
        kind=OPERATIONS[0],
        vhost="a/b",
        queue="q *%",
        exchange="e{x}",
        routing_key="k+#",
        topic=True,
    )
    for version in (OLD, MIDDLE, NEW):
        for explanation in explain_all(ScopeGrant((), version=version), subject, version):
            if explanation.because.startswith("the default"):
                continue
            grant = ScopeGrant(explanation.add, version=version)
            again = next(
                e
                for e in explain_all(grant, subject, version)
                if e.operation == explanation.operation
            )
            assert again.allow, (version, again)


def test_leftmost_without_backtracking() -> None:
    """A pattern's part is looked for once: what follows the first place decides."""
    assert not allowed(ScopeGrant(["read:*/*oo"]), "consume from queue fooboo")
    assert allowed(ScopeGrant(["read:*/*boo"]), "consume from queue fooboo")
    assert not allowed(ScopeGrant(["read:*/foo**"]), "consume from queue foo")


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        ("raed:a/b", "did you mean 'read'?"),
        ("read:/celery/x/y", "virtual host / is written read:%2F/celery/x/y"),
        ("read:celery", "names no resource"),
        ("read:a/b/c/d", "4 segments"),
        ("billing.read:a/b", "prefix that is not the broker's: 'billing.'"),
        ("openid", "does not begin with"),
    ],
)
def test_ignored_scopes(scope: str, reason: str) -> None:
    """A scope that counts for nothing says why."""
    parsed = parse_scope(scope)
    assert isinstance(parsed, IgnoredScope)
    assert reason in parsed.reason


def test_a_scope_that_cannot_be_decoded() -> None:
    """A scope that permits less than it looks is told apart from those that count."""
    asked = scopes_asked(["read:%2F/100%", "read:/celery"])
    assert "permits nothing" in asked.notes[0]
    assert "its virtual host is empty" in asked.notes[1]


@pytest.mark.parametrize(
    ("version", "passes"), [("4.2.5", True), ("4.2.6", False), ("4.3.0", False), ("4.3.1", True)]
)
def test_passive_declarations(version: str, *, passes: bool) -> None:
    """Reading is enough for a passive declaration but on the releases that wanted configure."""
    grant = ScopeGrant(["read:*/q"])
    assert allowed(grant, "passively declare queue q", BrokerVersion.parse(version)) is passes


def test_direct_reply_needs_nothing() -> None:
    """The pseudo-queue for direct replies is open to everybody who is let in."""
    grant = ScopeGrant(["read:%2F/nothing"])
    assert allowed(grant, "consume from queue amq.rabbitmq.reply-to")


def test_the_scope_claim_is_no_variable() -> None:
    """The broker has made a list of it before it fills variables in."""
    claims = {**CLAIMS, "scope": "rabbitmq.read:*/{iat}/{scope} rabbitmq.read:{sub}/*", "sub": "v"}
    for scope in (claims["scope"], str(claims["scope"]).split()):
        grant = read_token({**claims, "scope": scope}, (), NEW, now=lambda: NOW).grant
        assert [each.text for each in grant.permissions("w")] == ["read:*/iat/scope", "read:v/*"]


@pytest.mark.parametrize(
    ("question", "taken"),
    [
        ("declare queue 'a\r\nb'", True),
        ("passively declare queue 'a\nb'", True),
        ("delete exchange 'a\nb'", True),
        ("bind exchange ab to exchange 'a\nb'", True),
        ("unbind queue 'a\nb' from exchange ab", True),
        ("get from queue 'a\nb'", False),
        ("purge queue 'a\nb'", False),
        ("publish to exchange 'a\nb'", False),
        ("declare queue ab with dead-letter exchange 'a\nb'", False),
    ],
)
def test_line_ends_in_names(question: str, *, taken: bool) -> None:
    """They are taken out where something is declared, deleted or bound, and nowhere else."""
    plain = ScopeGrant([f"{action}:%2F/ab" for action in ACTIONS])
    assert allowed(plain, question) is taken
    written = [f"{action}:%2F/{name}" for action in ACTIONS for name in ("a%0Ab", "a%0D%0Ab")]
    assert allowed(ScopeGrant(written), question) is (not taken and "ab with" not in question)


def test_samples_of_a_family_have_nothing_in_common() -> None:
    """A scope that is too narrow for a family is not enough, whatever one of its names holds."""
    family = named(Blank.NODE, ".celery.pidbox")
    uses = [Use(operation="basic.consume", on=(("queue", family),))]
    for narrow in ("*@host*", "*w1@*", "celery@*", "*e*.celery.pidbox"):
        assert compare_scopes(ScopeGrant([f"read:v/{narrow}"]), uses, "v").missing, narrow
    assert compare_scopes(ScopeGrant(["read:v/*.celery.pidbox"]), uses, "v").enough
    levels = [f"read:v/celery_delayed_{level}" for level in ("27", "0", "delivery")]
    later = [Use(operation="basic.consume", on=(("queue", named("celery_delayed_", Blank.LEVEL)),))]
    assert compare_scopes(ScopeGrant(levels), later, "v").missing


def test_expressions_that_are_wider_than_needed() -> None:
    """What a user needs not, or not all of, is told as with scopes."""
    uses = [
        Use(operation="basic.consume", on=(("queue", named("celery")),)),
        Use(operation="basic.publish", on=(("exchange", named("amq.default")),)),
    ]
    exact = RegexGrant(vhost="v", write=r"^amq\.default$", read="^celery$")
    found = compare_expressions(exact, uses, "v")
    assert (found.enough, found.wider, found.unneeded) == (True, (), ())
    loose = RegexGrant(vhost="v", configure=".*", write=r"^amq\.default$", read="^celery")
    found = compare_expressions(loose, uses, "v")
    assert (found.enough, found.wider, found.unneeded) == (
        True,
        ("read: ^celery",),
        ("configure: .*",),
    )
    everything = RegexGrant(vhost="v", write="^(amq.default|celery)$", read=".*")
    assert compare_expressions(everything, uses, "v").wider == (
        "write: ^(amq.default|celery)$",
        "read: .*",
    )


def test_uses_in_several_virtual_hosts() -> None:
    """Each is needed where it is done, and covers nothing elsewhere."""
    uses = [
        Use(operation="basic.consume", on=(("queue", named(Blank.ANY)),), vhost="/"),
        Use(operation="basic.consume", on=(("queue", named("q")),), vhost="b"),
    ]
    scopes = [element.scope("unused") for element in least_scopes(uses)]
    assert scopes == ["read:%2F/*", "read:b/q"]
    assert len(least_expressions(uses)) == 2
    found = compare_scopes(ScopeGrant(["read:%2F/*"]), uses, "unused")
    assert [element.scope("") for element in found.missing] == ["read:b/q"]


def test_reserved_names_are_nobody_s() -> None:
    """What begins with amq. cannot be declared whatever somebody may."""
    explanation = explain(ScopeGrant(["configure:*/*"]), parse_question("declare queue amq.mine"))
    assert not explanation.allow
    assert explanation.add == ()


def test_copies_are_topics_too_since_4_0() -> None:
    """Routing keys of CC headers are looked at by newer brokers only."""
    operation = Operation(
        kind=parse_question("publish to x").kind,
        exchange="t",
        routing_key="a",
        also_to=("b",),
        topic=True,
    )
    assert len(plan(operation, MIDDLE).steps) == 2
    assert len(plan(operation, NEW).steps) == 3


def test_an_alias_and_a_missing_claim_before_4_1() -> None:
    """Before 4.1, aliases with an additional_scopes_key replace what the scope claim says."""
    server = ResourceServer(
        additional_scopes_key="roles", scope_aliases={"worker": ["rabbitmq.read:*/*"]}
    )
    claims = {**CLAIMS, "scope": "rabbitmq.write:*/*"}
    assert read_token(claims, server, MIDDLE, now=lambda: NOW).grant.scopes == ()
    assert read_token(claims, server, NEW, now=lambda: NOW).grant.scopes == ("write:*/*",)
    named = {**claims, "roles": ["worker"]}
    assert read_token(named, server, MIDDLE, now=lambda: NOW).grant.scopes == ("read:*/*",)


def test_a_map_where_scopes_belong_before_4_1() -> None:
    """With aliases, a claim of additional_scopes_key that is a map breaks old brokers' login."""
    server = ResourceServer(
        additional_scopes_key="roles", scope_aliases={"worker": ["rabbitmq.read:*/*"]}
    )
    claims = {**CLAIMS, "scope": "", "roles": {"rabbitmq": ["read:*/*"]}}
    refused = read_token(claims, server, OLD, now=lambda: NOW).refused
    assert refused is not None
    assert "claim roles is no text" in refused.reason
    assert read_token(claims, server, NEW, now=lambda: NOW).grant.scopes == ("read:*/*",)


def test_the_user_s_name() -> None:
    """Old brokers take client_id first and leave the login name; newer ones take sub first."""
    claims = {**CLAIMS, "scope": "", "sub": "s", "client_id": "c"}
    assert [read_token(claims, (), v, now=lambda: NOW).username for v in (OLD, NEW)] == ["c", "s"]
    bare = {**CLAIMS, "scope": ""}
    assert [read_token(bare, (), v, now=lambda: NOW).username for v in (OLD, NEW)] == [
        None,
        "unknown",
    ]


def test_audiences() -> None:
    """A token is for exactly one resource server, or for the only one that verifies none."""
    servers = [ResourceServer(id="a"), ResourceServer(id="b")]
    assert choose(servers, {"aud": "a"}, NEW) == servers[0]
    assert isinstance(choose(servers, {"aud": "a b"}, NEW), Refused)
    assert isinstance(choose(servers, {"aud": ["c"]}, NEW), Refused)
    assert isinstance(choose(servers, {}, NEW), Refused)
    opened = [ResourceServer(id="a"), ResourceServer(id="b", verify_aud=False)]
    assert choose(opened, {}, NEW) == opened[1]
    assert choose(opened, {"aud": "c"}, NEW) == opened[1]


def test_rabbitmq_conf() -> None:
    """What Amazon MQ is configured with is understood, both ways of writing aliases included."""
    (server,) = resource_servers(
        "auth_oauth2.resource_server_id = rabbitmq\n"
        "# auth_oauth2.scope_prefix = other/\n"
        "auth_oauth2.scope_prefix = rabbitmq/\n"
        "auth_oauth2.additional_scopes_key = sub\n"
        "auth_oauth2.scope_aliases.1.alias = arn:aws:iam::1:role/R\n"
        "auth_oauth2.scope_aliases.1.scope = rabbitmq/read:*/* rabbitmq/tag:administrator\n"
        "auth_oauth2.scope_aliases.admin = rabbitmq/tag:administrator\n"
        "auth_oauth2.preferred_username_claims.1 = email\n"
        "auth_oauth2.verify_aud = false\n"
    )
    reading = read_token({**CLAIMS, "sub": "arn:aws:iam::1:role/R"}, server, NEW, now=lambda: NOW)
    assert reading.grant.scopes == ("read:*/*", "tag:administrator")
    assert reading.tags == ("administrator",)
    assert server.scope_aliases["admin"] == ["rabbitmq/tag:administrator"]
    assert (server.verify_aud, server.preferred_username_claims) == (False, ("email",))


@pytest.mark.parametrize(
    ("scopes", "aud", "prefix", "certain"),
    [
        (["read:a/b", "rabbitmq.read:a/b"], "rabbitmq", "rabbitmq.", False),
        (["x.read:a/b", "x.read:a/c", "rabbitmq.read:a/b"], "rabbitmq", "rabbitmq.", False),
        (["openid", "x/read:a/b", "x/write:a/c", "read:a/b"], "rabbitmq", "x/", False),
        (["openid", "x/read:a/b"], "rabbitmq", "x/", True),
        (["read:a/b", "x/read:a/b"], "other", "x/", False),
        (["openid"], "other", "other.", True),
        (["read:a/b"], "other", "", True),
    ],
)
def test_the_prefix_that_is_assumed(
    scopes: list[str], aud: str, prefix: str, *, certain: bool
) -> None:
    """What the audience suggests, or else what most scopes have, is taken for the prefix."""
    server, guess = assumed_server({"aud": aud, "scope": scopes})
    assert (server.prefix(NEW), guess.prefix, guess.certain) == (prefix, prefix, certain)


def test_issuers_of_rabbitmq_conf() -> None:
    """An issuer counts where keys are fetched from it, through a named provider too."""
    base = "auth_oauth2.resource_server_id = rabbitmq\n"
    (root,) = resource_servers(base + "auth_oauth2.issuer = https://i\n")
    (keys,) = resource_servers(
        base + "auth_oauth2.issuer = https://i\nauth_oauth2.signing_keys.k = k.pem\n"
    )
    (named,) = resource_servers(
        base + "auth_oauth2.default_oauth_provider = p\n"
        "auth_oauth2.oauth_providers.p.issuer = https://p\n"
    )
    assert [root.issuer, keys.issuer, named.issuer] == ["https://i", None, "https://p"]


def test_several_resource_servers() -> None:
    """A resource server without settings of its own has the root's."""
    one, two = resource_servers(
        "auth_oauth2.resource_servers.1.id = prod\n"
        "auth_oauth2.resource_servers.2.id = dev\n"
        "auth_oauth2.resource_servers.2.scope_prefix = d.\n"
        "auth_oauth2.additional_scopes_key = roles\n"
    )
    assert (one.id, two.id, one.prefix(NEW), two.prefix(NEW)) == ("prod", "dev", "prod.", "d.")
    assert one.additional_scopes_key == two.additional_scopes_key == "roles"


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("no-jwt", "three parts"),
        ("a.b.c.d.e", "encrypted"),
        ("x" * 1_000_000, "longer than 65536 characters"),
        ("e30.e30", "three parts"),
        ("\x00.\x00.\x00", "not JSON objects"),
    ],
)
def test_tokens_that_nobody_can_read(token: str, said: str) -> None:
    """A token that is none, is encrypted or endless is refused in one line."""
    with pytest.raises(InvalidCredentialError, match=said):
        token_asked(token)


def test_an_expression_that_would_run_for_ever() -> None:
    """An expression that takes too many steps denies, in no time, on every release."""
    for version in (OLD, NEW):
        started = time.monotonic()
        grant = RegexGrant(write="^(a+)+$", version=version)
        question = parse_question(f"publish to exchange {'a' * 60}b")
        explanation = explain(grant, question, version)
        assert not explanation.allow
        assert "given up" in explanation.because
        assert time.monotonic() - started < 20  # a hang, not a speed


def test_an_expression_that_cannot_compile() -> None:
    """An expression that is none denies, and it is said what is wrong with it."""
    explanation = explain(RegexGrant(write="["), parse_question("publish to exchange e"))
    assert not explanation.allow
    assert "cannot be compiled" in explanation.because


def test_expressions_are_not_anchored() -> None:
    """An expression matches anywhere in a name, and an empty one matches nothing."""
    assert allowed(RegexGrant(read="celery"), "consume from queue my-celery-2")
    assert not allowed(RegexGrant(read=""), "consume from queue q")
    assert allowed(RegexGrant(write="^amq\\.default$"), "publish to queue q")


def test_the_two_erlangs() -> None:
    """A letter of ISO 8859-1 is one to old brokers only, as {,2} is a text to them."""
    for pattern, name, old in (("^\\w", "é", True), ("^o{,2}$", "oo", False)):
        for version, found in ((OLD, old), (NEW, not old)):
            grant = RegexGrant(read=pattern, version=version)
            assert allowed(grant, f"consume from queue {name}", version) is found


def test_topic_permissions() -> None:
    """Topics are free until a topic permission is set, and names in it are filled in."""
    question = "publish to exchange t with key ann.1"
    free = RegexGrant(write=".*")
    assert allowed(free, question)
    bound = RegexGrant(
        write=".*", username="ann", topics={"t": TopicPermission(write="^{username}\\.")}
    )
    assert allowed(bound, question)
    assert not allowed(bound, "publish to exchange t with key bob.1")


def test_names_in_topic_permissions_are_escaped_since_4_3_3() -> None:
    """A user whose name is an expression has the topics of all on old brokers."""
    for version, passes in ((OLD, True), (NEW, False)):
        grant = RegexGrant(
            write=".*",
            username=".*",
            topics={"t": TopicPermission(write="^{username}$")},
            version=version,
        )
        check = Check(kind="topic", vhost="/", name="t", action="write", routing_key="secret")
        assert grant.decide(check).allow is passes
