"""Web servers with several processes: one fetch per rotation for the host."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.celery.processes import wait_until
from tests.django.site import Site

# Before a test begins three processes start one after the other.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LIFETIME = 20.0
ROTATIONS = 3
REMAINING = re.compile(r"mqauth_credential_rotations_total{[^}]*} (\d+)")


def rotations(site: Site) -> int:
    """Return the rotations that whichever process answers has seen."""
    found = REMAINING.search(site.get("/health/dev/node/?format=openmetrics")[1])
    return int(found[1]) if found else 0


@pytest.mark.parametrize("kind", ["sync", "gthread", "uvicorn"])
def test_one_fetch_per_rotation(site: Site, kind: str) -> None:
    """All processes of a server publish and check their health on one fetch per rotation."""
    issuer = site.sandbox.issuer
    issuer.token_lifetime = LIFETIME
    before = issuer.fetches
    site.serve(kind)
    with ThreadPoolExecutor(6) as visitors:
        # Enough at once that every process signs in and publishes.
        numbers = list(visitors.map(lambda _: site.order(), range(12)))
        assert len(set(numbers)) == 12
        pids = {
            pid for _ in range(10) for pid in visitors.map(lambda _: process_of(site), range(6))
        }
        assert len(pids) > 1
        wait_until(
            lambda: max(visitors.map(lambda _: rotations(site), range(6))) >= ROTATIONS,
            60,
            f"{ROTATIONS} rotations",
        )
        assert [site.order() for _ in range(3)]
        assert all(status == 200 for status, _ in visitors.map(site.health, ["application"] * 6))
        # Counted in this order: there is no saying how many more there have been by now.
        fetches = issuer.fetches - before
        seen = max(visitors.map(lambda _: rotations(site), range(6)))
    # The process whose rotations were counted may have begun after the first fetch.
    assert ROTATIONS <= fetches <= seen + 2
    assert "Traceback" not in site.log()


def process_of(site: Site) -> int:
    """Return which process of the server answers."""
    status, text = site.get("/process/")
    assert status == 200
    pid: int = json.loads(text)["pid"]
    return pid
