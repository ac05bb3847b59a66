"""Third parties call back: with a token, with a pair of keys as VibeIQ has it, or with the signed URL of an await."""

from typing import Annotated

from fastapi import Header, Request, Response

from orchestrator.api.answers import json_answer
from orchestrator.api.context import ApiContext
from orchestrator.api.deps import IDEMPOTENCY_KEY_SCHEMA, Authenticated, Context
from orchestrator.api.routes import keyed_router
from orchestrator.api.routes import signed_router as new_signed_router
from orchestrator.api.shapes import callbacks as shapes
from orchestrator.service import callbacks
from orchestrator.service.callback_effects import Callback
from orchestrator.service.callback_urls import PATH
from orchestrator.store.callbacks import TaskView

router = keyed_router("callbacks")
signed_router = new_signed_router("callbacks")

_TASK = "/event-workflow-tasks/{task_id:path}"

_Key = Annotated[
    str | None,
    Header(
        description="Not needed: a callback that says the same again is known by that.",
        json_schema_extra=IDEMPOTENCY_KEY_SCHEMA,
    ),
]


@router.post(PATH, response_model=shapes.EventWorkflowTask)
@router.post(f"{PATH}/", response_model=shapes.EventWorkflowTask, include_in_schema=False)
@router.post(f"/api{PATH}", response_model=shapes.EventWorkflowTask, include_in_schema=False)
@router.post(f"/api{PATH}/", response_model=shapes.EventWorkflowTask, include_in_schema=False)
async def call_back(
    body: shapes.TaskCallback,
    context: Context,
    caller: Authenticated,
    idempotency_key: _Key = None,  # noqa: ARG001 - documented
) -> Response:
    """Tell what a worker awaits. 409 where another callback came before, or nothing is awaited; 410 after the timeout.

    The same callback twice is answered alike. One that comes before the answer that parks its worker is kept for it.
    The token may also come as `X-Api-Key`, with the workspace's id as `X-Api-Org`. The address may begin with `/api`
    and end in a slash.
    """
    find = callbacks.called(caller.scope, body.task_id)
    return json_answer(shapes.task(await _receive(context, find, body.callback())))


@signed_router.post(f"{PATH}/{{signed}}", response_model=shapes.CalledBackTask)
@signed_router.post(f"/api{PATH}/{{signed}}", response_model=shapes.CalledBackTask, include_in_schema=False)
async def call_back_signed(
    signed: str,  # noqa: ARG001 - documented; the route has read it
    body: shapes.SignedCallback,
    request: Request,
    context: Context,
    idempotency_key: _Key = None,  # noqa: ARG001 - documented
) -> Response:
    """Tell what a worker awaits, at the `callback_url` of its payload: it is for that one await, and needs no token."""
    find = callbacks.signed(request.state.signed, body.task_id)
    return json_answer(shapes.called_back(await _receive(context, find, body.callback())))


@router.put(f"/v1{_TASK}", response_model=shapes.EventWorkflowTask)
@router.put(_TASK, response_model=shapes.EventWorkflowTask, include_in_schema=False)
@router.put(f"/api{_TASK}", response_model=shapes.EventWorkflowTask, include_in_schema=False)
async def set_task_subtext(
    task_id: str, body: shapes.SubtextChange, context: Context, caller: Authenticated
) -> Response:
    """Set the line that people see beside a worker and beside its execution, whatever their status.

    The token may also come as `X-Api-Key`, with the workspace's id as `X-Api-Org`. The address may do without `/v1`,
    and may begin with `/api` instead.
    """
    find = callbacks.called(caller.scope, task_id)
    view = await context.database.write(callbacks.set_subtext, find, body.subtext)
    return json_answer(shapes.task(view))


async def _receive(context: ApiContext, find: callbacks.Find, callback: Callback) -> TaskView:
    received = await context.database.write(callbacks.receive, context.definitions, find, callback)
    context.wake()
    if received.refused is not None:
        raise received.refused
    return received.task
