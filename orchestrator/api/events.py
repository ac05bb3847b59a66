"""An execution as it goes on, as server-sent events.

The store is asked again and again, and only what has changed is sent; no connection to it is held in between.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi import Response
from starlette.responses import StreamingResponse

from orchestrator.api.addresses import EXECUTION_THEN
from orchestrator.api.context import ApiContext
from orchestrator.api.deps import Authenticated, Context
from orchestrator.api.routes import guarded_router
from orchestrator.api.shapes import executions as shapes
from orchestrator.domain.errors import NotFound, Unauthenticated
from orchestrator.domain.states import ENDED_EXECUTION
from orchestrator.service import execution_queries, tokens
from orchestrator.service.execution_queries import WholeExecution
from orchestrator.service.tokens import Caller
from orchestrator.store.transaction import Transaction

POLL_SECS = 0.5
HEARTBEAT_SECS = 15.0
_HEARTBEAT = b": still here\n\n"
# What may be wide is sent once, at the end.
_WIDE = ("input", "output")
_WIDE_OF_WORKER = ("state", "output")

router = guarded_router("executions")


@router.get(
    EXECUTION_THEN + "/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`execution` events as it changes, without input, states and outputs; then one "
            "`ended`, whole, and the end of the stream.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def watch_execution(execution_id: str, context: Context, caller: Authenticated) -> Response:
    """Follow an execution until it has ended."""
    first = await context.database.read(_look, caller, execution_id)
    headers = {"X-Accel-Buffering": "no"}
    stream = _events(context, caller, first)
    return StreamingResponse(stream, headers=headers, media_type="text/event-stream")


async def _events(context: ApiContext, caller: Caller, first: WholeExecution) -> AsyncIterator[bytes]:
    whole, sent, silent_secs = first, b"", 0.0
    while whole.execution.status not in ENDED_EXECUTION:
        data = orjson.dumps(_slim(shapes.whole_execution(whole)))
        if data != sent:
            sent, silent_secs = data, 0.0
            yield _event("execution", data)
        elif silent_secs >= HEARTBEAT_SECS:
            silent_secs = 0.0
            yield _HEARTBEAT
        await pause()
        silent_secs += POLL_SECS
        try:
            whole = await context.database.read(_look, caller, first.execution.id)
        except (NotFound, Unauthenticated):
            return
    yield _event("ended", orjson.dumps(shapes.whole_execution(whole)))


def _look(tx: Transaction, caller: Caller, execution_id: str) -> WholeExecution:
    whole = execution_queries.whole(tx, caller.scope, execution_id)
    tokens.check_still_valid(tx, caller)
    return whole


async def pause() -> None:
    """Wait before the store is asked again."""
    await asyncio.sleep(POLL_SECS)


def _slim(shown: dict[str, Any]) -> dict[str, Any]:
    return {
        **_without(shown, _WIDE),
        "workers": [_without(worker, _WIDE_OF_WORKER) for worker in shown["workers"]],
    }


def _without(shown: dict[str, Any], left_out: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if name not in left_out}


def _event(name: str, data: bytes) -> bytes:
    # orjson writes no line breaks, so the data is one line.
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)
