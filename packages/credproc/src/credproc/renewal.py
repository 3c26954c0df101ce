"""When to try again after a session could not be renewed."""

from __future__ import annotations

SHORTEST = 1.0


def pause_after_failure(pause: float, asked: float | None, left: float, longest: float) -> float:
    """Return the seconds to wait.

    What the service asks for counts as long as there is a session to use meanwhile: somebody may
    ask for an hour where four seconds are left. So half of what is left is never exceeded.

    Args:
        pause: Seconds that it would be without the service's wish.
        asked: Seconds that the service asks for, if it does.
        left: Seconds that the session at hand lasts.
        longest: Seconds that are waited at most once it has ended.
    """
    most = max(SHORTEST, left / 2) if left > 0 else longest
    return min(max(pause, asked or 0.0), most)
