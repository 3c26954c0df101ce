"""Publishes steadily and notes how long each publish took: `python -m workloads.bench_rotation
CONFIGURATION_JSON`. Prints one JSON object; when rotations happened, the broker's log tells.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from typing import Any

from workloads.bench_publish import Publisher
from workloads.processes import die_with_parent


def publish_steadily(
    *, url: str, ca_file: str, seconds: float, interval: float
) -> dict[str, list[float]]:
    """Publish for some time and return when each publish began and how many ms it took.

    Args:
        url: The broker, as Kombu takes it.
        ca_file: Certificate authority of the broker, or empty without TLS.
        seconds: How long.
        interval: Seconds between the end of one publish and the start of the next; enough that
            the broker keeps up, so that it reads a new secret when it is sent.
    """
    publisher = Publisher(url, ca_file)
    publisher.chunk()
    times: list[float] = []
    milliseconds: list[float] = []
    gc.collect()
    # The collector's own pauses are as long as what is measured.
    gc.disable()
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        times.append(time.time())
        publisher.publish()
        milliseconds.append((time.perf_counter() - begin) * 1000)
        time.sleep(interval)
    gc.enable()
    publisher.close()
    return {"times": times, "milliseconds": milliseconds}


def main() -> None:
    """Publish as told and print the record."""
    die_with_parent()
    configuration: dict[str, Any] = json.loads(sys.argv[1])
    print(json.dumps(publish_steadily(**configuration)))


if __name__ == "__main__":
    main()
