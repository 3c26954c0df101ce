"""The helper's command line. No password is ever on it: others could read it in /proc."""

from __future__ import annotations

from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from credproc.options import SessionOptions

VALUES = (
    "role_arn",
    "profile_arn",
    "trust_anchor_arn",
    "session_duration",
    "region",
    "endpoint",
    "certificate",
    "private_key",
    "intermediates",
    "cert_selector",
    "system_store_name",
    "pkcs11_lib",
    "role_session_name",
)
SWITCHES = (
    "no_verify_ssl",
    "with_proxy",
    "use_latest_expiring_certificate",
    "reuse_pin",
    "no_tpm_key_password",
)


def helper_arguments(options: SessionOptions) -> list[str]:
    """Return the arguments of `aws_signing_helper` for a session.

    `--debug` is left out: with it the helper writes secrets to standard error.
    """
    arguments = ["credential-process"]
    for field in VALUES:
        value = getattr(options, field)
        if value is not None:
            arguments.append(f"--{field.replace('_', '-')}={value}")
    arguments += [f"--{field.replace('_', '-')}" for field in SWITCHES if getattr(options, field)]
    return arguments
