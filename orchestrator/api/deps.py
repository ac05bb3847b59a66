"""What routes ask for: the context, the caller, a page, and the way to write."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Query, Request
from pydantic import JsonValue
from starlette.responses import Response

from orchestrator.api.context import ApiContext
from orchestrator.service import idempotency, paging
from orchestrator.service.idempotency import Work
from orchestrator.service.paging import Page
from orchestrator.service.tokens import Caller
from orchestrator.store.idempotency_records import RecordKey


def _context(request: Request) -> ApiContext:
    context: ApiContext = request.app.state.context
    return context


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


def _page(
    limit: Annotated[int, Query(ge=1, le=paging.MOST, description="How many entries at most.")] = paging.DEFAULT,
    cursor: Annotated[
        str | None, Query(max_length=2000, description="`next_cursor` of the page before this one.")
    ] = None,
) -> Page:
    return Page(limit, cursor)


# It documents what `idempotency.check_key` checks.
IDEMPOTENCY_KEY_SCHEMA: dict[str, JsonValue] = {"minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"}

Context = Annotated[ApiContext, Depends(_context)]
Authenticated = Annotated[Caller, Depends(_caller)]
Paging = Annotated[Page, Depends(_page)]


@dataclass(frozen=True, slots=True)
class Writing:
    """Runs the work of a request that changes something, in one transaction, and answers it."""

    context: ApiContext
    key: RecordKey | None = None
    body_hash: str = ""

    async def __call__(self, work: Work, *, wakes: bool = False) -> Response:
        """Do it (once, where the request has an Idempotency-Key); `wakes`: it may make work due."""
        database = self.context.database
        if self.key is None:
            answered = await database.write(idempotency.run, work)
        else:
            answered = await database.write(idempotency.once, self.key, self.body_hash, work)
        if wakes and not answered.is_replayed:
            self.context.wake()
        headers = {} if answered.location is None else {"Location": answered.location}
        if answered.is_replayed:
            headers["Idempotency-Replayed"] = "true"
        media_type = "application/json" if answered.text else None
        return Response(answered.text, answered.status, headers, media_type)


async def _posting(
    request: Request,
    context: Context,
    caller: Authenticated,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Makes it safe to send the request again: within 24 hours it is done once.",
            json_schema_extra=IDEMPOTENCY_KEY_SCHEMA,
        ),
    ] = None,
) -> Writing:
    if idempotency_key is None:
        return Writing(context)
    idempotency.check_key(idempotency_key)
    route = f"{request.method} {request.url.path}"
    key = RecordKey(caller.workspace_id, caller.token_id, route, idempotency_key)
    said = await request.json() if await request.body() else None
    return Writing(context, key, idempotency.body_hash(said))


def _changing(context: Context) -> Writing:
    return Writing(context)


Posting = Annotated[Writing, Depends(_posting)]
Changing = Annotated[Writing, Depends(_changing)]
