"""The moments in a token's claims, whatever its issuer writes there."""

from __future__ import annotations

import pytest

from mqauth.diagnosis.claims_link import _check_times
from mqauth.diagnosis.findings import BrokenLinkError


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": 3}, r"expired \d+ years ago"),
        ({"exp": -(10**400)}, "expired an endless time ago"),
        ({"nbf": 10**400}, "good only in an endless time"),
    ],
)
def test_moments_beyond_any_clock(claims: dict[str, int], said: str) -> None:
    """Numbers that no clock shows are told as any others."""
    with pytest.raises(BrokenLinkError, match=said):
        _check_times(claims, 0.0)


def test_no_end() -> None:
    """An end that nobody will see is no fault, and neither is none at all."""
    _check_times({"exp": 10**400}, 0.0)
    _check_times({}, 0.0)
