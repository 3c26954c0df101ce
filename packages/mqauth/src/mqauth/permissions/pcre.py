r"""Regular expressions as Erlang runs them: PCRE on bytes, within a bound.

Python's own `re` differs from PCRE in what it knows (`[[:alpha:]]`, `\Q..\E`, `\h`, `{,3}`) and
cannot be stopped. PCRE counts its steps and gives up at a limit, which the broker takes for "no
match"; so the same library with the same limit gives the same answer.

What remains: Erlang up to 27 has PCRE 8, which read `{,3}` as text and takes letters of ISO 8859-1
for letters; that is imitated. How many steps a pattern takes differs a little between PCRE 8 and
PCRE2, so one that comes close to the limit may be judged differently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mqauth.config.extras import require
from mqauth.permissions.versions import BrokerVersion

NEW_LIMIT = 50_000
"""Steps before a match is given up, since 4.2.8 and 4.3.2."""
OLD_LIMIT = 10_000_000
"""Steps before a match is given up by Erlang's own default."""
MAX_LENGTH = 16_384
"""Bytes of a pattern that is looked at; nobody writes longer ones."""
_TEXT_BRACES = re.compile(rb"(?<!\\)\{(?=,\d+\})")


@dataclass(frozen=True, slots=True)
class Match:
    """Whether a pattern matches.

    Attributes:
        found: Whether it does.
        problem: Why it could not be run to its end, in which case it denies; else None.
    """

    found: bool
    problem: str | None = None


_FOUND, _NOT_FOUND = Match(True), Match(False)


def search(pattern: str, subject: str, version: BrokerVersion) -> Match:
    """Tell whether a pattern occurs in a name, as this broker's Erlang would.

    Raises:
        ConfigurationError: The library for it is not installed.
    """
    limit = NEW_LIMIT if version.has("regex_limit") else OLD_LIMIT
    old = not version.has("pcre2")
    compiled = _compiled(pattern.encode(errors="surrogatepass"), limit, old)
    if isinstance(compiled, str):
        return Match(False, compiled)
    name = subject.encode(errors="surrogatepass")
    try:
        found = compiled.search(name.decode("latin-1") if old else name)
    except Exception as error:  # noqa: BLE001 - the binding has one class of errors per step
        return Match(False, f"it was given up: {error} (after {limit:,} steps)")
    return _FOUND if found is not None else _NOT_FOUND


@lru_cache(maxsize=1024)
def _compiled(pattern: bytes, limit: int, old: bool) -> Any:  # noqa: FBT001 - a key of the cache
    require("pcre2")
    import pcre2  # noqa: PLC0415 - an extra

    if len(pattern) > MAX_LENGTH:
        return f"it is longer than {MAX_LENGTH:,} bytes"
    bound = b"(*LIMIT_MATCH=%d)" % limit
    try:
        pcre2.compile(pattern, jit=False)  # first without the bound, whose length would confuse
        if not old:
            return pcre2.compile(bound + pattern, jit=False)
        # Letters of ISO 8859-1 are letters to PCRE 8 in Erlang: as Unicode, they are here too.
        text = _TEXT_BRACES.sub(rb"\\{", pattern).decode("latin-1")
        return pcre2.compile(bound.decode() + text, jit=False)
    except Exception as error:  # noqa: BLE001 - the same
        return f"it cannot be compiled: {error}"
