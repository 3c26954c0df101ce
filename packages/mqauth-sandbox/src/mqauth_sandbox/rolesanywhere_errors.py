"""Error answers of IAM Roles Anywhere: JSON with the code in a header (AWS restJson1 protocol)."""

from __future__ import annotations

import uuid

from mqauth_sandbox.http import Response, json_response, retry_after_header


class RolesAnywhereError(Exception):
    """An error answer of the service.

    Args:
        code: Error code, such as `AccessDeniedException`.
        message: What the service says with it.
        status: HTTP status.
    """

    def __init__(self, code: str, message: str, status: int) -> None:
        """Keep what the answer needs."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def response(self, retry_after: float | None = None) -> Response:
        """Return the error as the HTTP response that the client gets."""
        return json_response(
            {"message": self.message},
            self.status,
            {
                "x-amzn-ErrorType": self.code,
                "x-amzn-RequestId": str(uuid.uuid4()),
                **retry_after_header(retry_after),
            },
        )


def denied(message: str) -> RolesAnywhereError:
    """Return the refusal of whoever cannot prove what they claim."""
    return RolesAnywhereError("AccessDeniedException", message, 403)


def invalid(message: str) -> RolesAnywhereError:
    """Return the refusal of a request that breaks the service's model."""
    return RolesAnywhereError("ValidationException", message, 400)


def not_there(message: str) -> RolesAnywhereError:
    """Return the refusal of an ARN that names nothing."""
    return RolesAnywhereError("ResourceNotFoundException", message, 404)


def throttled() -> RolesAnywhereError:
    """Return the refusal of one call too many."""
    return RolesAnywhereError("ThrottlingException", "Rate exceeded", 429)
