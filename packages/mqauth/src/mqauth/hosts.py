"""What a broker's host name tells about who is to sign in there."""

from __future__ import annotations

from collections.abc import Mapping

from mqauth import amazonmq, amazonmsk, apsaramq


def derived_from_host(host: str | None) -> Mapping[str, str]:
    """Return the provider options that `host` tells, none for hosts that follow no known pattern.

    The names of Amazon MQ and Amazon MSK carry the region, those of ApsaraMQ instance and region.
    """
    if not host:
        return {}
    region = amazonmq.region_from_host(host) or amazonmsk.region_from_host(host)
    return {"region": region} if region else apsaramq.derived_from_host(host)
