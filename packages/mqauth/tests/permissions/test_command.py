"""`mqauth explain`, as it is run."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mqauth.cli.root import cli
from mqauth.cli.tables import table_lines
from mqauth_sandbox.oidc import OidcIssuer

LIMIT = 30.0
AWS_EXAMPLE = "rabbitmq/read:*/* rabbitmq/write:*/* rabbitmq/configure:*/*"


def run(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `mqauth explain` with these arguments; as wide as it likes, unless COLUMNS is given."""
    inherited = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    return subprocess.run(
        [Path(sys.executable).with_name("mqauth"), "explain", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        env={**inherited, **variables},
    )


def test_refused_with_a_remedy() -> None:
    """A refusal names what decided and what to add, and the exit code tells it too."""
    done = run("-s", AWS_EXAMPLE, "publish to exchange celeryev with key task.sent")
    assert done.returncode == 3, done.stderr
    assert "refused  publish to exchange 'celeryev' with key 'task.sent'" in done.stdout
    assert "add    rabbitmq/write:%2F/celeryev/task.sent" in done.stdout
    again = run("-s", f"{AWS_EXAMPLE} rabbitmq/write:%2F/celeryev/task.sent", "publish", "to",
                "exchange", "celeryev", "with", "key", "task.sent")  # fmt: skip
    assert again.returncode == 0
    assert again.stdout.splitlines()[1].startswith("allowed  publish to exchange")


def test_every_operation_as_json() -> None:
    """Without a question, all operations are there, and JSON says everything."""
    done = run("-s", AWS_EXAMPLE, "--exchange", "celeryev", "--key", "task.sent", "--json")
    report = json.loads(done.stdout)
    assert len(report["operations"]) == 17
    refused = [o["operation"] for o in report["operations"] if not o["allow"]]
    assert "basic.publish" in refused
    assert "basic.consume" not in refused


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_table_fits(columns: str) -> None:
    """No line is longer than the terminal, and nothing is coloured where nobody sees colours."""
    done = run("-s", AWS_EXAMPLE, "--exchange", "celeryev" * 6, "--key", "k" * 30, COLUMNS=columns)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert "\x1b" not in done.stdout
    assert "rabbitmq/write:%2F/" in done.stdout


def test_a_scope_that_does_not_fit_is_cut_behind_a_mark() -> None:
    """In a narrow table no name is torn apart where one of its dots or slashes will do."""
    rows = [("rabbitmq.read:prod/*.reply.shop.pidbox", "mingle"), ("x" * 40, "")]
    _, scope, word = table_lines(("scope", "for"), rows, 43)
    assert scope == ["rabbitmq.read:prod/*.reply.shop.     mingle", "pidbox"]
    assert word == ["x" * 35, "x" * 5]


def test_a_piped_table_has_a_line_a_row() -> None:
    """Piped, each operation takes one line, so that others can read it."""
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    done = subprocess.run(
        [Path(sys.executable).with_name("mqauth"), "explain", "-s", AWS_EXAMPLE],
        capture_output=True, text=True, timeout=LIMIT, check=True, env=environment,
    )  # fmt: skip
    assert len([line for line in done.stdout.splitlines() if "." in line.split(" ")[0]]) == 17


def test_a_token_of_standard_input(issuer: OidcIssuer) -> None:
    """A token is read from standard input, and none of it is printed."""
    token = issuer.mint(scopes=["rabbitmq.read:*/*", "rabbitmq.tag:management", "openid"])
    done = run("--token", "-", "consume from queue celery", stdin=f"{token}\n")
    assert done.returncode == 0, done.stderr
    assert "user name  celery, tags management" in done.stdout
    assert "openid: it does not begin with the broker's prefix 'rabbitmq.'" in done.stdout
    assert not any(part in done.stdout + done.stderr for part in token.split("."))


def test_a_token_of_another_issuer(issuer: OidcIssuer) -> None:
    """A token that the broker would not take is refused, whatever its scopes."""
    done = run("--token", "-", "--issuer", "https://other.example", "consume from queue q",
               stdin=issuer.mint())  # fmt: skip
    assert done.returncode == 3
    assert "the broker trusts 'https://other.example'" in done.stdout


@pytest.mark.parametrize(("verified", "code"), [("true", 3), ("false", 0)])
def test_a_token_signed_by_somebody_elses_keys(
    issuer: OidcIssuer, tmp_path: Path, verified: str, code: int
) -> None:
    """Unless it verifies issuers, RabbitMQ takes what the keys have signed that it fetches."""
    conf = tmp_path / "rabbitmq.conf"
    conf.write_text(
        "auth_oauth2.resource_server_id = rabbitmq\n"
        "auth_oauth2.issuer = https://other.example\n"
        f"auth_oauth2.verify_issuer = {verified}\n"
    )
    done = run("--token", "-", "--conf", str(conf), "connect", stdin=issuer.mint())
    assert done.returncode == code, done.stdout
    noted = "fetches the keys of 'https://other.example'" in " ".join(done.stdout.split())
    assert noted == (code == 0)


def test_a_token_for_another_audience(issuer: OidcIssuer) -> None:
    """A token for somebody else is refused with what to ask for."""
    done = run("--token", "-", "--resource-server-id", "prod", "connect", stdin=issuer.mint())
    assert done.returncode == 3
    assert "is for rabbitmq" in done.stdout
    assert "resource_server_id is 'prod'" in done.stdout


def made(header: dict[str, object], claims: dict[str, object], signature: str = "c2ln") -> str:
    """Return a token that nobody issued."""
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()) for part in (header, claims))
    return ".".join([*(part.decode().rstrip("=") for part in parts), signature])


@pytest.mark.parametrize(
    ("header", "signature", "said"),
    [
        ({"alg": "none"}, "", "is not signed: its header has alg 'none'"),
        ({"alg": "nOnE"}, "c2ln", "is not signed: its header has alg 'nOnE'"),
        ({"typ": "JWT"}, "c2ln", "is not signed: its header says no alg"),
        ({"alg": 7}, "c2ln", "is not signed: its header has alg '7'"),
        ({"alg": "RS256"}, "", "its third part is empty"),
    ],
)
def test_a_token_that_is_not_signed(header: dict[str, object], signature: str, said: str) -> None:
    """No broker takes a token without a signature, whatever its scopes."""
    claims = {"aud": "rabbitmq", "exp": 4_000_000_000, "scope": "rabbitmq.read:*/*"}
    done = run("--token", "-", "consume from queue q", stdin=made(header, claims, signature))
    assert done.returncode == 3, done.stdout
    assert said in " ".join(done.stdout.split())
    assert "RS256 or ES256" in done.stdout


def test_a_token_that_is_signed_with_a_shared_secret(tmp_path: Path) -> None:
    """A broker may have the secret, but not one that has only an issuer's public keys."""
    claims: dict[str, object] = {"aud": "rabbitmq", "iss": "https://id.example"}
    token = made({"alg": "HS256"}, {**claims, "exp": 4e9, "scope": "rabbitmq.read:*/*"})
    done = run("--token", "-", "consume from queue q", stdin=token)
    assert done.returncode == 0, done.stdout
    assert "signed with a shared secret (HS256)" in " ".join(done.stdout.split())
    conf = tmp_path / "rabbitmq.conf"
    conf.write_text("auth_oauth2.resource_server_id = rabbitmq\n"
                    "auth_oauth2.issuer = https://id.example\n")  # fmt: skip
    done = run("--token", "-", "--conf", str(conf), "consume from queue q", stdin=token)
    assert done.returncode == 3, done.stdout
    assert "only the public keys that it fetches" in " ".join(done.stdout.split())


@pytest.mark.parametrize(("exp", "said"), [("1e999", "no number"), ("3", r"expired \d+ years ago")])
def test_an_expiry_that_cannot_be(exp: str, said: str) -> None:
    """A time beyond all bounds is no number, and one long ago is told in years."""
    token = made({"alg": "RS256"}, {"exp": "EXP", "scope": "read:*/*"})
    header, claims, signature = token.split(".")
    text = base64.urlsafe_b64decode(claims + "==").decode().replace('"EXP"', exp)
    claims = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    done = run("--token", "-", "connect", stdin=f"{header}.{claims}.{signature}")
    assert done.returncode == 3, done.stderr
    assert re.search(said, done.stdout)


@pytest.mark.parametrize("token", ["opaque", "a.b.c.d.e", "x" * 1_048_576])
def test_a_token_that_nobody_can_read(token: str) -> None:
    """An opaque, encrypted or endless token is one line of error: another has to be given."""
    done = run("--token", "-", "connect", stdin=token)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: the token is no JWT")
    assert len(done.stderr) < 300


def test_a_suggestion() -> None:
    """An operation that there is not is answered with the nearest one."""
    done = run("-s", "read:*/*", "publsh to exchange e")
    assert done.returncode == 2
    assert "did you mean 'publish'?" in done.stderr


def test_two_credentials() -> None:
    """Two credentials at once are refused."""
    done = run("-s", "read:*/*", "--read", ".*", "connect")
    assert done.returncode == 2
    assert "several credentials" in done.stderr


def test_batch() -> None:
    """Each line is answered in its place, one that is no question with an error."""
    questions = [
        {"scopes": ["read:*/*"], "vhost": "a", "kind": "resource", "name": "q", "action": "read"},
        {"scopes": ["read:*/*"], "vhost": "a", "kind": "topic", "name": "e", "action": "read",
         "routing_key": "k"},
        {"prefix": "p.", "scopes": ["p.read:a/*"], "vhost": "b", "kind": "vhost"},
        {"permissions": {"read": "^q"}, "vhost": "a", "kind": "resource", "name": "q1",
         "action": "read"},
        {"scopes": ["read:*/юникод"], "vhost": "a", "kind": "resource", "name": "юникод",
         "action": "read"},
        {"scopes": ["read:*/\ud800"], "vhost": "a", "kind": "resource", "name": "\ud800",
         "action": "read"},
    ]  # fmt: skip
    lines = [json.dumps(question) for question in questions]
    wrong = ["{", "[]", '{"kind":"x","vhost":"/"}', '{"kind":"vhost"}', '"' + "x" * 10]
    wrong += ['{"kind":"resource","vhost":"/","action":"read","scopes":[1]}']
    done = run("--batch", stdin="\n".join([*lines, *wrong]) + "\n")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer.get("allow") for answer in answers] == [True, False, False, True, True, True] + [
        None
    ] * len(wrong)
    assert all(answer["error"] for answer in answers[len(lines) :])
    assert all(answer["because"] for answer in answers[: len(lines)])


RIGHT = {
    "prefix": "",
    "scopes": ["read:*/*"],
    "vhost": "a",
    "kind": "resource",
    "name": "q",
    "action": "read",
}
USER = {"permissions": {"read": ".*"}, "vhost": "a", "kind": "vhost"}


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "  ",
        "null",
        "7",
        '{"scopes":[],"vhost":"a","kind":"vhost"} more',
        {**RIGHT, "scopes": 7},
        {**RIGHT, "scopes": None},
        {**RIGHT, "scopes": ["read:*/*", 7]},
        {**RIGHT, "scopes": [["read:*/*"]]},
        {**RIGHT, "scopes": {"read:*/*": 1}},
        {**RIGHT, "prefix": 0},
        {**RIGHT, "name": 0},
        {**RIGHT, "name": None},
        {**RIGHT, "name": []},
        {**RIGHT, "vhost": None},
        {**RIGHT, "kind": ["resource"]},
        {**RIGHT, "kind": {}},
        {**RIGHT, "action": []},
        {**RIGHT, "action": None},
        {**RIGHT, "kind": "vhost", "action": "fly"},
        {**RIGHT, "routing_key": False},
        {**RIGHT, "scope": "read:*/*"},
        {**RIGHT, "username": "ann"},
        {**RIGHT, "permissions": {}},
        {key: value for key, value in RIGHT.items() if key != "scopes"},
        {key: value for key, value in RIGHT.items() if key != "name"},
        {**USER, "permissions": ".*"},
        {**USER, "permissions": {"reads": ".*"}},
        {**USER, "permissions": {"read": 1}},
        {**USER, "topic_permissions": ["e"]},
        {**USER, "topic_permissions": {"e": {"write": 1}}},
        {**USER, "topic_permissions": {"e": {"configure": ""}}},
        {**USER, "username": 7},
        "[" * 100_000,
        '"' + "x" * 5_000_000 + '"',
    ],
    ids=lambda wrong: str(wrong)[:40],
)
def test_a_line_that_is_no_question(wrong: object) -> None:
    """Each line gets one answer in its place: an error where it is no question."""
    line = wrong if isinstance(wrong, str) else json.dumps(wrong)
    right = [json.dumps(RIGHT), json.dumps(USER)]
    done = CliRunner().invoke(
        cli, ["explain", "--batch"], input="\n".join([right[0], line, right[1]])
    )
    first, answer, last = map(json.loads, done.stdout.splitlines())
    assert list(answer) == ["error"]
    assert answer["error"]
    assert first["allow"]
    assert last["allow"]


def test_one_question_at_a_time() -> None:
    """Whoever waits for an answer before the next question gets it, also to half-written ones."""
    line = json.dumps(RIGHT) + "\n"
    with subprocess.Popen(
        [Path(sys.executable).with_name("mqauth"), "explain", "--batch"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    ) as asked:  # fmt: skip
        assert asked.stdin is not None
        assert asked.stdout is not None
        for _ in range(2):
            asked.stdin.write(line[:20])
            asked.stdin.flush()
            asked.stdin.write(line[20:])
            asked.stdin.flush()
            assert json.loads(asked.stdout.readline())["allow"]
        asked.stdin.close()
        assert asked.stdout.read() == ""
    assert asked.returncode == 0


@pytest.mark.parametrize("more", [("publish to exchange x",), (), ("--json",)], ids=str)
def test_a_token_with_halves_of_characters(more: tuple[str, ...]) -> None:
    """Halves of characters in whatever claim, or in an option, lead to no traceback."""
    half = "\ud800"
    claims = {
        "sub": half, "iss": half, "aud": [half], "client_id": half, "extra": {half: half},
        "scope": [f"{half}.read:*/{half}", f"{half}.tag:{half}", half], "exp": 4_000_000_000,
    }  # fmt: skip
    token = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "RS256"}, claims)
    )
    for issuer in ((), ("--issuer", "https://other.example")):
        done = run("--token", "-", *issuer, *more, stdin=f"{token}.c2ln")
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 3), done.stderr
        assert "ud800" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("--broker-version", "99"), "leave it out for 4.3"),
        (("--broker-version", "4.9"), "leave it out for 4.3"),
        (("--broker-version", "3.9"), "name a release of 3.10 to 4.3"),
        (("--vhost", ""), "the default one is /"),
        (("--vhost", "a\x1bb"), "control characters"),
        (("--queue", "q" * 256), "at most 255"),
        (("--key", "é" * 128), "at most 255"),
        (("--prefix", "a b"), "one word"),
    ],
)
def test_options_that_cannot_be(arguments: tuple[str, ...], remedy: str) -> None:
    """What no broker is or takes is refused with what to write."""
    done = CliRunner().invoke(cli, ["explain", "-s", "read:*/*", *arguments])
    assert done.exit_code == 2
    assert remedy in done.output


@pytest.mark.parametrize("version", ["3", "3.10", "3.13.7", "4", "4.3.6", "v4.2"])
def test_versions_that_are_known(version: str) -> None:
    """Every release that the answers were read of is taken."""
    done = CliRunner().invoke(cli, ["explain", "-s", "read:*/*", "--broker-version", version])
    assert done.exit_code == 0, done.output


def test_a_scope_without_the_prefix_of_the_others() -> None:
    """One scope that lacks the prefix counts for nothing, and the others for what they are."""
    scopes = "read:*/* rabbitmq.write:*/* rabbitmq.configure:*/*"
    done = run("-s", scopes, "declare queue q")
    assert done.returncode == 0
    assert "scope prefix 'rabbitmq.' is assumed from the scopes: 2 of 3 scopes" in done.stdout
    assert "ignored    read:*/*" in done.stdout


def test_a_hostile_token_reaches_no_terminal() -> None:
    """Claims and scopes with control characters or halves of characters are shown escaped."""
    claims = {
        "sub": "bob\x1b[31mEVIL\nallowed  everything",
        "scope": "read:*/\x1b]0;title\x07 read:a/\ud800/c/d",
        "exp": 4_000_000_000,
    }
    token = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "RS256"}, claims)
    )
    done = run("--token", "-", "publish", "to", "exchange", "x", stdin=f"{token}.c2ln")
    assert "EVIL" in done.stdout
    assert not set(done.stdout + done.stderr) & {"\x1b", "\x07", "\ud800"}
    assert not any(line.startswith("allowed") for line in done.stdout.splitlines())


@pytest.mark.parametrize("limit", ["nan", "-1", "0", "inf"])
def test_a_time_limit_is_a_number_of_seconds(limit: str) -> None:
    """What cannot be one is said at once."""
    done = CliRunner().invoke(cli, ["doctor", "oauth2", "--timeout", limit])
    assert done.exit_code == 2
    assert "at most 300" in done.output


@pytest.mark.parametrize("content", [b"opaque", b"", b"\xff\xfe", None])
def test_a_file_that_holds_no_token(content: bytes | None, tmp_path: Path) -> None:
    """What cannot be used has to be changed, as the exit code says; JSON tells it too."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    done = run("--token", str(file), "connect", "--json")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert json.loads(done.stdout)["exit_code"] == 2


def test_scopes_that_count_for_nothing_are_shown_as_they_came() -> None:
    """With their prefix and their variables: so they are found in the token."""
    scopes = ["rabbitmq.reed:*/*", "rabbitmq.read:/celery", "rabbitmq.write:{sub}", "openid"]
    token = made({"alg": "RS256"}, {"aud": "rabbitmq", "sub": "x", "exp": 4e9, "scope": scopes})
    done = run("--token", "-", "connect", "--json", stdin=token)
    report = json.loads(done.stdout)
    shown = {each["scope"] for each in report["ignored"]}
    assert shown == {"rabbitmq.reed:*/*", "rabbitmq.write:{sub}", "openid"}
    assert any(note.startswith("scope rabbitmq.read:/celery: ") for note in report["notes"])
    told = json.loads(run("-s", " ".join(scopes), "connect", "--json").stdout)
    assert {each["scope"] for each in told["ignored"]} == shown
