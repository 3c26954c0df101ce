"""How much is left of this process' credential."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math

from django.core.exceptions import ImproperlyConfigured
from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable

from django_mqauth.defaults import DEFAULT_ALIAS
from django_mqauth.errand import Errand
from django_mqauth.sources import source
from mqauth.credentials import BrokerCredentials
from mqauth.durations import duration
from mqauth.errors import MQAuthError

PART = 0.25
"""Part of the life that has to be left; renewal begins with three quarters left."""


@dataclasses.dataclass
class CredentialFreshness(HealthCheck):
    """Check that enough is left of the credential that this process signs in with.

    The issuer may be down meanwhile: what counts is the time left.

    Args:
        alias: Whose credential, a key of `MQAUTH`.
        threshold: How much has to be left; by default a quarter of the credential's life.
    """

    alias: str = DEFAULT_ALIAS
    threshold: dt.timedelta | None = dataclasses.field(default=None, repr=False)
    timeout: dt.timedelta = dataclasses.field(default=dt.timedelta(seconds=12), repr=False)

    def run(self) -> None:
        """Compare the time left with the threshold.

        Raises:
            ServiceUnavailable: Too little is left, or there is no credential at all.
        """
        limit = self.timeout.total_seconds()
        try:
            found = source(self.alias)
            credentials = Errand(found.get).wait(limit)
        except (MQAuthError, ImproperlyConfigured) as error:
            problem = str(error)
        except TimeoutError:
            problem = f"the issuer does not answer within {limit:g} s"
        else:
            left, least = credentials.remaining(), self._least(credentials)
            if left >= least:
                return
            failure = found.status().last_error
            problem = f"{duration(left)} left, less than {duration(least)}"
            problem += f": {failure or 'no renewal came'}"
        raise ServiceUnavailable(f"credential of {self.alias}: {problem}")

    def _least(self, credentials: BrokerCredentials) -> float:
        if self.threshold is not None:
            return self.threshold.total_seconds()
        return 0.0 if math.isinf(credentials.lifetime) else credentials.lifetime * PART
