"""The helper's environment: what it honours and the session needs, and nothing else."""

from __future__ import annotations

from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from credproc.options import SessionOptions

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
PASSED = (
    "HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "TPM_DEVICE",
    # PKCS#11 modules find their tokens and their configuration by these.
    "SOFTHSM2_CONF",
    "P11_KIT_SERVER_ADDRESS",
    "PKCS11_PROXY_SOCKET",
    "XDG_RUNTIME_DIR",
)
NOTHING = "/dev/null"
PATH = "/usr/bin:/bin"


def clean_environment(options: SessionOptions, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment to run the helper with.

    The AWS config and credentials files are kept from it: it needs nothing of them, and one broken
    profile in them, whose ever it is, would stop it. The variables that decide the session come
    from the options, which took them from the environment.
    """
    found = {name: environ[name] for name in PASSED if environ.get(name)}
    if options.with_proxy:
        for name in PROXIES:
            value = environ.get(name) or environ.get(name.lower())
            if value:
                found[name] = value
    found |= {
        "PATH": PATH,
        "AWS_CONFIG_FILE": NOTHING,
        "AWS_SHARED_CREDENTIALS_FILE": NOTHING,
        "AWS_EC2_METADATA_DISABLED": "true",
        # It would also try again what cannot work, such as a server that is not trusted.
        "AWS_MAX_ATTEMPTS": "1",
    }
    if options.use_fips:
        found["AWS_USE_FIPS_ENDPOINT"] = "true"
    if options.use_dualstack:
        found["AWS_USE_DUALSTACK_ENDPOINT"] = "true"
    if options.ca_bundle:
        found["AWS_CA_BUNDLE"] = options.ca_bundle
    return found
