"""Configuration of a node that asks an HTTPS service about users: rabbitmq_auth_backend_http."""

from __future__ import annotations

from pathlib import Path

PLUGIN = "rabbitmq_auth_backend_http"


def conf_lines(url: str) -> list[str]:
    """Return the lines of rabbitmq.conf; internal users are looked for first.

    Args:
        url: The service, which has `/user`, `/vhost`, `/resource` and `/topic`.
    """
    return [
        "auth_backends.2 = http",
        # By GET, user names and passwords would stand in addresses.
        "auth_http.http_method = post",
        *(f"auth_http.{part}_path = {url}/{part}" for part in ("user", "vhost", "resource")),
        f"auth_http.topic_path = {url}/topic",
    ]


def advanced_config(ca_file: Path) -> str:
    """Return the text of advanced.config: 3.10 cannot be told these in rabbitmq.conf."""
    trust = f'{{cacertfile, "{ca_file}"}}, {{verify, verify_peer}}'
    return f"[{{{PLUGIN}, [{{ssl_options, [{trust}]}}]}}].\n"
