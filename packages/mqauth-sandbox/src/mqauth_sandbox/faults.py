"""Switches that make an issuer misbehave on purpose."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

FaultMode = Literal[
    "none",
    "down",
    "hang",
    "slow",
    "error500",
    "throttle",
    "html",
    "not_json",
    "not_jwt",
    "expired",
    "garbage",
    "half_body",
    "nothing",
    "empty_set",
    "no_expiration",
]
"""What an issuer can do wrong; see `Faults`."""

Endpoint = Literal["tokens", "keys"]
"""The two halves of an issuer: where clients fetch tokens, and where brokers read the keys."""


class Faults:
    """How one issuer misbehaves, settable from any thread at any time.

    A change holds for requests that arrive afterwards. The modes:

    - `none`: answers as it should.
    - `down`: resets connections, new and live ones, when the client says something. (An issuer
      that is stopped refuses connections.)
    - `hang`: takes the request and never answers.
    - `slow`: answers well, after `delay` seconds.
    - `error500`: HTTP 500 in the issuer's own error format.
    - `throttle`: HTTP 429 (STS: 400 `Throttling`), with `Retry-After` if `retry_after` is set.
    - `html`: HTTP 200 with a web page, as captive portals and login proxies do.
    - `not_json`: HTTP 200 whose document breaks off in the middle (STS: of its XML).
    - `not_jwt`: a well-formed answer whose token is no JWT.
    - `expired`: a well-formed answer whose token has run out already.
    - `garbage`: HTTP 200 with 5 MiB of random bytes.
    - `half_body`: a good answer whose connection ends in the middle of the body.
    - `nothing`: takes the request and ends the connection in good order without an answer.
    - `empty_set`: a well-formed answer without credentials (Roles Anywhere only).
    - `no_expiration`: credentials that do not say when they expire (Roles Anywhere only).

    `not_jwt`, `expired`, `empty_set` and `no_expiration` concern answers that hold a token or
    credentials; everything else concerns whatever `affects` says.

    Example:
        with issuer.faults.during("hang"):
            ...  # the issuer hangs here, and is well again afterwards

    Attributes:
        clock_skew: Seconds the issuer's clock is ahead (negative: behind). Moves `iat` and `exp`
            of its tokens and the HTTP `Date` header.
        delay: Seconds that `slow` waits before it answers.
        retry_after: Seconds that `throttle` asks to wait; None to ask for nothing.
        affects: `everything`, or only `tokens` or `keys` (discovery and JWKS). If not everything,
            `down` resets a connection once it has read which of both is asked for.
    """

    def __init__(
        self,
        mode: FaultMode = "none",
        *,
        clock_skew: float = 0.0,
        delay: float = 2.0,
        retry_after: float | None = None,
        affects: Literal["everything", "tokens", "keys"] = "everything",
    ) -> None:
        """Begin with `mode`; by default without any fault."""
        self.mode = mode
        self.clock_skew = clock_skew
        self.delay = delay
        self.retry_after = retry_after
        self.affects = affects

    @property
    def mode(self) -> FaultMode:
        """What goes wrong now."""
        return self._mode

    @mode.setter
    def mode(self, mode: FaultMode) -> None:
        known = get_args(FaultMode)
        if mode not in known:
            nearest = difflib.get_close_matches(str(mode), known, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(known)}"
            raise ValueError(f"there is no fault mode {mode!r} ({hint})")
        self._mode: FaultMode = mode

    def mode_for(self, endpoint: Endpoint) -> FaultMode:
        """Return the mode that applies to requests to `endpoint`."""
        return self.mode if self.affects in ("everything", endpoint) else "none"

    def now(self) -> float:
        """Return the time on the issuer's clock, in seconds as `time.time()` counts."""
        return time.time() + self.clock_skew

    def reset(self) -> None:
        """Be well again: no fault, the right time, everything else at its default."""
        self.__init__()  # type: ignore[misc]

    @contextmanager
    def during(self, mode: FaultMode, **settings: Any) -> Iterator[None]:
        """Misbehave while the block runs, then return to what was set before.

        Args:
            mode: What goes wrong.
            **settings: Any other attribute, for example `delay=0.5`.
        """
        unknown = settings.keys() - {"clock_skew", "delay", "retry_after", "affects"}
        if unknown:
            raise TypeError(f"there is no such fault setting: {', '.join(sorted(unknown))}")
        before = {name: getattr(self, name) for name in ("mode", *settings)}
        try:
            for name, value in {**settings, "mode": mode}.items():
                setattr(self, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    def __repr__(self) -> str:
        return f"Faults(mode={self.mode!r}, clock_skew={self.clock_skew!r})"
