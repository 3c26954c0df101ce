"""Random questions, biased to the edges of what scopes and expressions can say."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from mqauth.permissions.checks import ACTIONS
from mqauth.permissions.operations import OPERATIONS, Operation
from mqauth.permissions.wildcards import literal

VHOSTS = ("/", "prod", "a/b*c", "юникод", "%41", "prod 2")
TOPICS = ("celeryev", "topic", "a*b", "foo/bar", "юникод")
DIRECTS = ("celery", "fooboo", "x+y", "x y", "{sub}")
QUEUES = (
    "celery",
    "fooboo",
    "a*b",
    "foo/bar",
    "x y",
    "юникод",
    "w@h.celery.pidbox",
    "100%",
    "q{vhost}",
)
MISSING = (
    "nowhere",
    "foo",
    "fo",
    "celery2",
    "CELERY",
    "celery\t",
    "a%2Ab",
    "x%20y",
    "éé",
    "a" * 60,
)
KEYS = ("", "task.sent", "#", "*", "task.*", "worker.#", "a/b", "x y", "юникод", "task", "100%")
SUBJECTS = ("celery", "prod", "*", "a/b", "x y")

WORDS = ("read", "write", "configure") * 8 + ("Read", "readx", "tag", "", "configure ", "rea")


def scope(rng: random.Random) -> str:
    """Return a scope, most of them well formed."""
    segments = [_pattern(rng, VHOSTS), _pattern(rng, (*QUEUES, *TOPICS, *DIRECTS, *MISSING))]
    if rng.random() < 0.6:
        segments.append(_pattern(rng, KEYS))
    if rng.random() < 0.03:
        segments = segments[:1] if rng.random() < 0.5 else [*segments, *segments]
    return f"{rng.choice(WORDS)}:{'/'.join(segments)}"


def prefixed(rng: random.Random, text: str) -> str:
    """Return a scope with its prefix, or sometimes with another."""
    prefix = "rabbitmq." if rng.random() < 0.96 else rng.choice(("", "rabbitmq", "x.", "Rabbitmq."))
    return prefix + text


def operation(rng: random.Random, vhost: str) -> Operation:
    """Return an operation on something that may exist or not."""
    kind = rng.choice(OPERATIONS[1:])
    roles = {need.role for need in kind.needs}
    creates = kind.variant in ("with AE", "with DLX") or kind.name.endswith(".delete")
    queues: Sequence[str] = MISSING if creates else (*QUEUES, *QUEUES, *MISSING)
    exchanges: Sequence[str] = (*TOPICS, *TOPICS, *DIRECTS, *MISSING, "", "amq.topic", "amq.direct")
    # Exchanges that come and go with the test have names of their own.
    own = [*MISSING, "amq.fanout"] if kind.name == "exchange.delete" else MISSING
    if kind.name == "queue.declare" and kind.variant == "" and rng.random() < 0.1:
        queues = ("", "amq.gen-mine", "amq.rabbitmq.reply-to")
    source = rng.choice(exchanges)
    takes_queue = kind.name.startswith(("queue.", "basic.get", "basic.consume"))
    made = Operation(
        kind=kind,
        vhost=vhost,
        queue=rng.choice(queues) if takes_queue else "",
        exchange=(rng.choice(own) if creates else source) if not roles & {"source"} else "",
        source=source if "source" in roles else "",
        destination=rng.choice(exchanges) if "destination" in roles else "",
        alternate=rng.choice(exchanges) if "alternate" in roles else None,
        dead_letter=rng.choice(exchanges) if "dead_letter" in roles else None,
        routing_key=rng.choice(KEYS) if kind.topic else "",
        topic=source in TOPICS or source == "amq.topic",
    )
    if kind.name == "basic.publish" and rng.random() < 0.2:
        made = replace(made, also_to=(rng.choice(KEYS),))
    return made


def expression(rng: random.Random) -> str:
    """Return a regular expression that the broker accepts."""
    name = rng.choice((*QUEUES, *TOPICS, *DIRECTS, *MISSING, "amq.default", "amq.topic"))
    return rng.choice(EXPRESSIONS).replace("NAME", _quoted(name)).replace("PART", _quoted(name[:2]))


EXPRESSIONS = (
    *("", "^$", ".*", ".+", "^.*$", "NAME", "^NAME$", "^NAME", "NAME$", "^PART", "^(NAME|celery)$"),
    *("^(amq\\.gen.*|amq\\.default)$", "amq.default", "^amq\\.", "celery", "^celery(ev)?$"),
    *("[[:alpha:]]$", "^[[:alnum:]]+$", "^\\w+$", "\\W", "^[^/]*$", "\\s", "^\\S+$", "\\t"),
    *(
        "(?i)^CELERY$",
        "(?i)NAME",
        "^.{6}$",
        "^.{4}$",
        "^(?!celery)",
        "o{2}",
        "fo{,2}$",
        "^\\p{L}+$",
    ),
    *(
        "\\Qa*b\\E",
        "^\\Q100%\\E$",
        "(a+)+$",
        "^(a|aa)+$",
        "^(?>fo*)o",
        "a++$",
        "\\x63elery",
        "%|\\*",
    ),
    *(
        "^(?#note)celery$",
        "(?x) ^ cel ery $",
        "\\bfoo\\b",
        "^foo\\/bar$",
        "[\\[\\]{}]",
        "celery$|^$",
    ),
    *(
        "^\\h",
        "é",
        "^[^\\x00-\\x7f]",
        "(?<n>o)\\k<n>",
        "(o)\\1",
        "(?|(a)|(f))",
        "^\\N+$",
        "$",
        "|",
        "()",
    ),
)


def topic_expression(rng: random.Random) -> str:
    """Return an expression for routing keys."""
    key = _quoted(rng.choice(KEYS))
    return rng.choice(
        ("", ".*", f"^{key}$", key, "^task\\.", "{username}", "^{vhost}", "\\.#$", "^$")
    )


def _pattern(rng: random.Random, names: Sequence[str]) -> str:
    name = rng.choice(names)
    cut = rng.randint(0, len(name))
    middle = name[cut : cut + rng.randint(1, 3)]
    forms = (
        *(literal(name),) * 6,
        *("*",) * 6,
        name,
        literal(name).replace("%20", "+"),
        literal(name).lower(),
        f"{literal(name[:cut])}*",
        f"*{literal(name[cut:])}",
        f"{literal(name[:cut])}*{literal(name[cut:])}",
        f"*{literal(middle)}*",
        f"{literal(name[:cut])}**{literal(name[cut:])}",
        f"{literal(name)}*",
        f"{literal(name)}**",
        f"*{literal(name)}",
        *("**", "", "%", "%2", "%zz", "*%", "%2A", "%2a*", "+", "{vhost}", "{sub}", "{sub}*"),
        *(
            "{}",
            "{nobody}",
            "{list}",
            "{vhost",
            "{a.b}",
            "{su*b}",
            "vhost}",
            "{{sub}}",
            "{vhost}{sub}",
        ),
        *("*oo", "o*o", "f*o", "*o*", "*b*o"),
    )
    return rng.choice(forms)


def _quoted(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\^$.|?*+()[]{}" else c for c in text)


assert set(ACTIONS) <= set(WORDS)  # a generator that never makes a valid scope would prove nothing
