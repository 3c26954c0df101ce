"""The short ways to a cached answer serve what is good without question, and nothing else."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from credproc import shortcut, single_flight
from credproc.cache import MOST_PRUNED, CachedSession, SessionCache, open_cache
from credproc.cache_key import fingerprint
from credproc.credentials import SessionCredentials
from credproc.options import SessionOptions
from credproc.remembering import remember
from credproc.secret import Secret
from credproc.shell_cache import question, variables

LAUNCHER = Path(__file__).resolve().parent.parent / "launcher" / "credproc"
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
PYTHON_ASKED = 42

Answer = Callable[..., str | None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a certificate, a key and a cache directory."""
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "host.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
    (tmp_path / "host.key").write_text("a key\n")
    return tmp_path


@pytest.fixture
def words(folder: Path) -> list[str]:
    """A command line."""
    files = ["--certificate", f"{folder}/host.pem", "--private-key", f"{folder}/host.key"]
    return [*files, "--role-arn", "arn with a space", "--endpoint", "https://[::1]:443"]


@pytest.fixture
def environ(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of this process and of the programs that it starts."""
    for name in list(os.environ):
        if name.startswith(("CREDPROC_", "AWS_", "XDG_")) or name == "SSL_CERT_FILE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("CREDPROC_CACHE_DIR", f"{folder}/cache")
    monkeypatch.setenv("HOME", str(folder))
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "CREDPROC_CACHE_DIR": f"{folder}/cache",
    }


def options_of(folder: Path, **further: object) -> SessionOptions:
    """Return the options that the command line stands for."""
    options = SessionOptions(
        role_arn="role",
        profile_arn="profile",
        trust_anchor_arn="anchor",
        certificate=f"{folder}/host.pem",
        private_key=f"{folder}/host.key",
    )
    return options._replace(**further)  # type: ignore[arg-type]


def cache_answer(
    folder: Path, words: Sequence[str], key: str = "key", config: str | None = None
) -> str:
    """Cache an answer for a command line, and return its JSON."""
    credentials = SessionCredentials(
        "ASIA1", Secret('secret\\ "1"'), Secret("token%s%d"), int(time.time() + 3600)
    )
    options = options_of(folder)
    cache = open_cache(options, os.environb)
    assert cache is not None
    assert cache.store(key, credentials, time.time())
    remember(cache, key, options, words, config)
    return credentials.to_json() + "\n"


@pytest.fixture(params=["python", *SHELLS])
def answer(request: pytest.FixtureRequest, folder: Path, environ: dict[str, str]) -> Answer:
    """Return what a short way answers: of Python, or of the launcher in each shell there is."""
    if request.param == "python":

        def by_python(words: Sequence[str], **further: str) -> str | None:
            code = (
                "import sys; from credproc.shortcut import cached_answer as c\n"
                "sys.stdout.buffer.write(c(sys.argv[1:]) or b'')"
            )
            done = run([sys.executable, "-c", code, *words], {**environ, **further})
            return done.stdout or None

        return by_python
    program = folder / "bin" / "credproc"
    program.parent.mkdir()
    program.write_text(LAUNCHER.read_text())
    (program.parent / "python3").write_text(f"#!/bin/sh\nexit {PYTHON_ASKED}\n")
    (program.parent / "python3").chmod(0o755)
    shell = [request.param, *(["sh"] if request.param == "busybox" else [])]

    def by_shell(words: Sequence[str], **further: str) -> str | None:
        done = run([*shell, str(program), *words], {**environ, **further})
        assert done.stderr == ""
        assert done.returncode in (0, PYTHON_ASKED)
        return done.stdout if done.returncode == 0 else None

    return by_shell


def run(command: Sequence[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program."""
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=20, check=False
    )


def test_short_cuts_are_written_once(folder: Path, words: list[str], answer: Answer) -> None:
    """Who finds them as they should be writes nothing; once a file has changed, they are new."""
    document = cache_answer(folder, words)
    first = identities(folder)
    options = options_of(folder)
    cache = open_cache(options, os.environb)
    assert cache is not None
    remember(cache, "key", options, words)
    assert identities(folder) == first
    os.utime(folder / "host.key", (1_700_000_000, 1_700_000_000))
    assert answer(words) is None
    remember(cache, "key", options, words)
    assert identities(folder) != first
    assert answer(words) == document


def identities(folder: Path) -> dict[str, int]:
    """Return which files the cache consists of."""
    return {path.name: path.stat().st_ino for path in (folder / "cache").iterdir()}


def test_the_same_line_again(folder: Path, words: list[str], answer: Answer) -> None:
    """What was cached for a line is printed byte by byte, special characters included."""
    document = cache_answer(folder, words)
    assert answer(words) == document


@pytest.mark.parametrize(
    "change",
    [
        lambda words: words[:-1],
        lambda words: [*words, "--debug"],
        lambda words: [*words[:-1], "https://[::1]:444"],
        lambda words: [" ".join(words)],
        lambda words: ["\t".join(words[:2]), *words[2:]],
        lambda words: [*words, ""],
    ],
)
def test_another_line(
    folder: Path, words: list[str], answer: Answer, change: Callable[[list[str]], list[str]]
) -> None:
    """Another line is another question, however alike the two look."""
    cache_answer(folder, words)
    assert answer(change(words)) is None


@pytest.mark.parametrize("name", ["CREDPROC_REGION", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL"])
def test_another_environment(folder: Path, words: list[str], answer: Answer, name: str) -> None:
    """A variable that counts makes it another question."""
    cache_answer(folder, words)
    assert answer(words, **{name: "x"}) is None


@pytest.mark.parametrize("name", ["host.pem", "host.key"])
def test_files_that_changed(folder: Path, words: list[str], answer: Answer, name: str) -> None:
    """A file that is rewritten, older or gone leads to the long way."""
    document = cache_answer(folder, words)
    path = folder / name
    before = path.stat()
    path.write_text(path.read_text())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns - 1))
    assert answer(words) is None
    path.unlink()
    assert answer(words) is None
    assert document != ""


def test_another_certificate_of_the_same_age(
    folder: Path, words: list[str], answer: Answer
) -> None:
    """A certificate counts by what is in it, even where all times are alike."""
    cache_answer(folder, words)
    path = folder / "host.pem"
    before = path.stat()
    other = folder / "other.pem"
    other.write_text(path.read_text().replace("A", "B"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert answer(words) is None


def test_a_certificate_that_grew(folder: Path, words: list[str], answer: Answer) -> None:
    """A certificate with lines added is another one."""
    cache_answer(folder, words)
    path = folder / "host.pem"
    before = path.stat()
    path.write_text(path.read_text() + "more\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert answer(words) is None


def test_an_answer_that_is_not_fresh(folder: Path, words: list[str], answer: Answer) -> None:
    """What has 15 minutes left is not served without asking."""
    now = time.time()
    cache_answer(folder, words)
    options = options_of(folder)
    cache = open_cache(options, os.environb)
    assert cache is not None
    late = SessionCredentials("ASIA2", Secret("s"), Secret("t"), int(now + 900))
    cache.store("key", late, now - 2700)
    remember(cache, "key", options, words)
    assert answer(words) is None


def test_links_and_other_modes(folder: Path, words: list[str], answer: Answer) -> None:
    """A cache directory or a file that is a link is not looked into."""
    cache_answer(folder, words)
    real = folder / "real"
    (folder / "cache").rename(real)
    (folder / "cache").symlink_to(real)
    assert answer(words) is None


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o701])
def test_a_directory_that_others_may_enter(
    folder: Path, words: list[str], answer: Answer, mode: int
) -> None:
    """What others may have written, or may read, is not served."""
    document = cache_answer(folder, words)
    (folder / "cache").chmod(mode)
    assert answer(words) is None
    (folder / "cache").chmod(0o700)
    assert answer(words) == document


@pytest.mark.parametrize("mode", [0o666, 0o640, 0o604])
def test_files_that_others_may_open(
    folder: Path, words: list[str], answer: Answer, mode: int
) -> None:
    """A file whose mode is another than the one we give it is not served, wherever it lies."""
    cache_answer(folder, words)
    for path in (folder / "cache").iterdir():
        path.chmod(mode)
    assert answer(words) is None


def test_files_with_another_name(folder: Path, words: list[str], answer: Answer) -> None:
    """A file that has a second name elsewhere, by which it may be written, is not served."""
    cache_answer(folder, words)
    for path in (folder / "cache").iterdir():
        (folder / f"second-{path.name}").hardlink_to(path)
    assert answer(words) is None


def test_a_directory_with_a_blank(
    folder: Path,
    words: list[str],
    environ: dict[str, str],
    answer: Answer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The place's name may be any."""
    (folder / "cache").rename(folder / "a cache *")
    environ["CREDPROC_CACHE_DIR"] = f"{folder}/a cache *"
    monkeypatch.setenv("CREDPROC_CACHE_DIR", f"{folder}/a cache *")
    document = cache_answer(folder, words)
    assert answer(words) == document


def test_the_first_private_place_alone(
    folder: Path,
    words: list[str],
    environ: dict[str, str],
    answer: Answer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the first private place has no answer, what lies in a later one is not served."""
    del environ["CREDPROC_CACHE_DIR"]
    monkeypatch.delenv("CREDPROC_CACHE_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"{folder}/run")
    environ["XDG_RUNTIME_DIR"] = f"{folder}/run"
    (folder / "run").mkdir()
    document = cache_answer(folder, words)
    assert answer(words) == document
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"{folder}/other")
    environ["XDG_RUNTIME_DIR"] = f"{folder}/other"
    (folder / "other" / "credproc").mkdir(mode=0o700, parents=True)
    environ["XDG_CACHE_HOME"] = f"{folder}/run"
    assert answer(words) is None


@pytest.mark.parametrize("how", ["link", "file", "rename"])
def test_another_config_of_the_same_age(
    folder: Path, environ: dict[str, str], answer: Answer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Another file of named profiles counts as such, whatever time and size it has."""
    one, other = folder / "one.toml", folder / "other.toml"
    one.write_text('role-arn = "a"')
    other.write_text('role-arn = "b"')
    for path in (one, other):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    config = folder / "config.toml"
    if how == "link":
        config.symlink_to(one)
    else:
        config.hardlink_to(one)
    environ["CREDPROC_CONFIG"] = str(config)
    monkeypatch.setenv("CREDPROC_CONFIG", str(config))
    document = cache_answer(folder, ["onprem"], config=str(config))
    assert answer(["onprem"]) == document
    if how == "file":
        config.write_text(other.read_text())
        os.utime(config, (1_700_000_000, 1_700_000_000))
    else:
        config.unlink()
        config.symlink_to(other) if how == "link" else other.rename(config)
    assert answer(["onprem"]) is None


def test_one_file_for_each_line(folder: Path, words: list[str], answer: Answer) -> None:
    """However often a certificate is renewed, the launcher finds one file of a command line."""
    document = ""
    for number in range(5):
        (folder / "host.pem").write_text(f"certificate {number}\n")
        document = cache_answer(folder, words, key=f"key{number}")
    assert len(list((folder / "cache").glob("*.fast*"))) == 1
    assert answer(words) == document


def test_passwords_are_not_repeated(folder: Path, words: list[str], environ: object) -> None:
    """A line that holds a password is written to no file."""
    for secret in (
        ["--pkcs8-password", "hunter2"],
        ["--tpm-key-password=hunter2"],
        ["--private-key", "pkcs11:token=robot?pin-value=hunter2"],
        ["--certificate=pkcs11:token=robot?module-name=x&pin-value=hunter2"],
        ["--endpoint", "https://me:hunter2@proxy.example"],
        ["--endpoint=me:hunter2@proxy.example"],
        ["--endpoint", "me:hunter2@proxy.example", "--endpoint", "https://elsewhere"],
    ):
        cache_answer(folder, [*words, *secret])
    names = {path.suffix for path in (folder / "cache").iterdir()}
    assert names == {".json"}


def test_passwords_in_the_environment_are_not_repeated(
    folder: Path, words: list[str], environ: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password from the environment is in none of the files."""
    monkeypatch.setenv("CREDPROC_PKCS8_PASSWORD", "hunter2")
    cache_answer(folder, words)
    files = [path for path in (folder / "cache").iterdir() if path.is_file()]
    assert len(files) >= 3
    assert not any(b"hunter2" in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CREDPROC_PRIVATE_KEY", "pkcs11:token=robot?pin-value=hunter2"),
        ("CREDPROC_ENDPOINT", "https://me:hunter2@proxy.example"),
        ("AWS_ENDPOINT_URL", "https://me:hunter2@proxy.example"),
        ("AWS_ENDPOINT_URL_ROLESANYWHERE", "me:hunter2@proxy.example"),
    ],
)
@pytest.mark.usefixtures("environ")
def test_secrets_of_variables_are_not_repeated(
    folder: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """With a password in a variable that counts, nothing but the answer is written."""
    monkeypatch.setenv(name, value)
    cache_answer(folder, words)
    assert {path.suffix for path in (folder / "cache").iterdir()} == {".json"}


def test_an_address_is_no_password(folder: Path, words: list[str], environ: object) -> None:
    """A session's name or a path with an @ takes no line its short way."""
    cache_answer(folder, [*words, "--role-session-name", "me@host", "--helper", "/opt/a@b"])
    assert {path.suffix for path in (folder / "cache").iterdir()} == {".json", ".alias", ".fast"}


def test_the_tokens_of_serve_are_not_repeated(
    folder: Path, words: list[str], environ: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token of the container endpoint, which decides no session, is in none of the files."""
    monkeypatch.setenv("CREDPROC_CONTAINER_TOKEN", "hunter2")
    cache_answer(folder, words)
    assert not any(b"hunter2" in path.read_bytes() for path in (folder / "cache").iterdir())


@pytest.mark.parametrize("shell", SHELLS)
def test_descriptors_of_the_caller(
    folder: Path, words: list[str], environ: dict[str, str], shell: str
) -> None:
    """What the caller hands over reaches Python, also where a cached answer was looked at."""
    cache_answer(folder, words)
    os.utime(folder / "host.key", (1_700_000_000, 1_700_000_000))
    program = folder / "bin" / "credproc"
    program.parent.mkdir()
    program.write_text(LAUNCHER.read_text())
    stub = program.parent / "python3"
    stub.write_text(
        '#!/bin/sh\nread -r three <&3; read -r four <&4; read -r zero\necho "$zero $three $four"\n'
    )
    stub.chmod(0o755)
    for number in (0, 3, 4):
        (folder / str(number)).write_text(f"of {number}\n")
    start = f'exec 0<"$1/0" 3<"$1/3" 4<"$1/4"; shift; exec {shell} "$@"'
    command = ["sh", "-c", start, "sh", str(folder), str(program), *words]
    assert run(command, environ).stdout == "of 0 of 3 of 4\n"


def test_what_is_over_is_removed(folder: Path, words: list[str], environ: object) -> None:
    """With each session that is stored, what nobody needs any more goes, and nothing else."""
    cache = SessionCache(f"{folder}/cache")
    now = int(time.time())
    expired = SessionCredentials("ASIA1", Secret("s"), Secret("t"), now - 10)
    for number in range(20):
        assert cache.store(fingerprint(b"%d" % number), expired, now - 100)
    one, held, gone, young = (fingerprint(name) for name in (b"a", b"held", b"gone", b"young"))
    for suffix in (".failed", ".fast"):
        cache.replace(cache.path(one, suffix), b"x", until=now - 10)
    cache.replace(cache.path(one[:32], ".alias"), b"x", until=now - 10)
    kept = [f"{one}.json", "config", "known.json", "a-b.fast", "12-key-x.lock"]
    locks = [f"{gone}.lock", f"{held}.lock", f"{young}.lock", f"{one}.json.new"]
    for name in (*kept, *locks):
        (folder / "cache" / name).write_text("a file of somebody else\n")
        age = 0 if name.startswith(young) else 7200
        os.utime(folder / "cache" / name, (now - age, now - age))
    valid = SessionCredentials("ASIA1", Secret("s"), Secret("t"), now + 10)
    with (folder / "cache" / f"{held}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cache.store(fingerprint(b"valid"), valid, now)
    left = {path.name for path in (folder / "cache").iterdir()}
    still = {f"{fingerprint(b'valid')}.json", f"{held}.lock", f"{young}.lock"}
    assert left == {*kept, *still}


def test_removing_is_bounded(folder: Path) -> None:
    """A run that stores a session does not clean up for thousands of others."""
    cache = SessionCache(f"{folder}/cache")
    for number in range(MOST_PRUNED + 50):
        cache.replace(cache.path(fingerprint(b"%d" % number), ".fast"), b"", until=0)
    cache.prune(time.time())
    assert len(list((folder / "cache").iterdir())) == 50


def test_a_lock_that_was_removed_holds_nobody(folder: Path) -> None:
    """Who gets a lock whose file was removed meanwhile takes the one that is there now."""
    cache = SessionCache(f"{folder}/cache")
    path = folder / "cache" / "key.lock"
    path.touch()
    session = SessionCredentials("ASIA1", Secret("s"), Secret("t"), int(time.time()) + 3600)
    held: list[bool] = []

    def fetch() -> SessionCredentials:
        with path.open() as other, contextlib.suppress(BlockingIOError):
            held.append(True)
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held.pop()
        return session

    def removed_first(descriptor: int) -> bool:
        if not removed:
            removed.append(path.stat().st_ino)
            path.unlink()
        return real(descriptor)

    real = single_flight._try_lock
    removed: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(single_flight, "_try_lock", removed_first)
        single_flight.SingleFlight(cache, "key", fetch, 5.0).obtain()
    assert held == [True]


def test_files_are_private(folder: Path, words: list[str], environ: object) -> None:
    """Every file in the cache is readable by its owner alone."""
    cache_answer(folder, words)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder / "cache").iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_lines_that_cannot_be_told_apart() -> None:
    """Tabs and line breaks, in words or variables, leave the line to Python."""
    assert question(["a", "b"], {}) is not None
    assert question(["a\tb"], {}) is None
    assert question(["a\nb"], {}) is None
    assert question(["ä"], {}) is None
    assert question(["a"], {"AWS_CA_BUNDLE": "x\ty"}) is None


def test_launcher_asks_for_all_variables() -> None:
    """The launcher's list of variables is the module's, in the same order."""
    script = LAUNCHER.read_text()
    line = script[script.index('line="$#') : script.index("unset IFS")]
    asked = line.replace("\\\n", "").removeprefix('line="$#\t$*').strip().rstrip('"')
    assert [name.lstrip("$") for name in asked.split("\t") if name] == variables()


def test_python_notices_what_it_reads(folder: Path, words: list[str], environ: object) -> None:
    """Files of others, of other modes or too large count as nothing cached."""
    cache_answer(folder, words)
    assert shortcut.cached_answer(words) is not None
    for path in (folder / "cache").glob("*.json"):
        path.chmod(0o640)
    assert shortcut.cached_answer(words) is None
    for path in (folder / "cache").glob("*.json"):
        path.chmod(0o600)
    assert shortcut.cached_answer(words) is not None
    (folder / "cache").chmod(0o750)
    assert shortcut.cached_answer(words) is None


def test_torn_files(folder: Path, words: list[str], environ: object) -> None:
    """Whatever stands in the files, nothing but a whole answer comes out of them."""
    document = cache_answer(folder, words).encode()
    for path in list((folder / "cache").iterdir()):
        content = path.read_bytes()
        for length in range(0, len(content), 7):
            path.write_bytes(content[:length])
            assert shortcut.cached_answer(words) in (None, document)
        path.write_bytes(content)


def test_an_answer_is_json(folder: Path, words: list[str], environ: object) -> None:
    """The cached document is the one that SDKs read."""
    found = json.loads(cache_answer(folder, words))
    assert found["Version"] == 1
    assert set(found) == {
        "Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration",
    }  # fmt: skip


def test_clear_leaves_nothing_to_serve(folder: Path, words: list[str], answer: Answer) -> None:
    """After `clear`, no short way answers."""
    cache_answer(folder, words)
    assert SessionCache(f"{folder}/cache").clear() == 1
    assert answer(words) is None
    assert [path.suffix for path in (folder / "cache").iterdir()] == []


def test_a_stored_session_has_its_times() -> None:
    """Freshness ends with its bounds, and a clock set back far makes it stale."""
    session = CachedSession(SessionCredentials("A", Secret("s"), Secret("t"), 5000), 4000, 1000)
    assert session.is_fresh(1000)
    assert session.is_fresh(3999)
    assert not session.is_fresh(4000)
    assert not session.is_fresh(1000 - shortcut.CLOCK_TOLERANCE - 1)
    assert session.is_valid(4990)
    assert not session.is_valid(4996)
