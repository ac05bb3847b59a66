"""From errors to problems (RFC 9457): the one table, and the handlers that use it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from app_sdk.protocol.json_path import json_path
from app_sdk.protocol.manifest import ManifestError
from app_sdk.protocol.strict_json import JsonError
from orchestrator.api.answers import SECURITY_HEADERS
from orchestrator.domain import errors
from orchestrator.service.idempotency import InProgress, KeyReused

TYPE_PREFIX = "urn:orchestrator:problem:"
MEDIA_TYPE = "application/problem+json"
_RETRY_SOON = {"Retry-After": "1"}
_RETRY_LATER = {"Retry-After": "5"}


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table: what a class of errors is called, and its HTTP status."""

    status: int
    slug: str
    title: str

    @property
    def type(self) -> str:
        return TYPE_PREFIX + self.slug


class BadRequest(errors.OrchestratorError):
    """The request breaks a rule that holds for every address."""


class NotAccepted(errors.OrchestratorError):
    """The body is in a form that is not read here."""


class Unavailable(errors.OrchestratorError):
    """This node cannot serve now."""


class InvalidParams(errors.OrchestratorError):
    """The parameters of an RPC method are not acceptable; the fact `errors` names each field."""


class UnknownMethod(errors.OrchestratorError):
    """There is no such RPC method."""


class NotServed(errors.OrchestratorError):
    """The RPC method is one of a workflow engine, which is not served."""


class ResultRefused(errors.OrchestratorError):
    """The result of a pull task does not count: its claim is closed as a failed attempt."""


INTERNAL = Kind(500, "internal", "The server failed")
UNAVAILABLE = Kind(503, "unavailable", "Not available now")
OUTCOME_UNKNOWN = Kind(503, "outcome-unknown", "It may have been done")
INVALID = Kind(422, "invalid", "The request is not acceptable")

# An error is looked up by its class, then by those that the class comes from.
KINDS: Mapping[type[Exception], Kind] = {
    errors.OrchestratorError: INTERNAL,
    errors.NotFound: Kind(404, "not-found", "There is no such thing"),
    errors.Invalid: INVALID,
    errors.Conflict: Kind(409, "conflict", "The present state does not allow it"),
    errors.Gone: Kind(410, "gone", "It came too late"),
    errors.AlreadyRunning: Kind(409, "already-running", "Another execution is in the way"),
    errors.ClaimRefused: Kind(422, "claim-refused", "The claim does not allow it"),
    errors.Forbidden: Kind(403, "forbidden", "The token's role does not allow it"),
    errors.Unauthenticated: Kind(401, "unauthenticated", "No valid token"),
    errors.TooLarge: Kind(413, "too-large", "Over a limit"),
    errors.StateRefused: Kind(422, "state-refused", "The data do not allow it"),
    errors.CommitUnknown: OUTCOME_UNKNOWN,
    errors.DatabaseBusy: UNAVAILABLE,
    errors.DatabaseOutdated: UNAVAILABLE,
    errors.DatabaseUnavailable: UNAVAILABLE,
    BadRequest: Kind(400, "bad-request", "The request is malformed"),
    NotAccepted: Kind(415, "unsupported-media-type", "Not in this form"),
    Unavailable: UNAVAILABLE,
    KeyReused: Kind(422, "idempotency-key-reused", "The Idempotency-Key belongs to another request"),
    InProgress: Kind(409, "idempotency-in-progress", "The first request is in progress"),
    JsonError: Kind(400, "malformed-json", "The body is not strict JSON"),
    ManifestError: INVALID,
    InvalidParams: Kind(422, "invalid-params", "The parameters are not acceptable"),
    UnknownMethod: Kind(422, "unknown-method", "There is no such method"),
    NotServed: Kind(422, "not-served", "Workflows are not served"),
    ResultRefused: Kind(422, "invalid-result", "The result does not count"),
}

# What the framework refuses by itself.
_BY_STATUS: Mapping[int, Kind] = {
    404: Kind(404, "no-such-route", "There is nothing at this address"),
    405: Kind(405, "method-not-allowed", "Not with this method"),
}


def every_kind() -> list[Kind]:
    """Every problem that the API may answer, each once, in the order of status and slug."""
    kinds = {*KINDS.values(), *_BY_STATUS.values()}
    return sorted(kinds, key=lambda kind: (kind.status, kind.slug))


def install_handlers(app: FastAPI) -> None:
    """Make every error that leaves a route a problem."""
    app.add_exception_handler(errors.OrchestratorError, _refused)
    app.add_exception_handler(JsonError, _refused)
    app.add_exception_handler(ManifestError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _by_framework)
    app.add_exception_handler(Exception, _failed)


def problem(kind: Kind, detail: str, path: str, **more: Any) -> Response:
    """The answer that says it; `headers` may be among `more`, the rest becomes members of the problem."""
    headers = {**SECURITY_HEADERS, **(more.pop("headers", None) or {})}
    said = {"type": kind.type, "title": kind.title, "status": kind.status, "detail": detail, "instance": path}
    # A fact may be called like one of these; it never takes its place.
    return Response(orjson.dumps({**more, **said}, default=str), kind.status, headers, MEDIA_TYPE)


def refusal(error: Exception, path: str) -> Response:
    """The answer to an error of the table."""
    kind = kind_of(error)
    headers = {}
    if kind.status == 401:
        headers = {"WWW-Authenticate": "Bearer"}
    elif kind.status == 503:
        headers = _RETRY_LATER
    elif isinstance(error, InProgress):
        headers = _RETRY_SOON
    return problem(kind, said_of(error), path, **facts_of(error), headers=headers)


def kind_of(error: Exception) -> Kind:
    """The table's row for an error: its class's own, else that of the nearest class above."""
    return next((KINDS[cls] for cls in type(error).__mro__ if cls in KINDS), INTERNAL)


def said_of(error: Exception) -> str:
    """What a client may be told about an error."""
    # Neither says more to strangers: the cause may name hosts, paths or secrets.
    if kind_of(error) is INTERNAL:
        return "something went wrong in the server; its log says what"
    if isinstance(error, errors.CommitUnknown):
        return (
            "the connection to the database was lost in the commit, so it may have been done: look before you repeat "
            "it, or repeat it with the same Idempotency-Key, if it had one"
        )
    if isinstance(error, errors.DatabaseUnavailable):
        return "the database cannot be reached now; try again in a few seconds"
    return str(error)


def facts_of(error: Exception) -> dict[str, Any]:
    """The facts about an error, as members of its answer."""
    match error:
        case JsonError():
            return {"errors": [{"field": error.path, "message": error.problem}]}
        case ManifestError():
            return {"errors": [_entry(f"$.manifest{path[1:]}", problem) for path, problem in error.problems]}
        case errors.OrchestratorError():
            facts = dict(error.facts)
            field = facts.pop("field", None)
            return facts if field is None else {"errors": [_entry(str(field), error.message)], **facts}
        case _:
            return {}


def _entry(field: str, message: str) -> dict[str, str]:
    return {"field": field, "message": message}


async def _refused(request: Request, error: Exception) -> Response:
    return refusal(error, request.url.path)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    entries = [_entry(_place(found["loc"]), _words(found)) for found in error.errors()]
    detail = "; ".join(f"{entry['field']}: {entry['message']}" for entry in entries)
    return problem(INVALID, detail, request.url.path, errors=entries)


async def _by_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code, Kind(error.status_code, "http", "Refused"))
    detail = f"{request.method} {request.url.path}: {error.detail}"
    headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
    return problem(kind, detail, request.url.path, headers=headers)


async def _failed(request: Request, error: Exception) -> Response:
    # The framework raises the error again after this answer, so that the server logs it.
    return problem(INTERNAL, said_of(error), request.url.path)


def _allowed(request: Request) -> str:
    """Every method of the address; the framework names those of its first route only."""
    routes: Sequence[Route] = request.app.state.routes
    methods = [route.methods or set() for route in routes if route.path_regex.match(request.scope["path"])]
    return ", ".join(sorted(set().union(*methods)))


def _place(loc: Sequence[str | int]) -> str:
    """A field of the body as a path in it, another parameter by its name."""
    where, *parts = loc
    return json_path(parts) if where == "body" else str(parts[0] if parts else where)


def _words(found: Mapping[str, Any]) -> str:
    match found["type"]:
        case "missing":
            return "needed"
        case "extra_forbidden":
            return "there is no such field"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "write a JSON object"
        case _:
            words = str(found["msg"]).removeprefix("Value error, ")
            return words[:1].lower() + words[1:]
