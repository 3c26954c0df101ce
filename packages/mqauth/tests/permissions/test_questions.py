"""Questions in the user's words."""

from __future__ import annotations

import pytest

from mqauth.errors import ConfigurationError
from mqauth.permissions.checks import broker_name
from mqauth.permissions.operations import OPERATIONS, plan
from mqauth.permissions.questions import parse_question


@pytest.mark.parametrize(
    ("text", "operation", "words"),
    [
        (
            "publish to exchange celeryev with key task.sent in vhost prod",
            "basic.publish",
            "publish to exchange 'celeryev' with key 'task.sent'",
        ),
        ("may I declare queue celery?", "queue.declare", "declare queue 'celery'"),
        ("publish to queue celery", "basic.publish", "publish to exchange '(default)' with key"),
        ("consume from celery", "basic.consume", "consume from queue 'celery'"),
        ("passively declare exchange x", "exchange.declare (passive)", "passively declare"),
        (
            "declare exchange x with alternate exchange y",
            "exchange.declare (with AE)",
            "declare exchange 'x' with alternate exchange 'y'",
        ),
        (
            "declare queue q with dead-letter exchange d",
            "queue.declare (with DLX)",
            "declare queue 'q' with dead-letter exchange 'd'",
        ),
        ("bind exchange a to exchange b", "exchange.bind", "bind exchange 'a' to exchange 'b'"),
        ("unbind queue q from exchange e", "queue.unbind", "unbind queue 'q' from exchange 'e'"),
        ("basic.publish exchange=a routing_key=b", "basic.publish", "publish to exchange 'a'"),
        ("queue.declare q", "queue.declare", "declare queue"),
        ("declare queue 'with blanks'", "queue.declare", "declare queue 'with blanks'"),
        ("connect to vhost prod", "connection.open", "enter virtual host 'prod'"),
        ("write exchange e", "basic.publish", "publish to exchange 'e'"),
        ("read queue q", "basic.consume", "consume from queue 'q'"),
        ("purge queue q", "queue.purge", "purge queue 'q'"),
        ("get from queue q", "basic.get", "get from queue 'q'"),
    ],
)
def test_understood(text: str, operation: str, words: str) -> None:
    """A question is understood as the operation that it means."""
    parsed = parse_question(text)
    assert parsed.kind.title == operation
    assert str(parsed).startswith(words)
    assert parse_question(text.split() if "'" not in text else text) == parsed


@pytest.mark.parametrize("kind", OPERATIONS, ids=lambda kind: kind.title)
def test_every_operation_can_be_asked(kind: object) -> None:
    """The words that an operation is printed with are understood as that very operation."""
    printed = {
        "connection.open": "connect to vhost a",
        "exchange.declare": "declare exchange e",
        "exchange.declare (passive)": "passively declare exchange e",
        "exchange.declare (with AE)": "declare exchange e with alternate exchange f",
        "queue.declare (passive)": "passively declare queue q",
        "queue.declare (with DLX)": "declare queue q with dead-letter exchange d",
        "exchange.bind": "bind exchange e to exchange f",
        "exchange.unbind": "unbind exchange e from exchange f",
        "queue.bind": "bind queue q to exchange e",
        "queue.unbind": "unbind queue q from exchange e",
    }
    for operation in OPERATIONS:
        if operation is kind:
            text = printed.get(operation.title, f"{operation.words} x")
            assert parse_question(text).kind is operation


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("publsh to exchange e", "did you mean 'publish'?"),
        ("frobnicate queue q", "ask for example: publish to exchange"),
        ("basic.publsh e", "did you mean 'basic.publish'?"),
        ("", "there is no question"),
        ("declare queue q with dead-letter exchange", "name the exchange"),
        ("declare exchange e with alternate exchange", "name the exchange"),
        ("declare x", "say whether it is a queue or an exchange"),
        ("bind exchange a", "name both ends of the binding"),
        ("consume from", "name the queue"),
        ("publish to 'x", "odd quotes"),
    ],
)
def test_not_understood(text: str, said: str) -> None:
    """What is no question gets an answer that shows how to put it."""
    with pytest.raises(ConfigurationError) as caught:
        parse_question(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("declare queue celery with banana split", "banana"),
        ("declare queue celery in vhost prod and publish to exchange foo", "publish"),
        ("consume from queue my queue", "in the question|name the queue"),
        ("publish to exchange a b", "'b'"),
        ("publish to exchange a in vhost", "name the virtual host"),
    ],
)
def test_a_word_that_means_nothing_is_no_answer(question: str, word: str) -> None:
    """What is not understood might change the answer, so none is given."""
    with pytest.raises(ConfigurationError, match=word):
        parse_question(question)


def test_a_dead_letter_exchange_in_two_words() -> None:
    """It counts, however it is written."""
    for words in ("dead letter exchange", "dead-letter exchange", "dlx"):
        assert parse_question(f"declare queue celery with {words} gone").dead_letter == "gone"


@pytest.mark.parametrize(
    ("question", "kind", "words"),
    [
        (
            "declare queue q with dead-letter exchange ''",
            "queue.declare (with DLX)",
            "declare queue 'q' with dead-letter exchange '(default)'",
        ),
        (
            "declare exchange e with alternate exchange ''",
            "exchange.declare (with AE)",
            "declare exchange 'e' with alternate exchange '(default)'",
        ),
    ],
)
def test_the_default_exchange_has_an_empty_name(question: str, kind: str, words: str) -> None:
    """Messages can be left to it as to any other."""
    for asked in (question, [*question.split()[:-1], ""]):
        operation = parse_question(asked)
        assert (operation.kind.title, str(operation)) == (kind, words)
        (_, *_, last) = plan(operation).steps
        assert [(each.action, broker_name(each)) for each in last] == [("write", "amq.default")]
