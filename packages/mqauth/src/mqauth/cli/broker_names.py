"""Names on a command line that a broker has to be able to take; callbacks of options.

Source: AMQP 0-9-1, 4.2.5.3 (short strings have at most 255 octets).
"""

from __future__ import annotations

import re

import click

LONGEST = 255
"""Bytes that a name on a broker may have."""

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", re.ASCII)


def short_text(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return a name that a broker can take, or None where there is none."""
    if value is None:
        return None
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        raise _bad("it is no UTF-8, which a broker's names are", ctx, param) from None
    if length > LONGEST:
        raise _bad(
            f"it has {length} bytes, and a broker's names have at most {LONGEST}", ctx, param
        )
    if any(not each.isprintable() for each in value):
        raise _bad("it holds control characters; write the name as the broker lists it", ctx, param)
    return value


def vhost_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the name of a virtual host, which is never empty."""
    if value == "":
        raise _bad("a virtual host has a name; the default one is /", ctx, param)
    return short_text(ctx, param, value)


def one_word(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return a text that can stand in a list of words, such as a part of an alias."""
    if value is not None and any(each.isspace() for each in value):
        raise _bad("it holds blanks; write it as one word", ctx, param)
    return short_text(ctx, param, value)


def scope_prefix(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return what stands in front of scopes, which blanks would tear apart."""
    return one_word(ctx, param, value)


def role_arn(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the ARN of a role of IAM."""
    if value is not None and _ROLE.fullmatch(value) is None:
        raise _bad("write it as arn:aws:iam::123456789012:role/NAME", ctx, param)
    return value


def _bad(reason: str, ctx: click.Context, param: click.Parameter) -> click.BadParameter:
    return click.BadParameter(reason, ctx=ctx, param=param)
