"""What the stand-in answers when it refuses, in both shapes Gemini uses.

Source: Gemini API, error codes of the interactions and webhooks resources; the older shape
with a number and a `status` is what unknown methods still get.
"""

from http import HTTPStatus
from typing import Any, Final

CODES: Final[dict[int, str]] = {
    400: "invalid_request",
    401: "authentication",
    402: "payment_required",
    403: "permission_denied",
    404: "not_found",
    409: "aborted",
    416: "out_of_range",
    429: "rate_limit_exceeded",
    499: "cancelled",
    500: "api_error",
    501: "unimplemented",
    503: "service_unavailable",
    504: "deadline_exceeded",
}
STATUSES: Final[dict[int, str]] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class ApiError(Exception):
    """A refusal with an HTTP status and one of Gemini's string codes."""

    def __init__(self, status: int, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or code_for(status)

    def body(self) -> dict[str, Any]:
        """The answer's body in the shape of the interactions and webhooks resources."""
        return {"error": {"code": self.code, "message": self.message}}


def code_for(status: int) -> str:
    """The usual string code of an HTTP status."""
    return CODES.get(status, "api_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request")


def classic_body(status: int, message: str) -> dict[str, Any]:
    """The older shape: a number, a message, an upper-case status."""
    return {"error": {"code": status, "message": message, "status": STATUSES.get(status, "INTERNAL")}}


def invalid(message: str) -> ApiError:
    """400: the request is wrong in itself."""
    return ApiError(400, message)


def unknown_parameter(name: str, where: str = "") -> ApiError:
    """400: a field the method does not have."""
    place = f" in {where}" if where else ""
    return ApiError(400, f"Unknown parameter '{name}'{place}.", code="parameter_unknown")


def precondition(message: str) -> ApiError:
    """400: the request is well made, but the resource is in no state for it."""
    return ApiError(400, message, code="failed_precondition")


def not_found(what: str, name: str) -> ApiError:
    """404: no such thing in the project of this key."""
    return ApiError(404, f"{what} '{name}' was not found.")
