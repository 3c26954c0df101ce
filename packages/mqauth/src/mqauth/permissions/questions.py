"""Questions in the user's words, such as `publish to exchange celeryev with key task.sent`."""

from __future__ import annotations

import difflib
import re
import shlex
from collections import deque
from collections.abc import Callable, Sequence
from typing import NoReturn

from mqauth.errors import ConfigurationError
from mqauth.permissions.operations import Operation, operation_kind

_VERBS = {
    "publish": "basic.publish",
    "send": "basic.publish",
    "consume": "basic.consume",
    "subscribe": "basic.consume",
    "receive": "basic.consume",
    "get": "basic.get",
    "purge": "queue.purge",
    "declare": "declare",
    "create": "declare",
    "delete": "delete",
    "remove": "delete",
    "bind": "bind",
    "unbind": "unbind",
    "connect": "connection.open",
    "enter": "connection.open",
    "open": "connection.open",
    "login": "connection.open",
}
_METHODS = {
    "basic.publish": "publish to exchange",
    "basic.consume": "consume from queue",
    "basic.get": "get from queue",
    "queue.purge": "purge queue",
    "queue.declare": "declare queue",
    "queue.delete": "delete queue",
    "queue.bind": "bind queue",
    "queue.unbind": "unbind queue",
    "exchange.declare": "declare exchange",
    "exchange.delete": "delete exchange",
    "exchange.bind": "bind exchange",
    "exchange.unbind": "unbind exchange",
    "connection.open": "connect",
}
_FILLERS = frozenset(
    re.findall(
        r"\w+",
        "may can could i it we he she they this that credential token user do does is be allowed a "
        "an the my its named called from of for please and to in with on into",
    )
)
_AFTER_NAME = frozenset({"in", "with"})
_EXAMPLE = "ask for example: publish to exchange celeryev with key task.sent in vhost prod"
_WORD = re.compile(r"[\w.-]+=")


class _Names:
    """What a question names, read word by word.

    Args:
        words: What follows the verb.
        vhost: The virtual host where none is named.
    """

    def __init__(self, words: Sequence[str], vhost: str) -> None:
        """Read the words."""
        self.vhost = vhost
        self.key = ""
        self.queue: str | None = None
        self.exchanges: list[str] = []
        self.dead_letter: str | None = None
        self.alternate: str | None = None
        self.topic: bool | None = None
        self.passive = False
        self.rest: list[str] = []
        self._words = deque(words)
        while self._words:
            self._take(self._words.popleft())

    def _take(self, word: str) -> None:
        lower = word.lower()
        for known, read in _READERS:
            if lower in known:
                read(self, lower)
                return
        if lower not in _FILLERS:
            self.rest.append(word)

    def _next(self) -> str:
        return self._words.popleft() if self._words else ""

    def _named(self, said: str) -> str:
        """Return the name that has to follow; the default exchange's is empty."""
        return self._words.popleft() if self._words else _incomplete(said, "name the exchange")

    def _skip(self, *words: str) -> None:
        if self._words and self._words[0].lower() in words:
            self._words.popleft()

    def read_vhost(self, word: str) -> None:
        """Read the name of a virtual host."""
        if word == "virtual":
            self._skip("host")
        self.vhost = self._next() or _incomplete("in vhost", "name the virtual host")

    def read_key(self, word: str) -> None:
        """Read a routing key."""
        if word in ("routing", "binding"):
            self._skip("key")
        self.key = self._next()

    def read_dead_letter(self, word: str) -> None:
        """Read a dead-letter exchange."""
        if word == "dead":
            self._skip("letter")
        self._skip("exchange")
        self.dead_letter = self._named("with dead-letter exchange")

    def read_alternate(self, word: str) -> None:
        """Read an alternate exchange."""
        self._skip("exchange")
        self.alternate = self._named("with alternate exchange")

    def read_passive(self, word: str) -> None:
        """Note a passive declaration."""
        self.passive = True

    def read_type(self, word: str) -> None:
        """Note the type of the exchange."""
        self.topic = word == "topic"

    def read_default(self, word: str) -> None:
        """Note the default exchange."""
        self._skip("exchange")
        self.exchanges.append("")

    def read_exchange(self, word: str) -> None:
        """Read an exchange."""
        ends = not self._words or self._words[0].lower() in _AFTER_NAME
        self.exchanges.append("" if ends else self._next())

    def read_queue(self, word: str) -> None:
        """Read a queue."""
        ends = not self._words or self._words[0].lower() in _AFTER_NAME
        self.queue = "" if ends else self._next()


_READERS: tuple[tuple[frozenset[str], Callable[[_Names, str], None]], ...] = (
    (frozenset({"vhost", "virtualhost", "virtual-host", "virtual"}), _Names.read_vhost),
    (
        frozenset({"key", "routing-key", "routing_key", "binding-key", "rk", "routing", "binding"}),
        _Names.read_key,
    ),
    (frozenset({"dlx", "dead", "dead-letter", "dead_letter"}), _Names.read_dead_letter),
    (frozenset({"ae", "alternate"}), _Names.read_alternate),
    (frozenset({"passive", "passively"}), _Names.read_passive),
    (frozenset({"topic", "direct", "fanout", "headers"}), _Names.read_type),
    (frozenset({"default"}), _Names.read_default),
    (frozenset({"exchange"}), _Names.read_exchange),
    (frozenset({"queue"}), _Names.read_queue),
)


def parse_question(text: str | Sequence[str], *, vhost: str = "/") -> Operation:
    """Read a question.

    Args:
        text: The question, names with blanks in quotes; or its words.
        vhost: The virtual host where the question names none.

    Raises:
        ConfigurationError: It cannot be understood; the remedy shows how to put it.
    """
    words = _words(text)
    method = next((word for word in words[:2] if word in _METHODS), None)
    if method:
        noun, _, verb = method.partition(".")
        words = [word for word in words if word != method]
        implied = noun in ("queue", "exchange") and noun not in words[:1] and verb != "purge"
        words = [_METHODS[method].split()[0], *([noun] if implied else []), *words]
    verb, following = _verb(words)
    names = _Names(following, vhost)
    operation = _operation(verb, names)
    # A word left out might have changed the answer.
    for word in names.rest[_bare_words(verb, names) :]:
        raise ConfigurationError(
            f"{word[:60]!r} in the question is not understood", remedy=f"leave it out; {_EXAMPLE}"
        )
    return operation


def _words(text: str | Sequence[str]) -> list[str]:
    try:
        words = shlex.split(text) if isinstance(text, str) else list(text)
    except ValueError as error:
        raise ConfigurationError(f"the question has odd quotes: {error}") from None
    if len(words) == 1 and " " in words[0]:
        return _words(words[0])
    split: list[str] = []
    for word in words:
        # queue=celery is the same as queue celery; '' is the name of the default exchange
        split += filter(None, word.split("=", 1)) if _WORD.match(word) else [word]
    if split and split[-1].endswith("?"):
        split[-1:] = filter(None, [split[-1][:-1]])
    return split if any(split) else _not_understood("")


def _verb(words: list[str]) -> tuple[str, list[str]]:
    for index, word in enumerate(words):
        lower = word.lower()
        if lower in ("log", "sign") and words[index + 1 : index + 2] == ["in"]:
            return "connection.open", words[index + 2 :]
        if lower in _VERBS:
            before = [w for w in words[:index] if w.lower() in ("passive", "passively")]
            return _VERBS[lower], [*before, *words[index + 1 :]]
        if lower in ("read", "write", "configure"):
            return lower, words[index + 1 :]
        if lower not in _FILLERS and lower not in ("passive", "passively"):
            return _not_understood(lower)
    return _not_understood(" ".join(words))


def _operation(verb: str, names: _Names) -> Operation:
    if verb in ("read", "write", "configure"):
        return _by_permission(verb, names)
    if verb in ("declare", "delete"):
        return _declaring(verb, names)
    if verb in ("bind", "unbind"):
        return _binding(verb, names)
    if verb == "basic.publish":
        # To publish to a queue is to publish to the default exchange with the queue's name.
        named = [""] if names.queue is not None else names.rest or [""]
        exchange = (names.exchanges or named)[0]
        return _made(verb, names, exchange=exchange, key=names.key or (names.queue or ""))
    if verb == "connection.open":
        names.vhost = (names.rest or [names.vhost])[0]
        return _made(verb, names)
    queue = names.queue if names.queue is not None else (names.rest or [""])[0]
    return _made(verb, names, queue=queue) if queue else _incomplete(verb, "name the queue")


def _bare_words(verb: str, names: _Names) -> int:
    """Return how many names may stand there without what they are the name of."""
    if verb in ("read", "write", "configure", "declare", "delete"):
        return 0
    if verb in ("bind", "unbind"):
        ends = 1 if names.queue is not None else 2
        return max(0, ends - len(names.exchanges))
    if verb == "basic.publish":
        return 0 if names.exchanges or names.queue is not None else 1
    return 1 if verb == "connection.open" or names.queue is None else 0


def _declaring(verb: str, names: _Names) -> Operation:
    if names.queue is not None:
        return _made(f"queue.{verb}", names, queue=names.queue)
    if names.exchanges:
        return _made(f"exchange.{verb}", names, exchange=names.exchanges[0])
    return _incomplete(f"{verb} {' '.join(names.rest)}", "say whether it is a queue or an exchange")


def _binding(verb: str, names: _Names) -> Operation:
    others = [*names.exchanges, *names.rest]
    if names.queue is not None:
        return _made(f"queue.{verb}", names, queue=names.queue, exchange=(others or [""])[0])
    if len(others) < 2:
        return _incomplete(f"{verb} {' '.join(others)}", "name both ends of the binding")
    return _made(f"exchange.{verb}", names, destination=others[0], source=others[1])


def _by_permission(action: str, names: _Names) -> Operation:
    """Understand `write exchange x` and `read queue y` by the operation that needs just that."""
    exchange = (names.exchanges or [""])[0]
    if names.queue is not None:
        title = {"configure": "queue.delete", "read": "basic.consume"}.get(action)
    elif names.exchanges:
        title = {"configure": "exchange.delete", "write": "basic.publish"}.get(action)
    else:
        title = None
    if title is None:
        return _incomplete(action, "ask for the operation, such as bind queue q to exchange x")
    return _made(title, names, queue=names.queue or "", exchange=exchange)


def _made(
    name: str,
    names: _Names,
    *,
    key: str | None = None,
    queue: str = "",
    exchange: str = "",
    source: str = "",
    destination: str = "",
) -> Operation:
    variant = ""
    if name.endswith(".declare"):
        variant = " (passive)" if names.passive else ""
        variant = variant if names.dead_letter is None else " (with DLX)"
        variant = variant if names.alternate is None else " (with AE)"
    kind = operation_kind(name + variant)
    if kind is None:
        return _incomplete(name + variant, "there is no such way of declaring")
    return Operation(
        kind=kind,
        vhost=names.vhost,
        alternate=names.alternate,
        dead_letter=names.dead_letter,
        routing_key=names.key if key is None else key,
        topic=names.topic,
        queue=queue,
        exchange=exchange,
        source=source,
        destination=destination,
    )


def _incomplete(said: str, how: str) -> NoReturn:
    raise ConfigurationError(f"{said[:60]!r} is not complete", remedy=f"{how}; {_EXAMPLE}")


def _not_understood(said: str) -> NoReturn:
    first = said.partition(" ")[0]
    near = difflib.get_close_matches(first, [*_VERBS, *_METHODS], 1, 0.6)
    meant = f"did you mean {near[0]!r}? " if near and near[0] != first else ""
    raise ConfigurationError(
        f"{said[:60]!r} is no operation" if said else "there is no question",
        remedy=f"{meant}{_EXAMPLE}",
    )
