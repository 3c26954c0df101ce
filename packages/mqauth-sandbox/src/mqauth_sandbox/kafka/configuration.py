"""What a broker reads at its start: listeners, who may sign in on them, who may do what.

The rules of OAUTHBEARER are those of Kafka's own `BrokerJwtValidator`: signature by a key of the
issuer's JWKS, issuer, audience, expiry; the claim `sub` names the principal.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_VALIDATOR = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"
_JWT_VALIDATOR = "org.apache.kafka.common.security.oauthbearer.BrokerJwtValidator"
_OAUTH_LOGIN = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
_PLAIN_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


@dataclass(frozen=True, kw_only=True, slots=True)
class JwtRules:
    """Which tokens a broker accepts.

    Args:
        issuer: The only issuer.
        audience: What a token must be for.
        jwks_url: Where the issuer's keys are.
        ca_file: Who signs the certificate of that server.
    """

    issuer: str
    audience: str
    jwks_url: str
    ca_file: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaPorts:
    """Ports on loopback.

    Args:
        tls: SASL_SSL with OAUTHBEARER.
        sasl: SASL_PLAINTEXT with OAUTHBEARER.
        admin: SASL_PLAINTEXT with PLAIN, for the administrator only.
        controller: The same, for the broker's own controller.
        edge: The same, for whoever signs clients in before the broker.
        open: PLAINTEXT, where nobody signs in; None for no such listener.
    """

    tls: int
    sasl: int
    admin: int
    controller: int
    edge: int
    open: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaSettings:
    """Everything that differs from broker to broker.

    Args:
        ports: Where it listens.
        advertised_edge: Port that clients of `ports.edge` are told to connect to.
        data: Folder of its data.
        server_pem: Private key and certificate chain in one file.
        jwt: Which tokens it accepts.
        admin: Name and password of the administrator.
        edge_password: Password of every name that signs in on `ports.edge`.
        max_reauth_ms: Milliseconds after which a client must sign in again.
        acls: Whether only what is allowed is allowed.
    """

    ports: KafkaPorts
    advertised_edge: int
    data: Path
    server_pem: Path
    jwt: JwtRules
    admin: tuple[str, str]
    max_reauth_ms: int
    acls: bool


def server_properties(settings: KafkaSettings) -> str:
    """Return the text of `server.properties`."""
    values = {
        **_roles(settings),
        **_listeners(settings),
        **_administration(settings),
        **_oauthbearer("sasl_ssl", settings),
        **_oauthbearer("sasl_plaintext", settings),
        **_tokens(settings.jwt),
        "listener.name.sasl_ssl.ssl.keystore.type": "PEM",
        "listener.name.sasl_ssl.ssl.keystore.location": str(settings.server_pem),
        **_authorization(settings),
        **_SMALL,
    }
    return "".join(f"{name}={_escaped(value)}\n" for name, value in values.items())


_SMALL = {
    "num.network.threads": "2",
    "num.io.threads": "2",
    "num.partitions": "1",
    "offsets.topic.num.partitions": "3",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "3",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A group of one member need not wait for others.
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.enable": "false",
    "background.threads": "2",
    "num.recovery.threads.per.data.dir": "1",
}


def _roles(settings: KafkaSettings) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{settings.ports.controller}",
        "log.dirs": str(settings.data),
        "auto.create.topics.enable": "true",
    }


def _listeners(settings: KafkaSettings) -> dict[str, str]:
    ports = settings.ports
    listening = {
        "SASL_SSL": ports.tls,
        "SASL_PLAINTEXT": ports.sasl,
        "ADMIN": ports.admin,
        "EDGE": ports.edge,
        **({"PLAINTEXT": ports.open} if ports.open else {}),
    }
    reached = {**listening, "EDGE": settings.advertised_edge}
    protocols = {
        "SASL_SSL": "SASL_SSL",
        "SASL_PLAINTEXT": "SASL_PLAINTEXT",
        "ADMIN": "SASL_PLAINTEXT",
        "EDGE": "SASL_PLAINTEXT",
        "PLAINTEXT": "PLAINTEXT",
        "CONTROLLER": "SASL_PLAINTEXT",
    }
    at_home = [f"{name}://127.0.0.1:{port}" for name, port in listening.items()]
    return {
        "listeners": ",".join([*at_home, f"CONTROLLER://127.0.0.1:{ports.controller}"]),
        "advertised.listeners": ",".join(f"{n}://localhost:{p}" for n, p in reached.items()),
        "listener.security.protocol.map": ",".join(f"{n}:{p}" for n, p in protocols.items()),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "ADMIN",
    }


def _administration(settings: KafkaSettings) -> dict[str, str]:
    """Return what lets the broker, its controller and its administrator talk by a password."""
    name, password = settings.admin
    login = f'{_PLAIN_LOGIN} required username="{name}" password="{password}"'
    values = {
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
    }
    for listener in ("admin", "edge", "controller"):
        values[f"listener.name.{listener}.sasl.enabled.mechanisms"] = "PLAIN"
        users = f'user_{name}="{password}"'
        values[f"listener.name.{listener}.plain.sasl.jaas.config"] = f"{login} {users};"
    return values


def _oauthbearer(listener: str, settings: KafkaSettings) -> dict[str, str]:
    jwt = settings.jwt
    prefix = f"listener.name.{listener}"
    # The broker logs in to its own listener, too, by a token of its own making that nobody sees.
    options = (
        'unsecuredLoginStringClaim_sub="broker" ssl.truststore.type="PEM" '
        f'ssl.truststore.location="{jwt.ca_file}"'
    )
    return {
        f"{prefix}.sasl.enabled.mechanisms": "OAUTHBEARER",
        f"{prefix}.oauthbearer.connections.max.reauth.ms": str(settings.max_reauth_ms),
        f"{prefix}.oauthbearer.sasl.server.callback.handler.class": _VALIDATOR,
        f"{prefix}.oauthbearer.sasl.jaas.config": f"{_OAUTH_LOGIN} required {options};",
    }


def _tokens(jwt: JwtRules) -> dict[str, str]:
    """Return what a token must be like, for the whole broker.

    Kafka 4.1 overlooks these settings where they have a listener's prefix, and then takes any token
    that is well formed and has not expired, whoever signed it.
    """
    return {
        "sasl.oauthbearer.jwt.validator.class": _JWT_VALIDATOR,
        "sasl.oauthbearer.jwks.endpoint.url": jwt.jwks_url,
        "sasl.oauthbearer.expected.audience": jwt.audience,
        "sasl.oauthbearer.expected.issuer": jwt.issuer,
        # By default a token lives half a minute longer than it says.
        "sasl.oauthbearer.clock.skew.seconds": "0",
    }


def _authorization(settings: KafkaSettings) -> dict[str, str]:
    if not settings.acls:
        return {}
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{settings.admin[0]}",
        "allow.everyone.if.no.acl.found": "false",
    }


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\")
