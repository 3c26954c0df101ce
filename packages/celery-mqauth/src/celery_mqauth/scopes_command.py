"""`celery mqauth scopes`: the least that an app needs on its broker."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import click
from click.core import ParameterSource

from celery_mqauth.least.grants import RoleGrant, present_credentials, role_grants
from celery_mqauth.least.roles import ROLES, WorkerOptions
from celery_mqauth.queue_arguments import queue_names, tell_what_is_not_counted, worker_options
from mqauth.cli.broker_names import one_word, role_arn, scope_prefix, vhost_name
from mqauth.cli.option_arguments import given_token
from mqauth.cli.output import examples, note_json
from mqauth.cli.tables import print_wrapped_table, wrapped
from mqauth.diagnosis.exit_codes import REFUSED
from mqauth.errors import ConfigurationError, InvalidCredentialError
from mqauth.permissions.checks import ACTIONS
from mqauth.permissions.credential import token_asked
from mqauth.permissions.least import Element
from mqauth.permissions.least_check import Comparison, compare_expressions, compare_scopes
from mqauth.permissions.least_formats import (
    AMAZON_MQ_PREFIX,
    advanced_aliases,
    amazon_mq,
    as_expressions,
    as_scopes,
    conf_aliases,
    set_permissions,
)
from mqauth.permissions.regexes import RegexGrant
from mqauth.permissions.resource_server import ResourceServer
from mqauth.permissions.scope_grant import ScopeGrant

FORMATS = ("table", "scopes", "regex", "conf", "advanced", "amazonmq", "json")
_MAX_TOKEN = 1024 * 1024
_ISSUER = "https://ISSUER"


def _shape(ctx: click.Context, param: click.Parameter, value: str) -> str:
    note_json(ctx, param, value == "json")
    return value


def _https(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"https://[^\s/]+(/\S*)?", value):
        raise click.BadParameter("write it as https://HOST", ctx=ctx, param=param)
    return value.rstrip("/")


@click.command(
    short_help="Print the least that this app needs on its broker.",
    epilog=examples(
        "celery -A proj mqauth scopes",
        "celery -A proj mqauth scopes --role worker --format scopes",
        "celery -A proj mqauth scopes --role worker -Q celery,mails",
        "celery -A proj mqauth scopes --role producer --queue on.demand",
        "celery -A proj mqauth scopes --format conf > aliases.conf",
        "celery -A proj mqauth scopes --role worker --check",
    ),
)
@click.option(
    "roles",
    "--role",
    "-r",
    type=click.Choice(list(ROLES)),
    multiple=True,
    help="Only this role; may be repeated.",
)
@click.option(
    "shape",
    "--format",
    "-f",
    type=click.Choice(FORMATS),
    is_eager=True,  # before options whose values are judged as they are read
    callback=_shape,
    default="table",
    show_default=True,
    help="How to print it.",
)
@click.option(
    "--prefix",
    callback=scope_prefix,
    default="rabbitmq.",
    show_default=True,
    help="What the broker wants in front of scopes.",
)
@click.option(
    "--vhost", callback=vhost_name, help="The virtual host; by default that of the broker URL."
)
@click.option(
    "--name",
    "-n",
    callback=one_word,
    default="celery",
    show_default=True,
    help="Names users and aliases: NAME-ROLE.",
)
@click.option(
    "--role-arn",
    metavar="ARN",
    callback=role_arn,
    help="Amazon MQ: the role that gets the scopes.",
)
@click.option(
    "--issuer",
    callback=_https,
    default=_ISSUER,
    help="Amazon MQ: the issuer of web identity tokens.",
)
@worker_options
@click.option(
    "--without-heartbeat", is_flag=True, help="Workers are started with --without-heartbeat."
)
@click.option("--without-task-events", is_flag=True, help="Workers never send events of tasks.")
@click.option("--check", is_flag=True, help="Compare with the present credential.")
@click.option(
    "--token", "token_file", type=click.File("rb"), help="--check: the token, - to read it."
)
@click.option("--configure", help="--check: the user's regular expression.")
@click.option("--write", help="--check: the user's regular expression.")
@click.option("--read", help="--check: the user's regular expression.")
@click.pass_context
def scopes(ctx: click.Context, /, **given: Any) -> None:
    """Print the least that this very app needs on its broker, role by role.

    It is taken from the app's configuration: queues, exchanges, prefixes, result backend, quorum
    queues and delayed delivery, and the queues that routes, tasks and entries of beat name, which
    their senders create. What only apply_async(queue=...) names is not there: add --queue. With
    --check, tells what the present credential lacks and what it has too much of; the exit code is
    3 if anything is missing.
    """
    grants = role_grants(
        ctx.obj.app,
        given["roles"],
        options=WorkerOptions(
            gossip=not given["without_gossip"],
            mingle=not given["without_mingle"],
            heartbeat=not given["without_heartbeat"],
            task_events=not given["without_task_events"],
        ),
        queues=queue_names(given["queues"]),
        sent=given["sent"],
    )
    tell_what_is_not_counted(ctx.obj.app, [grant.role for grant in grants])
    _refuse_vhost_of_several(grants, given)
    _refuse_arn_of_several(grants, given)
    if given["check"]:
        ctx.exit(_check(ctx.obj.app, grants, given))
    _print(grants, given)


def _refuse_vhost_of_several(grants: Sequence[RoleGrant], given: dict[str, Any]) -> None:
    several = next((grant.vhosts for grant in grants if len(grant.vhosts) > 1), ())
    if given["vhost"] is not None and several:
        raise ConfigurationError(
            f"--vhost names one virtual host, and the app's URLs name {' and '.join(several)}",
            remedy="leave --vhost out, or give broker_read_url and broker_write_url the same",
        )


def _refuse_arn_of_several(grants: Sequence[RoleGrant], given: dict[str, Any]) -> None:
    if given["role_arn"] is None:
        return
    if given["shape"] != "amazonmq":
        raise ConfigurationError(
            "--role-arn says who gets scopes on Amazon MQ, and nothing else is printed for it",
            remedy="add --format amazonmq",
        )
    if len(grants) > 1:
        raise ConfigurationError(
            f"--role-arn names one role of IAM, and these are {len(grants)} roles of the app",
            remedy="choose one with --role, or leave --role-arn out and fill the ARNs in",
        )


def _print(grants: Sequence[RoleGrant], given: dict[str, Any]) -> None:
    shape = given["shape"]
    if shape in ("conf", "advanced", "amazonmq"):
        click.echo(_configuration(grants, given))
        return
    if shape == "json":
        click.echo(json.dumps([_as_json(grant, given) for grant in grants], indent=2))
        return
    for number, grant in enumerate(grants):
        if len(grants) > 1 or shape == "table":
            gap = "\n" if number else ""
            click.echo(f"{gap}# {grant.role}: {grant.title}")
        vhost = given["vhost"] or grant.vhost
        if shape == "regex":
            user = f"{given['name']}-{grant.role}"
            for each, elements in _by_vhost(grant, vhost):
                click.echo(set_permissions(elements, each, user))
        elif shape == "scopes":
            click.echo("\n".join(as_scopes(grant.scopes, vhost, given["prefix"])))
        else:
            rows = [(e.scope(vhost, given["prefix"]), ", ".join(e.why)) for e in grant.scopes]
            print_wrapped_table(("scope", "for"), rows)


def _by_vhost(grant: RoleGrant, vhost: str) -> list[tuple[str, tuple[Element, ...]]]:
    """Return the expressions of a role in each of its virtual hosts."""
    if len(grant.vhosts) == 1:
        return [(vhost, grant.expressions)]
    return [(each, grant.expressions_in(each)) for each in grant.vhosts]


def _configuration(grants: Sequence[RoleGrant], given: dict[str, Any]) -> str:
    amazon = given["shape"] == "amazonmq"
    prefix = AMAZON_MQ_PREFIX if amazon else given["prefix"]
    aliases = {
        _alias(grant, given, amazon=amazon): as_scopes(
            grant.scopes, given["vhost"] or grant.vhost, prefix
        )
        for grant in grants
    }
    if amazon:
        return amazon_mq(aliases, given["issuer"], prefix.rstrip("/"))
    return conf_aliases(aliases) if given["shape"] == "conf" else advanced_aliases(aliases)


def _alias(grant: RoleGrant, given: dict[str, Any], *, amazon: bool) -> str:
    if not amazon:
        return f"{given['name']}-{grant.role}"
    return str(given["role_arn"] or f"arn:aws:iam::ACCOUNT:role/{given['name']}-{grant.role}")


def _as_json(grant: RoleGrant, given: dict[str, Any]) -> dict[str, Any]:
    vhost = given["vhost"] or grant.vhost
    (_, elements), *others = _by_vhost(grant, vhost)
    found = {
        "role": grant.role,
        "title": grant.title,
        "vhost": vhost,
        "scopes": [
            {"scope": element.scope(vhost, given["prefix"]), "for": list(element.why)}
            for element in grant.scopes
        ],
        "permissions": as_expressions(elements),
    }
    if others:
        found["elsewhere"] = {each: as_expressions(more) for each, more in others}
    return found


def _check(app: Any, grants: Sequence[RoleGrant], given: dict[str, Any]) -> int:
    compared = [(grant, _compare(app, grant, given)) for grant in grants]
    if given["shape"] == "json":
        click.echo(json.dumps([_report(g, c, given) for g, c in compared], indent=2))
    else:
        for grant, comparison in compared:
            _print_comparison(grant, comparison, given)
    return 0 if all(comparison.enough for _, comparison in compared) else REFUSED


def _compare(app: Any, grant: RoleGrant, given: dict[str, Any]) -> Comparison:
    vhost = given["vhost"] or grant.vhost
    if _is_of_a_user(given):
        return _compare_user(grant, given, vhost)
    if given["token_file"] is not None:
        # Read once, and asked for each role.
        if "token" not in given:
            given["token"] = given_token(given["token_file"].read(_MAX_TOKEN))
        token = given["token"]
    else:
        token = given.setdefault("token", present_credentials(app).password)
    asked = given.setdefault("asked", token_asked(token, _servers(given)))
    if asked.refused is not None:
        reason, remedy = asked.refused
        kind = InvalidCredentialError if given["token_file"] is None else ConfigurationError
        raise kind(f"no broker takes this token: {reason}", remedy=remedy)
    if asked.doubtful and not given.get("told"):
        given["told"] = True
        note = f"{asked.doubtful}; --prefix decides"
        click.echo(f"Note: {wrapped(note, ' ' * 6)}", err=True)
    assert isinstance(asked.grant, ScopeGrant)  # noqa: S101 - a token's is
    # What is missing is written with the prefix that the token's broker wants.
    given["prefix"] = asked.grant.prefix
    return compare_scopes(asked.grant, grant.uses, vhost)


def _compare_user(grant: RoleGrant, given: dict[str, Any], vhost: str) -> Comparison:
    """Compare a user of the broker's own, who has the same expressions in each virtual host."""
    user = RegexGrant(
        vhost=vhost,
        configure=given["configure"] or "",
        write=given["write"] or "",
        read=given["read"] or "",
    )
    found = [
        compare_expressions(
            replace(user, vhost=each),
            [use for use in grant.uses if (use.vhost or vhost) == each],
            each,
        )
        for each, _ in _by_vhost(grant, vhost)
    ]
    needed = {text for each in found for text in each.wider}
    return Comparison(
        missing=tuple(element for each in found for element in each.missing),
        unneeded=_once(text for each in found for text in each.unneeded if text not in needed),
        wider=_once(text for each in found for text in each.wider),
    )


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _servers(given: dict[str, Any]) -> list[ResourceServer]:
    """Return what the broker is told, where the user says it."""
    source = click.get_current_context().get_parameter_source("prefix")
    if source is not ParameterSource.COMMANDLINE:
        return []
    return [ResourceServer(scope_prefix=given["prefix"], verify_aud=False)]


def _print_comparison(grant: RoleGrant, comparison: Comparison, given: dict[str, Any]) -> None:
    verdict = (
        click.style("enough", fg="green")
        if comparison.enough
        else click.style(f"{len(comparison.missing)} missing", fg="red")
    )
    click.echo(f"{grant.role}: {verdict}")
    rows = [("missing", _shown(e, grant, given), ", ".join(e.why)) for e in comparison.missing]
    rows += [("wider than needed", scope, "") for scope in comparison.wider]
    rows += [("not needed", scope, "") for scope in comparison.unneeded]
    if rows:
        what = "permission" if _is_of_a_user(given) else "scope"
        print_wrapped_table(("", what, "for"), rows)


def _is_of_a_user(given: dict[str, Any]) -> bool:
    """Tell whether the regular expressions of a user of the broker's own are compared."""
    return any(given[action] is not None for action in ACTIONS)


def _shown(element: Element, grant: RoleGrant, given: dict[str, Any]) -> str:
    if _is_of_a_user(given):
        where = f" in {element.vhost}" if element.vhost else ""
        return f"{element.action}: ^{element.name.expression}${where}"
    return element.scope(given["vhost"] or grant.vhost, given["prefix"])


def _report(grant: RoleGrant, comparison: Comparison, given: dict[str, Any]) -> dict[str, Any]:
    return {
        "role": grant.role,
        "enough": comparison.enough,
        "missing": [_shown(element, grant, given) for element in comparison.missing],
        "wider": list(comparison.wider),
        "unneeded": list(comparison.unneeded),
    }
