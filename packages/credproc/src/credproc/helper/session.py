"""One session by way of the helper."""

from __future__ import annotations

import json
import mmap
import os
import random
import re
import time
from typing import Any

from credproc.answer import FIELDS, read_credentials
from credproc.arns import check_target
from credproc.deadline import Deadline
from credproc.errors import AnswerError, CredprocError, HelperError, UnavailableError
from credproc.helper.arguments import helper_arguments
from credproc.helper.complaints import complaint
from credproc.helper.dialogue import Dialogue
from credproc.helper.environment import clean_environment
from credproc.helper.locate import find_helper
from credproc.helper.process import Finished, OutputLimitError, TimeLimitError, run
from credproc.helper.selection import only_helper_can
from credproc.http1 import Response
from credproc.identity.checks import check_certificate
from credproc.identity.describe import describe_certificate
from credproc.identity.load import CertificateFiles, uses_pkcs11
from credproc.light import TYPE_CHECKING
from credproc.telling import step

if TYPE_CHECKING:
    from credproc.credentials import SessionCredentials
    from credproc.options import SessionOptions

OLDEST = (1, 5, 0)
"""The first version with all flags that we use."""

VERSION_LIMIT = 5.0
FIRST_DELAY = 0.2
PRINTED = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
_BUILD_INFO = re.compile(rb"rolesanywhere-credential-helper\tv(\d+)\.(\d+)\.(\d+)[-+\t\n]")
_known: dict[tuple[str, int, int, int], tuple[int, ...]] = {}


def create_session_by_helper(
    options: SessionOptions, files: CertificateFiles | None = None
) -> SessionCredentials:
    """Fetch credentials through `aws_signing_helper`, past any cache.

    Args:
        options: What decides the session.
        files: The certificates, if they have been read already.

    Raises:
        CredprocError: There are none to be had.
    """
    check_target(options)
    _check_certificate(options, files)
    helper = find_helper(options.helper, os.environ, only_helper_can(options))
    environ = clean_environment(options, os.environ)
    version = check_version(helper, environ)
    if options.debug:
        step(f"helper: {helper}, version {'.'.join(map(str, version))}")
    deadline = Deadline(options.time_limit)
    attempt = 1
    while True:
        try:
            return _run(helper, environ, options, deadline)
        except CredprocError as error:
            if options.debug:
                step(f"attempt {attempt} of {options.max_attempts} failed: {error}")
            # The helper tells nothing of Retry-After, so the pauses are ours.
            span = FIRST_DELAY * 2**attempt
            delay = random.uniform(span / 2, span)  # noqa: S311 - spreads hosts
            if (
                not error.retryable
                or attempt >= options.max_attempts
                or delay >= deadline.remaining()
            ):
                raise
        time.sleep(delay)
        attempt += 1


def _run(
    helper: str, environ: dict[str, str], options: SessionOptions, deadline: Deadline
) -> SessionCredentials:
    dialogue = Dialogue(options, deadline)
    command = [helper, *helper_arguments(options)]
    started = time.monotonic()
    try:
        finished = run(
            command,
            environ,
            limit=deadline.within(options.time_limit),
            answer=dialogue.answer,
        )
    except TimeLimitError:
        raise _too_late(options) from None
    except OutputLimitError:
        raise AnswerError(
            "aws_signing_helper printed more than a session has", remedy="check --helper"
        ) from None
    except OSError as error:
        raise _not_started(helper, error) from None
    if options.debug:
        step(f"helper: ended with {finished.code} after {time.monotonic() - started:.2f} s")
    if finished.code:
        raise complaint(finished, (*_secrets(options), *dialogue.typed))
    return read_output(finished.output)


def read_output(output: bytes) -> SessionCredentials:
    """Return the credentials that the helper printed, checked as strictly as the service's answer.

    Raises:
        AnswerError: It printed something else.
    """
    try:
        document = json.loads(output)
    except (ValueError, RecursionError):
        raise _unusable("it is no JSON") from None
    if not isinstance(document, dict):
        raise _unusable("it is no JSON object")
    version = document.get("Version")
    if version != 1 or isinstance(version, bool):
        raise _unusable("its Version is not 1")
    found: dict[str, Any] = {
        ours: document.get(theirs) for ours, theirs in zip(FIELDS, PRINTED, strict=True)
    }
    body = json.dumps({"credentialSet": [{"credentials": found}]}).encode()
    return read_credentials(Response(200, {}, body))


def check_version(helper: str, environ: dict[str, str]) -> tuple[int, ...]:
    """Return the helper's version; a file is asked once.

    Raises:
        HelperError: It is too old, or does not say.
    """
    status = os.stat(helper)  # pathlib takes 10 ms to import
    key = (helper, status.st_ino, status.st_size, status.st_mtime_ns)
    version = _known.get(key) or _ask_version(helper, environ) or _built_from(helper)
    if version:  # else it may just have been slow, and is asked again
        _known[key] = version
    wanted = ".".join(map(str, OLDEST))
    if not version:
        raise HelperError(f"{helper} does not say its version", remedy=f"install {wanted} or newer")
    if version < OLDEST:
        raise HelperError(
            f"{helper} is version {'.'.join(map(str, version))}, which is too old",
            remedy=f"install {wanted} or newer",
        )
    return version


def _ask_version(helper: str, environ: dict[str, str]) -> tuple[int, ...]:
    try:
        finished = run([helper, "version"], environ, limit=VERSION_LIMIT)
    except (TimeLimitError, OutputLimitError):
        return ()
    except OSError as error:
        raise _not_started(helper, error) from None
    return _parse_version(finished)


def _parse_version(finished: Finished) -> tuple[int, ...]:
    parts = finished.output.decode("ascii", "replace").strip().removeprefix("v").split(".")
    if finished.code or len(parts) != 3 or not all(part.isdigit() for part in parts):
        return ()
    return tuple(map(int, parts))


def _built_from(helper: str) -> tuple[int, ...]:
    """Return the version of the module that Go built it from, which the binary then records.

    `go install` makes a helper that prints an empty version.
    """
    try:
        with (
            open(helper, "rb") as file,  # as above
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            found = _BUILD_INFO.search(content)
            return tuple(map(int, found.groups())) if found else ()
    except (OSError, ValueError):
        return ()


def _check_certificate(options: SessionOptions, files: CertificateFiles | None) -> None:
    """Say what is wrong with the certificate before the helper says something less clear."""
    if options.certificate is None or uses_pkcs11(options):
        return
    files = files or CertificateFiles(options)
    if files.certificate is not None:
        if options.debug:
            step(describe_certificate(files.certificate))
        check_certificate(files.certificate)


def _secrets(options: SessionOptions) -> tuple[str, ...]:
    given = (options.tpm_key_password, options.pkcs8_password)
    return tuple(secret.reveal() for secret in given if secret is not None)


def _too_late(options: SessionOptions) -> UnavailableError:
    error = UnavailableError(
        f"aws_signing_helper gave no answer within the time limit of {options.time_limit} s",
        remedy="see what keeps the service from answering, or raise --time-limit",
    )
    error.retryable = False
    return error


def _not_started(helper: str, error: OSError) -> HelperError:
    return HelperError(
        f"{helper} cannot be run: {error.strerror}",
        remedy="install the build for this machine's architecture",
    )


def _unusable(problem: str) -> AnswerError:
    return AnswerError(
        f"what aws_signing_helper printed cannot be used: {problem}", remedy="check --helper"
    )
