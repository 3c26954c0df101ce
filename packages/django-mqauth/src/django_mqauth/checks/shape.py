"""The shape and the spelling of `MQAUTH`, before anything in it is understood."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage

from django_mqauth import conf
from django_mqauth.checks.messages import Place, error, listed, warning
from django_mqauth.kinds import kind_of
from mqauth.config.registry import provider_names

_WELL_KNOWN = {f"{conf.SETTING}_{name}" for name in conf.OWN_SETTINGS} | {
    f"{conf.SETTING}_{name.upper()}" for name in conf.SOURCE_SETTINGS
}

_NEARLY = ("MQAUTH", "MQAUTHS", "MQAUT", "MQATUH", "MAQUTH", "DJANGOMQAUTH", "MQAUTHENTICATION")
"""Names that were meant to be `MQAUTH`, underscores left out."""


def check_setting(setting: Any) -> Iterator[CheckMessage]:
    """Check `MQAUTH` as a whole."""
    if not isinstance(setting, Mapping):
        yield error(
            1,
            f"{conf.SETTING} is {kind_of(setting)}.",
            f'Write {conf.SETTING} = {{"default": {{"BROKER": "amqps://rabbit.example.com/prod", '
            '"PROVIDER": "oauth2"}}.',
            where=Place(conf.SETTING),
        )
    elif setting and "default" not in setting:
        yield warning(
            1,
            f"{conf.SETTING} has no alias 'default'.",
            f"Call one of them 'default' ({listed(setting)}): it is the one meant where no other "
            "is named.",
            where=Place(conf.SETTING),
        )
    if isinstance(setting, Mapping):
        names = [name for name in setting if conf.is_alias_name(name)]
        for name, other in itertools.combinations(names, 2):
            if conf.environment_prefix(name) == conf.environment_prefix(other):
                yield warning(
                    11,
                    f"The aliases {name!r} and {other!r} share the variables "
                    f"{conf.environment_prefix(name)}... of the environment.",
                    "Rename one of them: capitals, - and _ make no difference there.",
                    where=Place(conf.SETTING),
                )


def check_spelling() -> Iterator[CheckMessage]:
    """Check the names of the settings that begin with `MQAUTH_`."""
    for name in sorted(dir(settings)):
        if name.startswith(f"{conf.SETTING}_") and name not in _WELL_KNOWN:
            yield warning(
                2,
                f"There is no setting {name}{_meant(name, _WELL_KNOWN)}.",
                f"Correct it or take it out; there are {', '.join(sorted(_WELL_KNOWN))}.",
                where=Place(name),
            )


def check_name() -> Iterator[CheckMessage]:
    """Check for a setting that was meant to be `MQAUTH`, where there is none."""
    if hasattr(settings, conf.SETTING):
        return
    for name in sorted(dir(settings)):
        if name.isupper() and name not in _WELL_KNOWN and name.replace("_", "") in _NEARLY:
            yield warning(
                2,
                f"There is no setting {name} - did you mean {conf.SETTING}?",
                f"Call it {conf.SETTING}: without that no alias is known.",
                where=Place(name),
            )


def check_alias(name: Any, entry: Any) -> Iterator[CheckMessage]:
    """Check one alias: its name, its keys, and what kind of thing each of them is."""
    where = Place(conf.SETTING)[name]
    if not conf.is_alias_name(name):
        yield error(
            2,
            f"The alias {str(name)[:60]!r} cannot stand in a broker URL.",
            "Give it a name of letters, digits, - and _ that begins with a letter.",
            where=where,
        )
    elif name in provider_names():
        yield warning(
            3,
            f"The alias {name!r} has the name of a provider.",
            f"Rename it: in mqauths://{name}@host it hides the provider of that name.",
            where=where,
        )
    if not isinstance(entry, Mapping):
        yield error(
            3,
            f"{where} is {kind_of(entry)}.",
            'Write a dict: {"BROKER": "amqps://rabbit.example.com/prod", "PROVIDER": "oauth2"}.',
            where=where,
        )
        return
    for key in entry:
        if key not in conf.KEYS:
            yield error(
                4,
                f"{where} has a key {str(key)[:60]!r}{_meant(str(key).upper(), conf.KEYS)}.",
                f"Correct it; there are {', '.join(conf.KEYS)}. What a provider takes belongs "
                "into OPTIONS.",
                where=where,
            )
    for key in conf.MAPPINGS:
        if entry.get(key) is not None and not isinstance(entry[key], Mapping):
            yield error(
                5,
                f"{where[key]} is {kind_of(entry[key])}.",
                f'Write a dict, such as {{"{_EXAMPLES[key]}": ...}}.',
                where=where[key],
            )


_EXAMPLES = {"OPTIONS": "client_id", "TLS": "ca_certs", "TRANSPORT_OPTIONS": "confirm_publish"}


def is_well_shaped(entry: Any) -> bool:
    """Return whether what an alias holds can be looked at further."""
    return isinstance(entry, Mapping) and all(
        entry.get(key) is None or isinstance(entry[key], Mapping) for key in conf.MAPPINGS
    )


def _meant(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f" - did you mean {nearest[0]}?" if nearest else ""
