"""The built-in collector: takes in what the engine delivers, lists it, exports it as NDJSON."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Annotated, Literal, TypeVar

from fastapi import Header, Query, Request, Response
from starlette.responses import StreamingResponse

from app_sdk.protocol.signing import RMD_HEADER
from orchestrator.api.answers import json_answer, listing
from orchestrator.api.context import ApiContext
from orchestrator.api.deps import IDEMPOTENCY_KEY_SCHEMA, Authenticated, Context, Paging
from orchestrator.api.routes import guarded_router, open_router
from orchestrator.api.shapes import imports as shapes
from orchestrator.api.shapes.parts import Listing
from orchestrator.domain.errors import Invalid, NotFound, Unauthenticated
from orchestrator.service import collector, idempotency, workspaces

NDJSON = "application/x-ndjson"
EXPORTED_AT_ONCE = 1000
LARGE_BODY_BYTES = 256 * 1024
_UNSIGNED = f"{RMD_HEADER} does not match the body and the secret"
T = TypeVar("T")

router = open_router("collector")
items_router = guarded_router("collector")

_BATCH_SCHEMA = {
    "type": "object",
    "required": ["workspace_id", "items"],
    "properties": {
        "workspace_id": {"type": "string"},
        "items": {
            "type": "array",
            "items": {"type": "object", "required": ["kind"], "properties": {"kind": {"type": "string"}}},
        },
    },
    "examples": [{"workspace_id": "default", "items": [{"kind": "airport", "iata": "CDG"}]}],
}


@router.post(
    "/collector/data",
    response_model=shapes.Collected,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _BATCH_SCHEMA}}}},
)
async def collect(
    request: Request,
    context: Context,
    x_rmd_signature: Annotated[
        str | None, Header(description="Hex HMAC-SHA256 of the raw body, keyed with the workspace's secret.")
    ] = None,
    idempotency_key: Annotated[
        str | None,
        Header(description="A batch that has come before is dropped.", json_schema_extra=IDEMPOTENCY_KEY_SCHEMA),
    ] = None,
) -> Response:
    """Take in a batch of items, signed with the workspace's secret. No token is needed."""
    if idempotency_key is not None:
        idempotency.check_key(idempotency_key)
    body = await request.body()
    # Nothing of the body is read for somebody who cannot sign it.
    signer = await _signer(context, body, x_rmd_signature)
    batch = await _apart(body, collector.read_batch)
    if batch.workspace_id != signer:
        raise Unauthenticated(_UNSIGNED)
    is_new = await context.take_in(batch, idempotency_key or context.new_id())
    return json_answer({"received": len(batch.items) if is_new else 0, "duplicate": not is_new})


async def _signer(context: ApiContext, body: bytes, signature: str | None) -> str:
    """The workspace that the body names, and whose secret it is signed with. Raises Unauthenticated, Invalid."""
    if signature is None:
        raise Unauthenticated(f"sign the body with the workspace's secret, in {RMD_HEADER}")
    named = collector.named_workspaces(body)
    if not named:
        raise Invalid("write a JSON object with workspace_id and items", field="$.workspace_id")
    for workspace_id in named:
        try:
            secret = await context.database.read(workspaces.secret, context.vault, workspace_id)
        except NotFound:
            # In the words of a wrong signature: who cannot sign learns of no workspace.
            continue
        if await _apart(body, partial(collector.is_signed, secret, signature)):
            return workspace_id
    raise Unauthenticated(_UNSIGNED)


async def _apart(body: bytes, work: Callable[[bytes], T]) -> T:
    """Do it, apart from the event loop where the body is large enough to hold up other requests."""
    return await asyncio.to_thread(work, body) if len(body) > LARGE_BODY_BYTES else work(body)


@items_router.get(
    "/collector/items",
    response_model=Listing[shapes.CollectedItem],
    responses={200: {"content": {NDJSON: {"schema": {"type": "string"}}}}},
)
async def list_collected_items(
    request: Request,
    context: Context,
    caller: Authenticated,
    page: Paging,
    kind: str | None = None,
    format: Annotated[  # noqa: A002 - the name of the query parameter
        Literal["json", "ndjson"] | None,
        Query(description="ndjson exports every item, one to a line, oldest first."),
    ] = None,
) -> Response:
    """List items, newest first; or export all as NDJSON, also by `Accept: application/x-ndjson`."""
    asked = format or ("ndjson" if NDJSON in request.headers.get("accept", "") else "json")
    if asked == "ndjson":
        return StreamingResponse(_exported(context, caller.workspace_id, kind), media_type=NDJSON)
    found = await context.database.read(collector.listed, caller.workspace_id, kind, page)
    return listing(found, shapes.collected_item)


async def _exported(context: ApiContext, workspace_id: str, kind: str | None) -> AsyncIterator[str]:
    after = 0
    while True:
        found = await context.database.read(collector.exported, workspace_id, kind, after, EXPORTED_AT_ONCE)
        if not found:
            return
        yield "".join(f"{view.item}\n" for view in found)
        after = found[-1].pk
