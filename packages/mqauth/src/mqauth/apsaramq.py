"""What the host name of an ApsaraMQ for RabbitMQ endpoint tells."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Serverless instances end in `<n>.net.mq.amqp.aliyuncs.com`, older ones in
# `mq-amqp.<region and zone>.aliyuncs.com`; the first label is the instance's id, or that of the
# account for the oldest ones.
_ENDPOINT = re.compile(
    r"(?P<instance>[a-z0-9-]+)\..*\b(?:mq\.amqp|mq-amqp)\b(?:\..+)?\.aliyuncs\.com"
)
_REGION = re.compile(
    r"(?:^|\.)(?P<region>cn-[a-z]+(?:-finance-1)?|(?:ap|eu|me|na|us)-[a-z]+-\d)(?=-|\.)"
)


def derived_from_host(host: str) -> Mapping[str, str]:
    """Return `instance_id` and `region` as far as the host name of an endpoint tells them."""
    name = host.strip().lower().removesuffix(".")
    endpoint = _ENDPOINT.fullmatch(name)
    if endpoint is None:
        return {}
    instance = endpoint["instance"]
    region = _REGION.search(name, len(instance))
    return {"instance_id": instance} | ({"region": region["region"]} if region else {})
