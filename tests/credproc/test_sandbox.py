"""The sandbox's printed environment is all that credproc needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import botocore.session

from mqauth_sandbox import Sandbox
from tests.credproc.programs import CREDPROC, Program


def test_environment_of_the_sandbox(tmp_path: Path) -> None:
    """With what `mqauth-sandbox up` prints, credproc gives a session that STS knows."""
    with Sandbox(broker="amqp://localhost:1") as sandbox:
        variables = sandbox.environment()
        own = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "CREDPROC_CACHE_DIR": ""}
        own["XDG_RUNTIME_DIR"] = str(tmp_path)
        credproc = Program(executable=CREDPROC, environment={**variables, **own})
        credentials = credproc("credential-process", "--no-cache").credentials
        client: Any = botocore.session.Session().create_client(
            "sts",
            sandbox.sts.region,
            endpoint_url=sandbox.sts.url,
            verify=str(sandbox.ca_file),
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
        )
        assert ":assumed-role/" in client.get_caller_identity()["Arn"]
