"""What the name of an AWS region looks like, and which endpoints AWS's own configuration names."""

from __future__ import annotations

import os
import re

from mqauth.errors import ConfigurationError

# eu-west-1, us-gov-west-1, eusc-de-east-1: none has ever looked otherwise.
_REGION = re.compile(r"[a-z]{2,5}(?:-[a-z]+)+-\d{1,2}")


_ENDPOINTS = ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL")


def sts_endpoint_of_environment() -> str | None:
    """Return where boto3 looks for STS because an environment variable says so.

    A service of somebody else's may call its region as it likes.
    """
    return next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)


def no_endpoint(service: str) -> ConfigurationError:
    """Return the error for an endpoint of AWS's own configuration of which boto3 makes no client.

    Args:
        service: The service, as boto3 names it.
    """
    return ConfigurationError(
        f"the endpoint of AWS {service.upper()} that AWS's own configuration names is no URL",
        remedy=f"correct AWS_ENDPOINT_URL_{service.upper()}, AWS_ENDPOINT_URL, or endpoint_url in "
        "~/.aws/config: https://host",
    )


def check_region(region: str, *, option: str = "region") -> str:
    """Return `region` if it looks like one; a host made of any other name would be blamed.

    Args:
        region: What somebody wrote, here or in AWS's own configuration.
        option: Where it is set.

    Raises:
        ConfigurationError: It does not.
    """
    if _REGION.fullmatch(region) is None:
        raise ConfigurationError(
            f"{region[:60]!r} is no AWS region",
            remedy=f"write one such as eu-west-1: the option {option}, or AWS_REGION, "
            "AWS_DEFAULT_REGION or the profile where the option is not given",
        )
    return region
