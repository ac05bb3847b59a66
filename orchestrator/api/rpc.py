"""POST /rpc: the door of pull executors, as Aidbox's clients speak to it. JSON or YAML, single calls or batches.

Errors are `{error: {type, message}}` here, with the HTTP status that the error has everywhere. The base URL may have a
path of its own.
"""

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from app_sdk.protocol import strict_json
from app_sdk.protocol.strict_json import ENVELOPE_DEPTH, MAX_DEPTH, JsonValue
from orchestrator.api import yaml_text
from orchestrator.api.context import ApiContext
from orchestrator.api.errors import (
    INTERNAL,
    InvalidParams,
    NotAccepted,
    NotServed,
    UnknownMethod,
    facts_of,
    kind_of,
    said_of,
)
from orchestrator.api.roles import may
from orchestrator.api.routes import Handler, StrictRoute
from orchestrator.api.rpc_methods import METHODS, Call
from orchestrator.domain.errors import ClaimRefused, DatabaseUnavailable, Forbidden, TooLarge, Unauthenticated
from orchestrator.service import pull_queries, tokens
from orchestrator.service.pull_queries import PullQuery
from orchestrator.service.tokens import Caller

MOST_IN_A_BATCH = 100
JSON, YAML = "application/json", "text/yaml"
_YAML_TYPES = frozenset({YAML, "application/yaml", "application/x-yaml", "text/x-yaml"})
# Reading or writing that much YAML takes long enough to hold up everybody else.
_LARGE_BYTES = 64 * 1024
# To read it takes a hundred times as long as JSON.
MOST_YAML_BYTES = 1024 * 1024
MOST_IN_AN_ANSWER_BYTES = 16 * 1024 * 1024
"""After that, a batch reads nothing more."""
PAUSE_WITHOUT_DATABASE_SECS = 1.0
_READING = frozenset({"awf.task/list", "awf.task/status"})
_POLLING = frozenset({"awf.task/poll", "awf.task/long-poll"})


class RpcRoute(StrictRoute):
    """A route whose errors are told in the words of this door, in the form that the client reads."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def handle_in_words(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                if kind_of(error) is INTERNAL:
                    raise
                return await _answer(request, {"error": _told(error)}, kind_of(error).status)

        return handle_in_words

    async def admit(self, request: Request) -> None:
        """Raises Unauthenticated. While the database is away nobody is known, and polls alone are answered."""
        try:
            request.state.caller = await _authenticate(request)
        except DatabaseUnavailable as error:
            if int(request.headers.get("content-length") or _LARGE_BYTES) >= _LARGE_BYTES:
                raise
            request.state.caller = error


router = APIRouter(route_class=RpcRoute, include_in_schema=False)


@router.post("/rpc")
@router.post("/{base:path}/rpc")
async def call_methods(request: Request) -> Response:
    """Call a method, or a batch of them in their order."""
    asked = await _read(request)
    if not isinstance(asked, list):
        return await _answer(request, await _call(request, asked, waits=True))
    if len(asked) > MOST_IN_A_BATCH:
        raise InvalidParams(f"a batch has at most {MOST_IN_A_BATCH} calls")
    answers: list[dict[str, Any]] = []
    size = 0
    for one in asked:
        answers.append(await _in_batch(request, one, is_full=size > MOST_IN_AN_ANSWER_BYTES))
        size += len(orjson.dumps(answers[-1], default=str))
    return await _answer(request, answers)


@router.get("/AidboxTask")
@router.get("/{base:path}/AidboxTask")
async def count_tasks(request: Request) -> Response:
    """How many tasks there are of a status or definition: `total`, as a search that lists none."""
    caller, context = _caller(request), _context(request)
    _check_role(caller, "awf.task/list")
    total = await context.database.read(pull_queries.count, caller.scope, _search(request))
    found = {"resourceType": "Bundle", "type": "searchset", "total": total, "entry": []}
    return await _answer(request, found)


async def _in_batch(request: Request, asked: JsonValue, *, is_full: bool) -> dict[str, Any]:
    try:
        method = asked.get("method") if is_full and isinstance(asked, dict) else None
        if method in _READING:
            raise TooLarge("the answer to this batch is large already; ask again without it")
        if method in _POLLING:
            return {"result": {"resources": []}}
        return await _call(request, asked, waits=False)
    except Exception as error:
        if kind_of(error) is INTERNAL:
            raise
        return {"error": _told(error)}


async def _call(request: Request, asked: JsonValue, *, waits: bool) -> dict[str, Any]:
    match asked:
        case {"method": str(name), **rest}:
            params = rest.get("params")
        case _:
            raise InvalidParams("write an object with a method and its params")
    if params is not None and not isinstance(params, dict):
        raise InvalidParams("Invalid params: write an object")
    if name.startswith("awf.workflow/"):
        raise NotServed(f"{name} is not served: there are tasks here, and no workflows")
    if name not in METHODS:
        raise UnknownMethod(f"there is no method {name[:100]}")
    if isinstance(request.state.caller, DatabaseUnavailable) and name in _POLLING:
        # Executors die of a poll that fails. They would ask again at once.
        await asyncio.sleep(PAUSE_WITHOUT_DATABASE_SECS if waits else 0)
        return {"result": {"resources": []}}
    caller = _caller(request)
    _check_role(caller, name)
    call = Call(_context(request), caller, params or {}, waits, _hang_up(request))
    return {"result": await METHODS[name](call)}


def _hang_up(request: Request) -> Callable[[], Any]:
    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return gone


def _check_role(caller: Caller, method: str) -> None:
    if not may(caller.role, method):
        raise Forbidden(f"the role {caller.role} may not call {method}")


def _search(request: Request) -> PullQuery:
    """The parameters that clients send, with their dots and commas."""

    def named(*names: str) -> Sequence[str] | None:
        given = [one for name in names for value in request.query_params.getlist(name) for one in value.split(",")]
        return given or None

    return PullQuery(
        definitions=named("definition", ".definition"),
        but_definitions=named("definition-not", "definition:not"),
        statuses=named(".status", "status"),
        outcomes=named(".outcome", "outcome"),
    )


async def _authenticate(request: Request) -> Caller:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    match scheme.lower():
        case "bearer":
            client, secret = None, given.strip()
        case "basic":
            client, secret = _credentials(given.strip())
        case _:
            client, secret = None, ""
    if not secret:
        raise Unauthenticated("send a token: as Bearer, or as Basic with its id and the token itself")
    caller = await _context(request).database.read(tokens.authenticate, secret)
    if client not in (None, caller.token_id, caller.name):
        raise Unauthenticated("this token is not known, or was revoked")
    return caller


def _credentials(given: str) -> tuple[str, str]:
    try:
        client, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise Unauthenticated("these are no Basic credentials") from None
    return client, secret


async def _read(request: Request) -> JsonValue:
    body = await request.body()
    given = _media_type(request.headers.get("content-type"))
    if given is None:
        raise NotAccepted("send JSON (application/json) or YAML (text/yaml)")
    if given == JSON:
        return strict_json.loads(body, max_depth=MAX_DEPTH + ENVELOPE_DEPTH)
    if len(body) > MOST_YAML_BYTES:
        raise TooLarge(f"{len(body):,} bytes; YAML may have {MOST_YAML_BYTES:,}: send JSON instead")
    if len(body) > _LARGE_BYTES:
        return await asyncio.to_thread(yaml_text.loads, body)
    return yaml_text.loads(body)


def _media_type(given: str | None) -> str | None:
    named = (given or JSON).partition(";")[0].strip().lower()
    if named in _YAML_TYPES:
        return YAML
    return JSON if named == JSON or named.endswith("+json") else None


def _answered_as(request: Request) -> str:
    """The first of the two forms that the client accepts; its own, if it does not care."""
    for accepted in request.headers.get("accept", "").split(","):
        named = accepted.partition(";")[0].strip().lower()
        if named in _YAML_TYPES:
            return YAML
        if named == JSON:
            return JSON
    return _media_type(request.headers.get("content-type")) or JSON


async def _answer(request: Request, body: Mapping[str, Any] | Sequence[Any], status: int = 200) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    text = orjson.dumps(body, default=str)
    if _answered_as(request) == JSON:
        return Response(text, status, headers, JSON)
    write = yaml_text.dumps
    value = orjson.loads(text)
    written = await asyncio.to_thread(write, value) if len(text) > _LARGE_BYTES else write(value)
    return Response(written, status, headers, YAML)


def _told(error: Exception) -> dict[str, Any]:
    facts = facts_of(error)
    kind = kind_of(error).slug
    if isinstance(error, ClaimRefused):
        kind = str(facts.pop("reason", kind))
    return {**facts, "type": kind, "message": said_of(error)}


def _caller(request: Request) -> Caller:
    caller: Caller | DatabaseUnavailable = request.state.caller
    if isinstance(caller, DatabaseUnavailable):
        raise caller
    return caller


def _context(request: Request) -> ApiContext:
    context: ApiContext = request.app.state.context
    return context
