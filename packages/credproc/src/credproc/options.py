"""Everything that decides a session, put together from flags, environment and named profile."""

from __future__ import annotations

from credproc.errors import UsageError
from credproc.flags import BY_FIELD, FLAGS, NUMBER, SWITCH, TEXT, Flag
from credproc.light import TYPE_CHECKING, NamedTuple
from credproc.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = str | int | bool | Secret

TRUE = ("1", "t", "true", "yes", "on")
FALSE = ("0", "f", "false", "no", "off", "")
LARGEST_NUMBER = 10**9


class SessionOptions(NamedTuple):
    """Everything that decides a session; immutable, so that it can be a key's source.

    A named tuple for the sake of start-up time; build it with keywords. See `credproc.flags` for
    what each field means. Below `time_limit` stands what only the environment gives.
    """

    role_arn: str
    profile_arn: str
    trust_anchor_arn: str
    session_duration: int = 3600
    region: str | None = None
    endpoint: str | None = None
    no_verify_ssl: bool = False
    with_proxy: bool = False
    debug: bool = False
    certificate: str | None = None
    private_key: str | None = None
    intermediates: str | None = None
    cert_selector: str | None = None
    system_store_name: str | None = None
    use_latest_expiring_certificate: bool = False
    pkcs11_lib: str | None = None
    reuse_pin: bool = False
    tpm_key_password: Secret | None = None
    no_tpm_key_password: bool = False
    pkcs8_password: Secret | None = None
    role_session_name: str | None = None
    key_password_file: str | None = None
    backend: str = "auto"
    helper: str | None = None
    no_cache: bool = False
    cache_dir: str | None = None
    connect_timeout: int = 5
    read_timeout: int = 10
    time_limit: int = 45
    use_fips: bool = False
    use_dualstack: bool = False
    ca_bundle: str | None = None
    max_attempts: int = 3


REQUIRED = ("trust_anchor_arn", "profile_arn", "role_arn")


def build(
    flags: Mapping[str, Value],
    environ: Mapping[str, str],
    profile: Mapping[str, Value] | None = None,
) -> SessionOptions:
    """Put options together; a flag beats the environment, which beats the named profile.

    Args:
        flags: What stands on the command line, by field name.
        environ: The environment variables.
        profile: What a named profile gives, by field name.

    Raises:
        UsageError: An option is missing, or its value cannot be what it should be.
    """
    values: dict[str, Value] = {}
    for layer in (profile or {}, from_environment(environ), flags):
        for field, value in layer.items():
            if value != "" or not empty_means_none(BY_FIELD[field]):
                values[field] = convert(BY_FIELD[field], value)
    values.update(from_aws_environment(environ, values))
    missing = [field for field in REQUIRED if not values.get(field)]
    if missing:
        names = ", ".join("--" + field.replace("_", "-") for field in missing)
        raise UsageError(
            f"{names} not given",
            remedy="add it, set it in the environment (CREDPROC_...), or name a profile",
        )
    return SessionOptions(**values)  # type: ignore[arg-type] # each converted to its flag's kind


def from_environment(environ: Mapping[str, str]) -> dict[str, Value]:
    """Return what `CREDPROC_...` variables give; an empty one counts as unset."""
    return {flag.field: environ[flag.variable] for flag in FLAGS if environ.get(flag.variable)}


def from_aws_environment(
    environ: Mapping[str, str], values: Mapping[str, Value]
) -> dict[str, Value]:
    """Return what AWS's own variables give, as far as `values` leave it open."""
    found: dict[str, Value] = {
        "use_fips": boolean("AWS_USE_FIPS_ENDPOINT", environ.get("AWS_USE_FIPS_ENDPOINT", "")),
        "use_dualstack": boolean(
            "AWS_USE_DUALSTACK_ENDPOINT", environ.get("AWS_USE_DUALSTACK_ENDPOINT", "")
        ),
    }
    ca_bundle = environ.get("AWS_CA_BUNDLE") or environ.get("SSL_CERT_FILE")
    if ca_bundle:
        found["ca_bundle"] = ca_bundle
    attempts = environ.get("AWS_MAX_ATTEMPTS")
    if attempts:
        found["max_attempts"] = max(1, integer("AWS_MAX_ATTEMPTS", attempts))
    endpoint = environ.get("AWS_ENDPOINT_URL_ROLESANYWHERE") or environ.get("AWS_ENDPOINT_URL")
    if endpoint and not values.get("endpoint"):
        found["endpoint"] = endpoint
    return found


def convert(flag: Flag, value: Value) -> Value:
    """Return a flag's value in its kind.

    Raises:
        UsageError: It cannot be converted.
    """
    if flag.secret:
        return value if isinstance(value, Secret) else Secret(str(value))
    if flag.kind == SWITCH:
        return value if isinstance(value, bool) else boolean(f"--{flag.name}", str(value))
    if flag.kind == NUMBER:
        number = integer(f"--{flag.name}", value)
        if number > LARGEST_NUMBER:
            raise UsageError(f"--{flag.name} is too large", remedy="write fewer digits")
        return number
    text = str(value)
    if flag.choices and text not in flag.choices:
        raise UsageError(f"--{flag.name} is {text!r}", remedy=f"one of {', '.join(flag.choices)}")
    return text


def empty_means_none(flag: Flag) -> bool:
    """Return whether an empty value is none given, as for the official helper; a password is."""
    return flag.kind == TEXT and not flag.secret


def boolean(name: str, text: str) -> bool:
    """Return a truth value as AWS SDKs and Go write them.

    Raises:
        UsageError: It is neither.
    """
    if text.lower() in TRUE:
        return True
    if text.lower() in FALSE:
        return False
    raise UsageError(f"{name} is {text!r}", remedy="write true or false")


def integer(name: str, value: object) -> int:
    """Return a whole number.

    Raises:
        UsageError: It is none.
    """
    if not isinstance(value, bool):
        try:
            return int(str(value))
        except ValueError:
            pass
    raise UsageError(f"{name} is {value!r}", remedy="write a whole number")
