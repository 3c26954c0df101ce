"""What becomes of acknowledgements, which librdkafka tells a callback and nobody else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError

logger = logging.getLogger(__name__)

_NOTHING_TO_COMMIT = KafkaError._NO_OFFSET  # noqa: SLF001 - librdkafka's name


class Commits:
    """A consumer's `on_commit`.

    Args:
        topic: What it consumes.
        also: A callback of the user's own.
    """

    def __init__(self, topic: str, also: Callable[[Any, Any], Any] | None = None) -> None:
        """Know of none yet."""
        self._topic, self._also = topic, also
        self._said: int | None = None
        self._refusal: Any = None

    def __call__(self, error: Any, places: Any) -> None:
        """Take what the broker said (called by librdkafka from poll and close)."""
        errors = [error, *(place.error for place in places or ())]
        refusal = next((one for one in errors if one is not None), None)
        if refusal is not None and refusal.code() == _NOTHING_TO_COMMIT:
            refusal = None
        if refusal is None:
            self._said = None
        elif refusal.code() != self._said:
            # Once, and not for each of what may be hundreds a second.
            self._said = refusal.code()
            logger.error(
                "acknowledgements in the topic %r are not taken, so that its messages come again: "
                "%s",
                *(self._topic, refusal.str()),
            )
        self._refusal = refusal
        if self._also is not None:
            self._also(error, places)

    def refusal(self) -> Any:
        """Return the `KafkaError` of the latest one if it was refused, and forget it."""
        refusal, self._refusal = self._refusal, None
        return refusal
