"""The flags of credential-process, serve and update: one table for parser, environment and TOML.

The names and defaults of the official helper, whose users change nothing but the program's name;
below them our own.
"""

from __future__ import annotations

from credproc.light import NamedTuple

TEXT = "text"
NUMBER = "number"
SWITCH = "switch"


class Flag(NamedTuple):
    """One flag."""

    name: str
    kind: str
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False

    @property
    def field(self) -> str:
        """The name of the field of `SessionOptions` that it fills."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable that gives it."""
        return f"CREDPROC_{self.field.upper()}"


FLAGS = (
    Flag("role-arn", TEXT, "ARN of the role to assume", "ARN"),
    Flag("profile-arn", TEXT, "ARN of the Roles Anywhere profile", "ARN"),
    Flag("trust-anchor-arn", TEXT, "ARN of the trust anchor", "ARN"),
    Flag("session-duration", NUMBER, "seconds the session lasts, 900-43200 (3600)", "SECONDS"),
    Flag("region", TEXT, "region to sign for (the trust anchor's)", "REGION"),
    Flag("endpoint", TEXT, "URL of the service, if not the region's own", "URL"),
    Flag("no-verify-ssl", SWITCH, "do not verify the server's certificate"),
    Flag("with-proxy", SWITCH, "use the proxy that HTTPS_PROXY names"),
    Flag("debug", SWITCH, "tell each step and show tracebacks, on standard error"),
    Flag("certificate", TEXT, "certificate: PEM, DER or PKCS#12 file, or a pkcs11: URI", "PATH"),
    Flag("private-key", TEXT, "its key: PEM, DER or PKCS#12 file, pkcs11: or handle: URI", "PATH"),
    Flag("intermediates", TEXT, "file with intermediate certificates", "PATH"),
    Flag("cert-selector", TEXT, "which certificate to take: Key=...,Value=... or file://", "SPEC"),
    Flag("system-store-name", TEXT, "name of the system's certificate store (MY)", "NAME"),
    Flag("use-latest-expiring-certificate", SWITCH, "of several, take the last to expire"),
    Flag("pkcs11-lib", TEXT, "PKCS#11 module to load (p11-kit-proxy)", "PATH"),
    Flag("reuse-pin", SWITCH, "give the token's PIN for the key's own login too"),
    Flag("tpm-key-password", TEXT, "password of a TPM key", "PASSWORD", secret=True),
    Flag("no-tpm-key-password", SWITCH, "the TPM key has no password"),
    Flag("pkcs8-password", TEXT, "password of the key; better: its file", "PASSWORD", secret=True),
    Flag("role-session-name", TEXT, "name of the session, if the profile accepts one", "NAME"),
    # Ours.
    Flag("key-password-file", TEXT, "file that holds the password of key or PKCS#12", "PATH"),
    Flag("backend", TEXT, "who signs (auto)", "WHO", ("auto", "native", "helper")),
    Flag("helper", TEXT, "aws_signing_helper to run (from PATH)", "PATH"),
    Flag("no-cache", SWITCH, "neither read nor write the cache"),
    Flag("cache-dir", TEXT, "directory of the cache", "PATH"),
    Flag("connect-timeout", NUMBER, "seconds until connected (5)", "SECONDS"),
    Flag("read-timeout", NUMBER, "seconds until answered (10)", "SECONDS"),
    Flag("time-limit", NUMBER, "seconds for everything, retries included (45)", "SECONDS"),
)

BY_NAME = {flag.name: flag for flag in FLAGS}
BY_FIELD = {flag.field: flag for flag in FLAGS}
