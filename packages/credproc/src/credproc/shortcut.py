"""The short way to a cached answer, without importing but what the interpreter has at hand.

It takes two milliseconds beyond the start of Python itself. It works through an *alias*: a private
file, named after the command line and the environment variables that count, which says which answer
they led to last time and what the files involved looked like then. If anything differs, the long
way decides.

The functions here also serve the long way, so that both agree.
"""

import posix
import time

FORMAT = b"credproc 1"
LARGEST = 256 * 1024
ENVIRONMENT = (
    b"AWS_CA_BUNDLE",
    b"AWS_ENDPOINT_URL",
    b"AWS_ENDPOINT_URL_ROLESANYWHERE",
    b"AWS_USE_DUALSTACK_ENDPOINT",
    b"AWS_USE_FIPS_ENDPOINT",
    b"HOME",
    b"SSL_CERT_FILE",
    b"XDG_CONFIG_HOME",
)
OWN_VARIABLES = b"CREDPROC_"
SECRET_SUFFIXES = (b"_PASSWORD", b"_TOKEN")
CLOCK_TOLERANCE = 300
"""Seconds that the clock may have been set back since an answer was cached."""


def cached_answer(words: list[str]) -> bytes | None:
    """Return the JSON that the cache holds for a command line, if it is good without question."""
    try:
        material = alias_material(words, posix.environ)
        for directory in directories(posix.environ, explicit_directory(words)):
            if is_private_directory(directory):
                return follow_alias(directory, material)
    except (OSError, ValueError):  # nothing there, or nothing to be trusted
        pass
    return None


def follow_alias(directory: bytes, material: bytes) -> bytes | None:
    """Return the answer that an alias leads to, if it still does."""
    content = read_private(directory + b"/" + alias_name(material))
    head, _, rest = content.partition(b"\n")
    kind, _, answer = head.rpartition(b" ")
    if kind != FORMAT or not rest.startswith(material) or b"/" in answer:
        return None
    pairs = rest[len(material) :].split(b"\0")
    for path, facts in zip(pairs[::2], pairs[1::2], strict=False):
        if file_facts(path) != facts:
            return None
    found = read_answer(directory + b"/" + answer)
    if found is None:
        return None
    fresh_until, stored_at, _, document = found
    return document if stored_at - CLOCK_TOLERANCE <= time.time() < fresh_until else None


def read_answer(path: bytes) -> tuple[int, int, int, bytes] | None:
    """Return until when an answer is fresh, when it was stored, when it expires, and its JSON."""
    head, _, document = read_private(path).partition(b"\n")
    words = head.split(b" ")
    if len(words) != 5 or b" ".join(words[:2]) != FORMAT or not document.endswith(b"}\n"):
        return None
    return int(words[2]), int(words[3]), int(words[4]), document


def alias_material(words: list[str], environ: dict[bytes, bytes]) -> bytes:
    """Return all that a command line and its environment say, as far as it decides the answer."""
    parts = [word.encode("utf-8", "surrogateescape") for word in words]
    parts.append(b"")
    for name in sorted(environ):
        if name in ENVIRONMENT or (
            name.startswith(OWN_VARIABLES) and not name.endswith(SECRET_SUFFIXES)
        ):
            parts += (name, environ[name])
    return b"\0".join(parts) + b"\0"


def alias_name(material: bytes) -> bytes:
    """Return the name of an alias' file; that two share a name costs a fetch and nothing else."""
    return b"%032x.alias" % (int.from_bytes(material, "big") % (2**127 - 1))


def file_facts(path: bytes) -> bytes:
    """Return what changes when a file is written, replaced or touched."""
    status = posix.stat(path)
    return b"%d %d %d %d %d" % (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def directories(environ: dict[bytes, bytes], explicit: bytes | None = None) -> list[bytes]:
    """Return where the cache may be, the most volatile place first; or the explicit one alone."""
    explicit = explicit or environ.get(b"CREDPROC_CACHE_DIR")
    if explicit:
        return [explicit]
    user = posix.geteuid()
    home = environ.get(b"HOME", b"")
    cache = environ.get(b"XDG_CACHE_HOME") or (home + b"/.cache" if home else b"")
    bases = (environ.get(b"XDG_RUNTIME_DIR", b""), b"/run/user/%d" % user)
    return [
        *(base + b"/credproc" for base in bases if base.startswith(b"/")),
        b"/dev/shm/credproc-%d" % user,
        *([cache + b"/credproc"] if cache.startswith(b"/") else []),
    ]


def explicit_directory(words: list[str]) -> bytes | None:
    """Return what `--cache-dir` names, if it is on the line."""
    for position, word in enumerate(words):
        if word.startswith("--cache-dir"):
            name, equals, value = word.partition("=")
            if name == "--cache-dir":
                found = value if equals else "".join(words[position + 1 : position + 2])
                return found.encode("utf-8", "surrogateescape")
    return None


def is_private_directory(path: bytes) -> bool:
    """Return whether `path` is a directory, no link, that only its owner can enter or replace.

    Who owns the directory above can replace it: that must be the same user or root. It is not
    where `sudo` has kept another user's XDG_RUNTIME_DIR or HOME.
    """
    user = posix.geteuid()
    try:
        status = posix.lstat(path)
        above = posix.stat(path.rstrip(b"/").rpartition(b"/")[0] or b"/")
    except OSError:
        return False
    is_directory = status.st_mode & 0o170000 == 0o040000
    private = status.st_uid == user and not status.st_mode & 0o077
    return is_directory and private and above.st_uid in (user, 0)


def read_private(path: bytes) -> bytes:
    """Return the content of a file that is nobody else's.

    Raises:
        OSError: It is not there, or is a link, another user's, open to others or too large.
    """
    flags = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NONBLOCK
    descriptor = posix.open(path, flags)
    try:
        status = posix.fstat(descriptor)
        if (
            status.st_mode & 0o170077 != 0o100000
            or status.st_uid != posix.geteuid()
            or status.st_nlink != 1
            or status.st_size > LARGEST
        ):
            raise PermissionError("not a private file")
        return posix.read(descriptor, LARGEST)
    finally:
        posix.close(descriptor)


def write_out(document: bytes) -> bool:
    """Write to standard output; False if nothing could be written, for the long way to report."""
    written = 0
    while written < len(document):
        try:
            written += posix.write(1, document[written:])
        except OSError:
            if not written:
                return False
            raise
    return True
