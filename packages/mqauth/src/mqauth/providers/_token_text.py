"""A token in a file that something else keeps fresh."""

from __future__ import annotations

import re
from pathlib import Path

from mqauth.config.small_file import MAX_BYTES, read_limited, reason
from mqauth.errors import (
    ConfigurationError,
    InvalidCredentialError,
    IssuerUnavailableError,
    MQAuthError,
)
from mqauth.secret import Secret

# RFC 6749, appendix A.12: what an access token may consist of, but for the blank.
_TOKEN = re.compile(r"[\x21-\x7e]+")


def is_token(text: str) -> bool:
    """Return whether a text consists of what tokens may consist of."""
    return _TOKEN.fullmatch(text) is not None


def read_token(path: Path) -> Secret:
    """Return what the file holds now, without the white space around it.

    Raises:
        IssuerUnavailableError: The file is not there.
        InvalidCredentialError: It is empty, too large, no text, or no token's text.
        ConfigurationError: This user may not read it.
    """
    failure: MQAuthError
    try:
        content = read_limited(path)
        if len(content) > MAX_BYTES:
            failure = _invalid(path, f"is larger than {MAX_BYTES} bytes")
        elif not (text := content.decode().strip()):
            failure = _invalid(path, "is empty")
        elif not is_token(text):
            failure = _invalid(path, "holds characters that no token has")
        else:
            return Secret(text)
    except (FileNotFoundError, NotADirectoryError):
        failure = IssuerUnavailableError(
            f"the token file {path} does not exist",
            remedy="check the path, and that what writes the file is running",
        )
    except UnicodeDecodeError:
        failure = _invalid(path, "is not UTF-8 text")
    except OSError as error:
        failure = ConfigurationError(
            f"the token file {path} cannot be read: {reason(error)}",
            remedy="name a file that this user may read",
        )
    raise failure


def _invalid(path: Path, what: str) -> InvalidCredentialError:
    return InvalidCredentialError(f"the token file {path} {what}", remedy="check what writes it")
