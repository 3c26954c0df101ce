"""From partition and region to the service's host, and from a URL to where to connect.

Source: the endpoint rules of the AWS SDKs; the suffixes are those of their partition data.
"""

from __future__ import annotations

from credproc.errors import UsageError
from credproc.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from credproc.arns import Target
    from credproc.options import SessionOptions

SUFFIXES = {
    "aws": ("amazonaws.com", "api.aws"),
    "aws-cn": ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    "aws-eusc": ("amazonaws.eu", "api.amazonwebservices.eu"),
    "aws-iso": ("c2s.ic.gov", "api.aws.ic.gov"),
    "aws-iso-b": ("sc2s.sgov.gov", "api.aws.scloud"),
    "aws-iso-e": ("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    "aws-iso-f": ("csp.hci.ic.gov", "api.aws.hci.ic.gov"),
    "aws-us-gov": ("amazonaws.com", "api.aws"),
}
PORTS = {"https": 443, "http": 80}


class Endpoint(NamedTuple):
    """Where a URL leads."""

    scheme: str
    host: str
    port: int
    path: str = ""
    credentials: str = ""
    """User name and password of a proxy, `user:password`, still percent-encoded."""

    @property
    def authority(self) -> str:
        """Host and port as the Host header names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __repr__(self) -> str:
        """Show no password."""
        return f"Endpoint({self.scheme}://{self.authority}{self.path})"


def resolve_endpoint(options: SessionOptions, target: Target) -> Endpoint:
    """Return where to send the request.

    Raises:
        UsageError: The endpoint is no URL, or the partition is not known.
    """
    if options.endpoint:
        endpoint = parse_url(options.endpoint, "--endpoint")
        if endpoint.scheme == "http" and not is_loopback(endpoint.host):
            raise UsageError(
                f"--endpoint is http: {endpoint.host} would send the keys back in clear",
                remedy="write https://",
            )
        return endpoint
    try:
        suffix, dual_stack_suffix = SUFFIXES[target.partition]
    except KeyError:
        raise UsageError(
            f"the ARNs name the partition {target.partition!r}, which is not known",
            remedy=f"correct them, or name the service's URL with --endpoint; known: "
            f"{', '.join(SUFFIXES)}",
        ) from None
    service = "rolesanywhere-fips" if options.use_fips else "rolesanywhere"
    domain = dual_stack_suffix if options.use_dualstack else suffix
    return Endpoint("https", f"{service}.{target.region}.{domain}", 443)


def is_loopback(host: str) -> bool:
    """Return whether a host is this one, whatever it resolves."""
    digits = host.replace(".", "")
    return host.lower() in ("localhost", "::1") or (host.startswith("127.") and digits.isdigit())


def parse_url(text: str, name: str) -> Endpoint:
    """Read a URL; what names no scheme is https.

    No error quotes it: a proxy's password with a `/` in it ends up where the port or path is.

    Args:
        text: The URL.
        name: Where the user wrote it, for the message.

    Raises:
        UsageError: It is none, or leads neither by http nor by https.
    """
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "https", text
    scheme = scheme.lower()
    authority, slash, path = rest.partition("/")
    credentials, _, place = authority.rpartition("@")
    host, port = _host_and_port(place)
    if "@" in path:
        raise UsageError(
            f"{name} is no usable URL: it has a / before an @",
            remedy="write a / in a user name or password as %2F",
        )
    if (
        scheme not in PORTS
        or not host
        or not host.isascii()
        or any(letter in text for letter in " \r\n\t?#")
    ):
        raise UsageError(f"{name} is no usable URL", remedy="write https://HOST[:PORT]")
    if port and not (
        port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536
    ):
        raise UsageError(f"{name} has a port that is none", remedy="write https://HOST[:PORT]")
    return Endpoint(
        scheme, host, int(port or PORTS[scheme]), (slash + path).rstrip("/"), credentials
    )


def _host_and_port(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, closed, port = place[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            return "", ""
        return host, port.removeprefix(":")
    host, _, port = place.partition(":")
    return host, port
