"""The cases in which credproc and AWS's own helper are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mqauth_sandbox.pki import Container, Digest, KeyType

RSA_AND_EC: tuple[KeyType, ...] = ("rsa-2048", "rsa-4096", "ec-p256", "ec-p384", "ec-p521")
PARTITIONS = {
    "aws": "ap-southeast-4",
    "aws-us-gov": "us-gov-west-1",
    "aws-cn": "cn-north-1",
    "aws-iso": "us-iso-east-1",
    "aws-iso-b": "us-isob-east-1",
    "aws-iso-e": "eu-isoe-west-1",
    "aws-iso-f": "us-isof-south-1",
    "aws-eusc": "eusc-de-east-1",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One identity, one place and one way to say it.

    Args:
        key: Type of the key.
        container: What the key comes in.
        depth: Certificates below the root.
        digest: Digest of the certificate's signature.
        root: Type of the authorities' keys.
        partition: Partition of the ARNs.
        region: Region of the service.
        flags: More of the command line.
        environment: More environment variables.
        password: Password of an encrypted container.
        encryption: Options of `openssl pkcs8` that write the key again, if any.
        session_name: What the session is to be called.
        duration: Seconds that it is to last.
    """

    key: KeyType = "ec-p256"
    container: Container = "pkcs8"
    depth: int = 1
    digest: Digest = "sha256"
    root: KeyType = "ec-p256"
    partition: str = "aws"
    region: str = "eu-west-1"
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    password: str = "correct horse"
    encryption: tuple[str, ...] = ()
    session_name: str | None = None
    duration: int | None = None


def cases() -> Iterator[tuple[str, Case]]:
    """Yield all cases with their names."""
    for key in RSA_AND_EC:
        for container in ("pkcs8", "traditional", "encrypted-pkcs8"):
            yield f"{key}-{container}", Case(key=key, container=container)
        # The helper opens PKCS#12 files only if they have no password.
        yield f"{key}-pkcs12", Case(key=key, container="pkcs12", password="", depth=2)
        for depth in (2, 3):
            yield f"{key}-depth-{depth}", Case(key=key, depth=depth, root=key)
    for digest in ("sha384", "sha512"):
        for root in ("rsa-2048", "ec-p384"):
            yield f"{root}-{digest}", Case(key="rsa-2048", digest=digest, root=root)
    for partition, region in PARTITIONS.items():
        yield partition, Case(key="rsa-2048", partition=partition, region=region)
    yield from _encryptions()
    yield from _flags()


def _encryptions() -> Iterator[tuple[str, Case]]:
    for cipher in ("aes-128-cbc", "aes-192-cbc", "aes-256-cbc"):
        for prf in ("hmacWithSHA256", "hmacWithSHA384", "hmacWithSHA512"):
            encryption = ("-v2", cipher, "-v2prf", prf)
            yield f"{cipher}-{prf}", Case(container="encrypted-pkcs8", encryption=encryption)
    yield "scrypt", Case(container="encrypted-pkcs8", encryption=("-scrypt",))


def _flags() -> Iterator[tuple[str, Case]]:
    yield "duration-900", Case(key="rsa-2048", duration=900)
    yield "duration-43200", Case(key="rsa-2048", duration=43200)
    yield "session-name", Case(key="rsa-2048", session_name="user@host.example")
    yield "region", Case(key="rsa-2048", flags=("--region", "eu-west-1"))
    yield "no-verify-ssl", Case(flags=("--no-verify-ssl",), environment={"AWS_CA_BUNDLE": ""})
    yield "with-proxy", Case(flags=("--with-proxy",), environment={"NO_PROXY": "*"})
    yield "attempts", Case(environment={"AWS_MAX_ATTEMPTS": "1"})
