"""The events of a workspace, as server-sent events.

The store is asked again and again, for numbers above the last one that was sent: so nothing is left out, however the
connection fares. No connection to the store is held in between, and one event at a time is in memory.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import orjson
from fastapi import Header, Query, Response
from starlette.responses import StreamingResponse

from orchestrator.api.answers import raw
from orchestrator.api.context import ApiContext
from orchestrator.api.deps import Authenticated, Context
from orchestrator.api.routes import guarded_router
from orchestrator.domain.errors import Invalid, Unauthenticated
from orchestrator.domain.patterns import Pattern, read_pattern
from orchestrator.service import event_queries
from orchestrator.service.cloud_events import attributes
from orchestrator.service.tokens import Caller
from orchestrator.store.events import EventView

POLL_SECS = 0.5
HEARTBEAT_SECS = 15.0
# With its number, a client that reconnects goes on from there, also where no event of its pattern has come yet.
_HEARTBEAT = b"id: %d\n: still here\n\n"
_HIGHEST = 2**63 - 1

router = guarded_router("events")

_After = Annotated[
    int | None,
    Query(ge=0, le=_HIGHEST, description="Begin after this number; 0 from the oldest one kept, left out: from now on."),
]


@router.get(
    "/v1/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Each event as it was published: its number as `id`, a CloudEvent in JSON as `data`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def watch_events(
    context: Context,
    caller: Authenticated,
    pattern: Annotated[str, Query(description="Dotted words, with `*` for one word and `#` for any number of them.")],
    after: _After = None,
    last_event_id: Annotated[str | None, Header(description="As `after`, from a client that reconnects.")] = None,
) -> Response:
    """Follow the events that match a pattern; an app's token sees those of its own app."""
    wanted = read_pattern(pattern)
    place = after if last_event_id is None else _number(last_event_id)
    if place is None:
        place = await context.database.read(event_queries.newest)
    headers = {"X-Accel-Buffering": "no"}
    stream = _events(context, caller, wanted, place)
    return StreamingResponse(stream, headers=headers, media_type="text/event-stream")


async def _events(context: ApiContext, caller: Caller, pattern: Pattern, after: int) -> AsyncIterator[bytes]:
    # The first heartbeat is sent at once: whoever has it will miss no later event.
    silent_secs = HEARTBEAT_SECS
    while True:
        try:
            sight = await context.database.read(event_queries.look, caller, pattern, after)
        except Unauthenticated:
            return
        for head in sight.matching:
            event = await context.database.read(event_queries.find, head)
            if event is not None:
                silent_secs = 0.0
                yield _block(event, caller.workspace_id)
        after = sight.after
        if sight.has_more:
            continue
        if silent_secs >= HEARTBEAT_SECS:
            silent_secs = 0.0
            yield _HEARTBEAT % after
        await pause()
        silent_secs += POLL_SECS


async def pause() -> None:
    """Wait before the store is asked again."""
    await asyncio.sleep(POLL_SECS)


def _block(event: EventView, workspace_id: str) -> bytes:
    # orjson writes no line breaks, nor does what was kept as JSON text hold any: the data is one line.
    data = orjson.dumps({**attributes(event, workspace_id), "data": raw(event.data)})
    return b"id: %d\ndata: %s\n\n" % (event.seq, data)


def _number(last_event_id: str) -> int:
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < len(str(_HIGHEST))):
        raise Invalid("the id of an event of this stream, which is a number", field="Last-Event-ID")
    return int(last_event_id)
