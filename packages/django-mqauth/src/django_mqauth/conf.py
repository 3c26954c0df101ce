"""The setting `MQAUTH` and what belongs to it, read anew whenever somebody asks.

    MQAUTH = {
        "default": {
            "BROKER": "amqps://rabbit.example.com/prod",
            "PROVIDER": "oauth2",
            "OPTIONS": {"issuer": "...", "client_id": "...", "client_secret_file": "..."},
            "TLS": {"ca_certs": "/etc/ssl/private-ca.pem"},
            "TRANSPORT_OPTIONS": {"confirm_publish": True},
        },
    }

`DJANGO_MQAUTH_<ALIAS>_BROKER`, `..._PROVIDER` and `..._OPTIONS_<OPTION>` in the environment win
over it. `MQAUTH_CACHE`, `MQAUTH_RENEW_AT`, `MQAUTH_TIMEOUT` and `MQAUTH_INSECURE` count for all
aliases whose `OPTIONS` say nothing else.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from django.conf import ENVIRONMENT_VARIABLE
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from django_mqauth import defaults
from django_mqauth.broker_address import Address, HoldsPasswordError, addresses
from django_mqauth.kinds import kind_of
from mqauth.config.options import suggestion
from mqauth.errors import ConfigurationError

SETTING = "MQAUTH"
KEYS = ("BROKER", "PROVIDER", "OPTIONS", "TLS", "TRANSPORT_OPTIONS")
MAPPINGS = ("OPTIONS", "TLS", "TRANSPORT_OPTIONS")
SOURCE_SETTINGS = ("cache", "renew_at", "timeout", "insecure")
"""What may stand in OPTIONS beside the provider's own options, and as MQAUTH_* for all aliases."""
OWN_SETTINGS = (
    "CELERY_NAMESPACE",
    "CELERY_APP",
    "ADMIN_REFRESH",
    "ADMIN_TIMEOUT",
    "WORKERS_MISSED",
)
_PREFIX = "DJANGO_MQAUTH_"
_OPTIONS = "OPTIONS_"


class SettingsError(ConfigurationError):
    """Something in the settings cannot work, and a system check says so too.

    Args:
        number: The number of the check's id: 7 for `mqauth.E007`.
        message: What cannot work.
        remedy: What to do about it.
    """

    def __init__(self, number: int, message: str, *, remedy: str | None = None) -> None:
        """Keep the id of the check."""
        super().__init__(message, remedy=remedy)
        self.number = number
        self.check = f"mqauth.E{number:03}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how it is copied."""
        return functools.partial(type(self), remedy=self.remedy), (self.number, self.message)


@dataclass(frozen=True, kw_only=True, slots=True)
class Alias:
    """One entry of `MQAUTH`, the environment's word included.

    Args:
        name: Its name.
        brokers: Where it signs in.
        provider: Who signs in.
        options: The provider's options and the source's settings; may hold secrets.
        tls: TLS options as in Celery's `broker_use_ssl`.
        transport_options: Kombu's transport options for `connections`.
    """

    name: str
    brokers: tuple[Address, ...]
    provider: str
    options: Mapping[str, Any] = field(repr=False)
    tls: Mapping[str, Any]
    transport_options: Mapping[str, Any]

    @property
    def url(self) -> str:
        """The URL (or failover list) for Celery and Kombu."""
        return ";".join(address.url(self.name) for address in self.brokers)


def raw_aliases(given: Mapping[str, Any] | None = None) -> Mapping[Any, Any]:
    """Return `MQAUTH` as it stands, with what the environment says over it.

    Raises:
        ConfigurationError: It is no dict of aliases.
    """
    setting = _setting() if given is None else given
    if not isinstance(setting, Mapping):
        raise SettingsError(
            1,
            f"{SETTING} is {kind_of(setting)}",
            remedy='write a dict: {"default": {"BROKER": "amqps://...", "PROVIDER": "..."}}',
        )
    return {name: _overridden(name, entry) for name, entry in setting.items()}


def alias(name: str, given: Mapping[str, Any] | None = None) -> Alias:
    """Return one alias.

    Raises:
        ConfigurationError: There is none of that name, or it cannot work.
    """
    raw = raw_aliases(given)
    if name not in raw:
        raise ConfigurationError(
            f"{SETTING} has no alias {str(name)[:60]!r}{suggestion(str(name), map(str, raw))}",
            remedy=f"add it to {SETTING}; it has: {', '.join(sorted(map(str, raw))) or 'none'}",
        )
    return _alias(name, raw[name])


def aliases() -> dict[str, Alias]:
    """Return all aliases that can work; the system checks tell about the others."""
    found = {}
    for name, entry in _raw_or_none().items():
        try:
            found[name] = _alias(name, entry)
        except ConfigurationError:
            continue
    return found


def entry_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an alias as a named entry of the core: options in one mapping, provider included."""
    options = entry.get("OPTIONS")
    options = options if isinstance(options, Mapping) else {}
    found = {**_for_all_aliases(), **options}
    if entry.get("PROVIDER") is not None:
        found["provider"] = entry["PROVIDER"]
    return found


def option(name: str) -> Any:
    """Return one of the settings `MQAUTH_<name>`, or its default."""
    return getattr(django_settings, f"{SETTING}_{name}", getattr(defaults, name, None))


def improperly_configured(error: ConfigurationError) -> ImproperlyConfigured:
    """Return Django's error for one of ours."""
    identifier = f"{error.check}: " if isinstance(error, SettingsError) else ""
    return ImproperlyConfigured(f"{identifier}{error.message} ({error.remedy})")


def is_alias_name(name: object) -> bool:
    """Return whether a name can stand in a URL and in an environment variable."""
    return isinstance(name, str) and name.isascii() and name.replace("-", "_").isidentifier()


def environment_prefix(name: str) -> str:
    """Return how the environment variables of an alias begin."""
    return f"{_PREFIX}{name.upper().replace('-', '_')}_"


def said_by_environment(name: str) -> set[str]:
    """Return the options of an alias that the environment names."""
    said = (key for key, _ in _from_environment(name))
    return {key.removeprefix(_OPTIONS).lower() for key in said if key.startswith(_OPTIONS)}


def being_read() -> ModuleType | None:
    """Return the module of the settings if it is being read right now, so that they call us."""
    if django_settings.configured:
        return None
    return sys.modules.get(os.environ.get(ENVIRONMENT_VARIABLE, ""))


def _setting() -> Any:
    module = being_read()
    if module is None:
        return getattr(django_settings, SETTING, {})
    if not hasattr(module, SETTING):
        raise SettingsError(
            28,
            f"the settings had no {SETTING} yet when they asked for its URL",
            remedy=f"write it above, or pass it: broker_url(settings={SETTING})",
        )
    return getattr(module, SETTING)


def _raw_or_none() -> Mapping[Any, Any]:
    try:
        return raw_aliases()
    except ConfigurationError:
        return {}


def _alias(name: str, entry: Any) -> Alias:
    where = f"{SETTING}[{name!r}]"
    if not isinstance(entry, Mapping):
        raise SettingsError(3, f"{where} is {kind_of(entry)}", remedy="write a dict")
    for key in MAPPINGS:
        if entry.get(key) is not None and not isinstance(entry[key], Mapping):
            problem = f"{where}[{key!r}] is {kind_of(entry[key])}"
            raise SettingsError(5, problem, remedy="write a dict")
    for number, key in ((6, "BROKER"), (13, "PROVIDER")):
        if not entry.get(key):
            raise SettingsError(number, f"{where} has no {key}", remedy="see the system checks")
    try:
        brokers = addresses(entry["BROKER"])
    except ConfigurationError as error:
        unusable = error
    else:
        return Alias(
            name=name,
            brokers=brokers,
            provider=str(entry["PROVIDER"]),
            options=entry_of(entry),
            tls=entry.get("TLS") or {},
            transport_options={
                **defaults.TRANSPORT_OPTIONS,
                **(entry.get("TRANSPORT_OPTIONS") or {}),
            },
        )
    raise SettingsError(
        8 if isinstance(unusable, HoldsPasswordError) else 7,
        f"{where}['BROKER'] {unusable.message}",
        remedy=unusable.remedy,
    )


def _overridden(name: object, entry: Any) -> Any:
    if not isinstance(entry, Mapping) or not is_alias_name(name):
        return entry
    said = dict(_from_environment(str(name)))
    if not said:
        return entry
    options = {k.removeprefix(_OPTIONS).lower(): v for k, v in said.items() if k not in KEYS}
    found = {**entry, **{key: said[key] for key in ("BROKER", "PROVIDER") if key in said}}
    if options and isinstance(found.get("OPTIONS") or {}, Mapping):
        found["OPTIONS"] = {**_not_contradicted(found.get("OPTIONS") or {}, options), **options}
    return found


def _not_contradicted(written: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the written options whose other spelling, a file or not, is not said instead."""
    settled = {key.removesuffix("_file") for key in said}
    return {
        key: value
        for key, value in written.items()
        if str(key).removesuffix("_file") not in settled
    }


def _from_environment(name: str) -> Iterator[tuple[str, str]]:
    prefix = environment_prefix(name)
    for variable, value in os.environ.items():
        key = variable.removeprefix(prefix)
        if (
            value
            and key != variable
            and (key in ("BROKER", "PROVIDER") or key.startswith(_OPTIONS))
        ):
            yield key, value


def _for_all_aliases() -> dict[str, Any]:
    """Return the defaults `MQAUTH_TIMEOUT` and so on; the environment's variables win over them."""
    if not django_settings.configured:
        return {}
    return {
        key: getattr(django_settings, f"{SETTING}_{key.upper()}")
        for key in SOURCE_SETTINGS
        if hasattr(django_settings, f"{SETTING}_{key.upper()}")
        and not os.environ.get(f"{SETTING}_{key.upper()}")
    }
