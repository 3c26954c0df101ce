"""`manage.py mqauth_scopes`: the least that the site's Celery app needs on its broker.

It is `celery mqauth scopes` with the site's app, so that its options are read off that command.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError, CommandParser

from django_mqauth.management.base import MqauthCommand
from django_mqauth.optional import has_celery
from django_mqauth.workers.asking import celery_app
from mqauth.errors import ConfigurationError

if TYPE_CHECKING:
    import click


class Command(MqauthCommand):
    """Prints grants, or compares them with the present credential."""

    help = (
        "Print the least that the site's Celery app (MQAUTH_CELERY_APP, else the current one) "
        "needs on its broker, role by role. With --check, tell what the present credential lacks "
        "and what it has too much of; the exit code is 3 if anything is missing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options of `celery mqauth scopes`."""
        super().add_arguments(parser)
        for option in _options():
            parser.add_argument(*option.opts, **_argument(option))

    def handle(self, *, as_json: bool, **given: Any) -> None:
        """Hand the options on."""
        if not has_celery():
            raise ConfigurationError(
                "mqauth_scopes is about a Celery app, and Celery is not installed",
                remedy='pip install "django-mqauth[celery]"',
            )
        if as_json:
            given["shape"] = "json"
        said, noted = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(noted):
                code = _run([word for option in _options() for word in _words(option, given)])
        except CommandError as error:
            if not as_json:
                raise
            code, wrong = error.returncode, str(error)
            self.print_json({"ok": False, "exit_code": code, "error": wrong, "remedy": None})
        else:
            self.stdout.write(said.getvalue(), ending="")
        finally:
            # Notes, which are no error: what failed is raised.
            self.stderr.write(noted.getvalue(), style_func=str, ending="")
        if code:
            sys.exit(code)


def _options() -> Iterator[click.Option]:
    if has_celery():
        import click  # noqa: PLC0415 - comes with Celery

        from celery_mqauth.scopes_command import scopes  # noqa: PLC0415 - optional

        yield from (each for each in scopes.params if isinstance(each, click.Option))


def _argument(option: click.Option) -> dict[str, Any]:
    words: dict[str, Any] = {"dest": option.name, "help": (option.help or "").replace("%", "%%")}
    if option.is_flag:
        return {**words, "action": "store_true"}
    # What is not given stays with the default of the option itself.
    words |= {"default": None, "choices": getattr(option.type, "choices", None)}
    return {**words, **({"action": "append"} if option.multiple else {"metavar": option.metavar})}


def _words(option: click.Option, given: dict[str, Any]) -> Iterator[str]:
    value = given.get(str(option.name))
    if option.is_flag:
        yield from [option.opts[-1]] if value else []
        return
    for each in value if isinstance(value, list | tuple) else [value]:
        if each is not None:
            yield f"{max(option.opts, key=len)}={each}"


def _run(arguments: list[str]) -> int:
    import click  # noqa: PLC0415 - comes with Celery

    from celery_mqauth.scopes_command import scopes  # noqa: PLC0415 - optional

    try:
        ended = scopes.main(
            arguments,
            prog_name="manage.py mqauth_scopes",
            obj=SimpleNamespace(app=celery_app()),
            standalone_mode=False,
        )
    except click.ClickException as error:
        raise CommandError(error.format_message(), returncode=error.exit_code) from None
    return ended if isinstance(ended, int) else 0
