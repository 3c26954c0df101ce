"""What a client of Amazon MSK meets: STS, Roles Anywhere, and a Kafka cluster with IAM sign-in."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack

from mqauth_sandbox.kafka.edge import MskEdge
from mqauth_sandbox.kafka.sandbox import KafkaSandbox
from mqauth_sandbox.msk_token import MskLogin, check_msk_token
from mqauth_sandbox.pki import IdentityFiles, Pki
from mqauth_sandbox.ports import free_ports
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from mqauth_sandbox.running import Running
from mqauth_sandbox.sts import StsEndpoint


class MskSandbox(Running):
    """Starts one account's endpoints and one real broker behind an edge that checks tokens.

    Args:
        max_reauth: Seconds after which a client must sign in again; 0 for no sooner than its token
            ends.

    Attributes:
        kafka: The broker; its issuer has no part in this.
        edge: Where clients sign in.
        sts: The account's STS.
        roles_anywhere: Opens sessions for certificates of `pki`.
        pki: A throwaway authority that Roles Anywhere trusts.
        ca_file: The authority behind the certificates of all servers.

    Example:
        with MskSandbox() as msk:
            print(msk.edge.port, msk.environment())
    """

    def __init__(self, *, max_reauth: float = 0.0) -> None:
        """Write everything that is needed; nothing runs yet."""
        self._open = ExitStack()
        port, sts_port, roles_port = free_ports(3)
        self.kafka = KafkaSandbox(advertised_edge=port)
        self._open.callback(self.kafka.close)
        try:
            files = self.kafka.certificates
            own, key = files.certificate_file, files.key_file
            self.ca_file = files.ca_file
            self.sts = StsEndpoint(certificate=own, private_key=key, port=sts_port)
            self.roles_anywhere = RolesAnywhereEndpoint(
                certificate=own,
                private_key=key,
                sts=self.sts,
                ca_file=self.ca_file,
                port=roles_port,
            )
            self.pki = Pki()
            self.roles_anywhere.trust(self.pki.root)
            folder = files.ca_file.parent / "identity"
            folder.mkdir(mode=0o700)
            self.identity_files: IdentityFiles = self.pki.issue("ec-p256", depth=2).write(folder)
            broker = self.kafka.broker
            self.edge = MskEdge(
                port=port,
                certificate=own,
                private_key=key,
                broker_port=broker.edge_port,
                broker_login=(broker.admin_user, broker.admin_password),
                judge=self.judge,
                max_reauth=max_reauth,
            )
        except BaseException:
            self._open.close()
            raise

    @property
    def region(self) -> str:
        """The cluster's region, and its account's."""
        return self.sts.region

    def judge(self, token: str) -> MskLogin:
        """Return what a token stands for.

        Raises:
            MskTokenError: It is not to be accepted.
        """
        return check_msk_token(token, region=self.region, now=time.time(), find_key=self.sts.key_of)

    def environment(self) -> dict[str, str]:
        """Return the variables that point AWS SDKs here; they hold no credentials."""
        return {
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL_STS": self.sts.url,
            "AWS_ENDPOINT_URL_ROLESANYWHERE": self.roles_anywhere.url,
            "AWS_CA_BUNDLE": str(self.ca_file),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def access_key(self) -> dict[str, str]:
        """Return the variables of the user's long-term key."""
        return {
            "AWS_ACCESS_KEY_ID": self.sts.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.sts.secret_access_key,
        }

    def identity(self) -> dict[str, str]:
        """Return what names the Roles Anywhere identity: certificate, key, ARNs."""
        files, service = self.identity_files, self.roles_anywhere
        return {
            "certificate": str(files.certificate),
            "private_key": str(files.private_key),
            "intermediates": str(files.intermediates),
            "trust_anchor_arn": service.trust_anchor_arn,
            "profile_arn": service.profile_arn,
            "role_arn": service.role_arn,
        }

    def start(self) -> None:
        """Start everything.

        Raises:
            SandboxError: Something did not start; the text says what and why.
        """
        try:
            for part in (self.sts, self.roles_anywhere):
                part.start()
                self._open.callback(part.stop)
            self.kafka.start()
            self.edge.start()
            self._open.callback(self.edge.close)
        except BaseException:
            self._open.close()
            raise

    def close(self) -> None:
        """End everything and remove every trace."""
        self._open.close()
