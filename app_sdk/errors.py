"""What can go wrong when an app or a program talks to the orchestrator."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx


class OrchestratorError(Exception):
    """The orchestrator could not do what it was asked for."""


class UnreachableError(OrchestratorError):
    """The orchestrator did not answer at all."""


class WaitTimeoutError(OrchestratorError):
    """The execution has not ended in the time given; it goes on."""


class ApiError(OrchestratorError):
    """The orchestrator refused the request; `problem` is its problem document, as it came."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = dict(problem)
        super().__init__(_words(status, problem))

    @property
    def type(self) -> str:
        """The stable identifier of the kind of problem."""
        return str(self.problem.get("type", "about:blank"))


class AuthError(ApiError):
    """The token is missing, unknown or not allowed to do this (401, 403)."""


class NotFoundError(ApiError):
    """There is nothing of that name here (404)."""


class ConflictError(ApiError):
    """The state of things forbids it, such as a launch while another execution runs (409)."""


class ValidationError(ApiError):
    """The request is wrong in itself; the message names the field (400, 422)."""


class TooLargeError(ApiError):
    """The request is over a limit (413)."""


class ServerError(ApiError):
    """The orchestrator failed, or is overloaded (429, 5xx)."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: ValidationError,
    401: AuthError,
    403: AuthError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    422: ValidationError,
    429: ServerError,
}


def error_of(response: "httpx.Response") -> ApiError:
    """The error that stands for a response which is no success."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"title": response.reason_phrase, "detail": response.text[:500]}
    status = response.status_code
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    return kind(status, problem)


def _words(status: int, problem: Mapping[str, Any]) -> str:
    told = [str(problem[field]) for field in ("title", "detail") if problem.get(field)]
    return f"{': '.join(told) or 'refused'} (HTTP {status})"
