"""`mqauth explain`: may this credential do that?"""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import click

from mqauth.cli.broker_names import scope_prefix, short_text, vhost_name
from mqauth.cli.option_arguments import (
    complete_name,
    conf_option,
    given_token,
    option_of,
    parsed,
    refuse_secrets,
    the_only_entry,
)
from mqauth.cli.output import examples, json_option, print_json
from mqauth.cli.printable import printable
from mqauth.cli.tables import print_wrapped_table, wrapped
from mqauth.config.resolution import resolve
from mqauth.diagnosis.exit_codes import REFUSED
from mqauth.errors import ConfigurationError
from mqauth.permissions.batch import answers, blocks_of_lines
from mqauth.permissions.broker_conf import read_conf
from mqauth.permissions.checks import ACTIONS
from mqauth.permissions.credential import Asked, read_scopes, scopes_asked, token_asked
from mqauth.permissions.explain import Explanation, explain, explain_all
from mqauth.permissions.operations import OPERATIONS, Operation
from mqauth.permissions.questions import parse_question
from mqauth.permissions.regexes import RegexGrant, TopicPermission
from mqauth.permissions.resource_server import ResourceServer
from mqauth.permissions.versions import NEWEST, BrokerVersion
from mqauth.rotation.building import parts
from mqauth.rotation.source import CredentialSource
from mqauth.secret import Secret

_MAX_FILE = 4 * 1024 * 1024
_SHOWN = 200


def _version(ctx: click.Context, param: click.Parameter, value: str | None) -> BrokerVersion:
    del ctx, param  # click's callback has them
    return NEWEST if value is None else BrokerVersion.known(value)


@click.command(
    short_help="Tell whether a credential may do something, and why.",
    epilog=examples(
        "mqauth explain --from billing publish to exchange celeryev with key task.sent",
        'mqauth explain -s "rabbitmq.read:*/*" consume from queue celery in vhost prod',
        "mqauth explain --token token.jwt --queue celery --exchange celeryev",
        'mqauth explain --configure "^celery" --write "" --read ".*" declare queue celery',
        "mqauth explain --batch < questions.jsonl",
    ),
)
@click.argument("question", nargs=-1)
@click.option(
    "--from",
    "name",
    metavar="NAME",
    shell_complete=complete_name,
    help="Fetch a token from this provider or named entry.",
)
@option_of("that provider")
@click.option(
    "--token",
    "token_file",
    metavar="FILE",
    help="Read a token from this file, or from standard input with -.",
)
@click.option(
    "scopes",
    "--scope",
    "-s",
    metavar="SCOPE",
    multiple=True,
    help="A scope; may be repeated, or hold several.",
)
@click.option("--configure", metavar="REGEX", help="What a user of the broker's own may configure.")
@click.option("--write", metavar="REGEX", help="What that user may write.")
@click.option("--read", metavar="REGEX", help="What that user may read.")
@click.option(
    "topics",
    "--topic",
    metavar="EXCHANGE=WRITE,READ",
    multiple=True,
    help="The user's topic permission in an exchange; may be repeated.",
)
@click.option(
    "--username", default="", help="The user's name, for {username} in topic permissions."
)
@click.option("--prefix", callback=scope_prefix, help="What the broker wants in front of scopes.")
@conf_option("resource server, prefix, aliases")
@click.option("--resource-server-id", help="The broker's resource_server_id.")
@click.option("--issuer", help="The issuer that the broker trusts.")
@click.option(
    "--broker-version",
    "version",
    callback=_version,
    help="Which RabbitMQ is asked, such as 3.13 or 4.2.5; by default the newest.",
)
@click.option(
    "--vhost", callback=vhost_name, default="/", show_default=True, help="The virtual host."
)
@click.option(
    "--queue",
    callback=short_text,
    default="celery",
    show_default=True,
    help="The queue of the table.",
)
@click.option(
    "--exchange",
    callback=short_text,
    default="celery",
    show_default=True,
    help="The exchange of the table.",
)
@click.option("--key", callback=short_text, default="", help="The routing key of the table.")
@click.option("--batch", is_flag=True, help="Answer questions of standard input, JSON lines.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    question: tuple[str, ...],
    batch: bool,
    as_json: bool,
    version: BrokerVersion,
    vhost: str,
    **given: Any,
) -> None:
    """Tell whether a credential may do something on a broker, and why.

    The credential is a token (--from or --token), a list of scopes, or the three regular
    expressions of a user of the broker's own. QUESTION is in your words; without one, every
    operation on --queue and --exchange is gone through. The answer is what the broker would say;
    no broker is asked. With a question, the exit code tells too: 0 allowed, 3 not.
    """
    if batch:
        _batch(version)
        return
    operation = parse_question(question, vhost=vhost) if question else None
    asked = _asked(given, operation.vhost if operation else vhost, version)
    if operation is not None:
        explanation = explain(asked.grant, operation, version)
        (_json_one if as_json else _print_one)(asked, explanation)
        ctx.exit(0 if explanation.allow else REFUSED)
    subject = Operation(
        kind=OPERATIONS[0],
        vhost=vhost,
        queue=given["queue"],
        exchange=given["exchange"],
        routing_key=given["key"],
    )
    (_json_all if as_json else _print_all)(asked, explain_all(asked.grant, subject, version))


def _asked(given: dict[str, Any], vhost: str, version: BrokerVersion) -> Asked:
    expressions = [given[action] for action in ACTIONS]
    regexes = any(pattern is not None for pattern in expressions) or bool(given["topics"])
    chosen = [given["name"] is not None, given["token_file"] is not None, bool(given["scopes"])]
    if sum([*chosen, regexes]) > 1:
        raise ConfigurationError(
            "several credentials are given",
            remedy="give one of --from, --token, --scope, and the regular expressions",
        )
    if regexes:
        return Asked(grant=_user(given, vhost, version), username=given["username"] or None)
    if given["scopes"]:
        scopes = [scope for text in given["scopes"] for scope in read_scopes(text)]
        return scopes_asked(scopes, given["prefix"], version)
    token = _token(given["token_file"]) if given["token_file"] else _fetched(given)
    return token_asked(token, _servers(given), version, issuer=given["issuer"])


def _user(given: dict[str, Any], vhost: str, version: BrokerVersion) -> RegexGrant:
    topics = {}
    for text in given["topics"]:
        exchange, equals, patterns = text.rpartition("=")
        write, comma, read = patterns.partition(",")
        if not equals or not comma or not exchange:
            raise click.BadParameter("write EXCHANGE=WRITE,READ", param_hint="--topic")
        topics[exchange] = TopicPermission(write=write, read=read)
    patterns = {action: given[action] or "" for action in ACTIONS}
    return RegexGrant(
        vhost=vhost, topics=topics, username=given["username"], version=version, **patterns
    )


def _token(file: str) -> Secret:
    try:
        with click.open_file(file, "rb") as opened:
            content = opened.read(_MAX_FILE)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {file}: {error.strerror}", remedy="name a file that holds the token"
        ) from None
    return given_token(content)


def _fetched(given: dict[str, Any]) -> Secret:
    name = given["name"] or the_only_entry()
    options = parsed(given["options"])
    refuse_secrets(name, options)
    source = CredentialSource.from_parts(parts(resolve(name, explicit=options)))
    try:
        return source.get().password
    finally:
        source.close()


def _servers(given: dict[str, Any]) -> list[ResourceServer]:
    servers = []
    if given["conf"] is not None:
        servers = read_conf(given["conf"])
    changes: dict[str, Any] = {}
    if given["resource_server_id"] is not None:
        changes["id"] = given["resource_server_id"]
    if given["prefix"] is not None:
        changes["scope_prefix"] = given["prefix"]
    if not changes:
        return servers
    if servers:
        return [replace(servers[0], **changes), *servers[1:]]
    return [ResourceServer(**{"verify_aud": "id" in changes, **changes})]


def _batch(version: BrokerVersion) -> None:
    # The caches keep much and no circles: to look for those again and again takes time.
    gc.set_threshold(1_000_000)
    # Half a surrogate pair cannot be encoded; `\\ud800` is how JSON writes it.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # Whoever asks one question and waits for its answer gets it: what came at once is answered
    # at once.
    read: Callable[[int], bytes] = getattr(sys.stdin.buffer, "read1", sys.stdin.buffer.read)
    for lines in blocks_of_lines(read):
        sys.stdout.write("\n".join(answers(lines, version)) + "\n")
        sys.stdout.flush()


def _print_one(asked: Asked, explanation: Explanation) -> None:
    _print_credential(asked)
    verdict, colour = ("allowed", "green") if explanation.allow else ("refused", "red")
    because = asked.refused[0] if asked.refused else explanation.because
    click.echo(f"{click.style(verdict, fg=colour)}  {wrapped(explanation.words, ' ' * 9)}")
    click.echo(f"         {wrapped(because, ' ' * 9)}")
    if len(explanation.steps) > 1 and not asked.refused:
        for step in explanation.steps:
            mark = click.style("yes" if step.allow else "no ", fg="green" if step.allow else "red")
            by = f": {step.decided_by}" if step.allow and step.decided_by else ""
            click.echo(f"  {mark}    {wrapped(step.needs + by, ' ' * 9)}")
    for added in explanation.add if not asked.refused else ():
        click.echo(f"  add    {click.style(printable(added), bold=True)}")
    if asked.refused:
        click.echo(f"  do     {wrapped(asked.refused[1], ' ' * 9)}")
    if explanation.note:
        click.echo(f"  note   {wrapped(explanation.note, ' ' * 9)}")


def _print_all(asked: Asked, explanations: Sequence[Explanation]) -> None:
    _print_credential(asked)
    if asked.refused:
        click.echo(f"{click.style('refused', fg='red')}  {wrapped(asked.refused[0], ' ' * 9)}")
        click.echo(f"  do     {wrapped(asked.refused[1], ' ' * 9)}")
        return
    rows = [_row(explanation) for explanation in explanations]
    colours = [None if explanation.allow else "red" for explanation in explanations]
    print_wrapped_table(("operation", "allowed", "because of, or to add"), rows, colours)
    for note in dict.fromkeys(e.note for e in explanations if e.note and "taken for" in e.note):
        click.echo(f"note: {wrapped(note, ' ' * 6)}")


def _row(explanation: Explanation) -> tuple[str, str, str]:
    if explanation.allow:
        return explanation.operation, "yes", " ".join(explanation.decided_by)
    added = " ".join(explanation.add)
    return explanation.operation, "no", f"add {added}" if added else explanation.because


def _print_credential(asked: Asked) -> None:
    if asked.username:
        tags = f", tags {' '.join(asked.tags)}" if asked.tags else ""
        click.echo(printable(f"user name  {asked.username}{tags}"))
    for scope, reason in asked.ignored:
        said = f"{scope if len(scope) < _SHOWN else scope[:_SHOWN] + '…'}: {reason}"
        click.echo(f"{click.style('ignored', fg='yellow')}    {wrapped(said, ' ' * 11)}")
    for note in asked.notes:
        click.echo(f"note       {wrapped(note, ' ' * 11)}")


def _json_one(asked: Asked, explanation: Explanation) -> None:
    print_json({**_credential(asked), **_explanation(explanation)})


def _json_all(asked: Asked, explanations: Sequence[Explanation]) -> None:
    print_json({**_credential(asked), "operations": [_explanation(e) for e in explanations]})


def _credential(asked: Asked) -> dict[str, Any]:
    return {
        "username": asked.username,
        "tags": list(asked.tags),
        "refused": asked.refused and {"reason": asked.refused[0], "remedy": asked.refused[1]},
        "ignored": [{"scope": scope, "reason": reason} for scope, reason in asked.ignored],
        "notes": list(asked.notes),
    }


def _explanation(explanation: Explanation) -> dict[str, Any]:
    return {
        **asdict(explanation),
        "decided_by": list(explanation.decided_by),
        "add": list(explanation.add),
    }
