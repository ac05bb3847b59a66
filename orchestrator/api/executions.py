"""Executions: launch, list, show, change, abort, retry; their calls and log lines."""

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Query, Response

from orchestrator.api.addresses import EXECUTION, EXECUTION_THEN
from orchestrator.api.answers import json_answer, listing
from orchestrator.api.context import ApiContext
from orchestrator.api.deps import Authenticated, Changing, Context, Paging, Posting
from orchestrator.api.fitting import fitted
from orchestrator.api.routes import guarded_router
from orchestrator.api.shapes import executions as shapes
from orchestrator.api.shapes import launches, records
from orchestrator.api.shapes.parts import Instant, Listing
from orchestrator.service import annotating, ending, execution_queries, launching, orders, resuming
from orchestrator.service.execution_queries import ExecutionQuery
from orchestrator.service.idempotency import Reply, Work
from orchestrator.service.launching import LaunchOrder
from orchestrator.service.tokens import Caller
from orchestrator.store.transaction import Transaction

router = guarded_router("executions")

_Statuses = Annotated[list[shapes.ExecutionStatus] | None, Query(description="May be given several times.")]
_Time = Annotated[Instant | None, Query(description="RFC 3339, exclusive.")]


def _query(
    app_id: str | None = None,
    task_id: Annotated[str | None, Query(description="An id or an alias.")] = None,
    status: _Statuses = None,
    key: Annotated[str | None, Query(description="The multiple_exec_key; empty: those without one.")] = None,
    created_after: _Time = None,
    created_before: _Time = None,
) -> ExecutionQuery:
    return ExecutionQuery(app_id, task_id, status, key, created_after, created_before)


@router.post("/v1/executions", status_code=201, response_model=shapes.Execution)
async def launch_execution(body: launches.Launch, context: Context, caller: Authenticated, write: Posting) -> Response:
    """Launch a task. 409 `already-running` names the execution that the overlap policy finds in the way."""
    checked = await fitted(context, caller, orders.check(body.request(body.task_id), context.limits))

    def work(tx: Transaction) -> Reply:
        return _launched(tx, context, caller, orders.order(tx, caller, checked))

    return await write(work, wakes=True)


@router.get("/v1/executions", response_model=Listing[shapes.Execution])
async def list_executions(
    context: Context, caller: Authenticated, page: Paging, query: Annotated[ExecutionQuery, Depends(_query)]
) -> Response:
    """List executions, newest first."""
    found = await context.database.read(execution_queries.listed, caller.scope, query, page)
    return listing(found, shapes.execution)


@router.get(EXECUTION_THEN + "/calls", response_model=Listing[records.Call])
async def list_calls(
    execution_id: str, context: Context, caller: Authenticated, page: Paging, worker_id: int | None = None
) -> Response:
    """List the calls of an execution that are over, newest first."""
    found = await context.database.read(execution_queries.calls, caller.scope, execution_id, worker_id, page)
    return listing(found, records.call)


@router.get(EXECUTION_THEN + "/logs", response_model=Listing[records.LogLine])
async def list_logs(execution_id: str, context: Context, caller: Authenticated, page: Paging) -> Response:
    """List the lines that an execution's app has logged, newest first."""
    found = await context.database.read(execution_queries.logs, caller.scope, execution_id, page)
    return listing(found, records.log_line)


@router.get(EXECUTION, response_model=shapes.ExecutionWithWorkers)
async def get_execution(
    execution_id: str,
    context: Context,
    caller: Authenticated,
    application: Annotated[str | None, Query(description="404 unless it is for this application.")] = None,
) -> Response:
    """Show an execution with its workers."""
    found = await context.database.read(execution_queries.whole, caller.scope, execution_id, application)
    return json_answer(shapes.whole_execution(found))


@router.patch(EXECUTION, response_model=shapes.Execution)
async def change_execution(
    execution_id: str, body: launches.ExecutionChange, caller: Authenticated, write: Changing
) -> Response:
    """Set the subtext that people see beside an execution, also after its end."""

    def change(tx: Transaction) -> None:
        annotating.set_subtext(tx, caller.scope, execution_id, body.subtext)

    return await write(_then_shown(change, caller, execution_id))


@router.post(EXECUTION_THEN + "/abort", response_model=shapes.Execution)
async def abort_execution(
    execution_id: str,
    context: Context,
    caller: Authenticated,
    write: Posting,
    body: launches.Abort | None = None,
) -> Response:
    """End an execution now. After this answer nothing of it is called, and no earlier call is applied."""
    message = (body.message if body else None) or f"aborted by {caller.name}"

    def change(tx: Transaction) -> None:
        execution_queries.find(tx, caller.scope, execution_id)
        ending.abort(tx, context.definitions, caller.workspace_id, execution_id, message)

    return await write(_then_shown(change, caller, execution_id), wakes=True)


@router.post(EXECUTION_THEN + "/retry", response_model=shapes.Execution)
async def retry_execution(execution_id: str, context: Context, caller: Authenticated, write: Posting) -> Response:
    """Resume a failed or aborted execution: its unfinished workers go on from their last applied state."""

    def change(tx: Transaction) -> None:
        execution_queries.find(tx, caller.scope, execution_id)
        ending.retry(tx, context.definitions, caller.workspace_id, execution_id)

    return await write(_then_shown(change, caller, execution_id), wakes=True)


@router.post(EXECUTION_THEN + "/resume", status_code=201, response_model=shapes.Execution)
async def resume_execution(
    execution_id: str, body: launches.Resume, context: Context, caller: Authenticated, write: Posting
) -> Response:
    """Launch anew from an earlier call: each worker begins as it stood when that call was made.

    Nothing is undone: `resumed_from.since` tells what later answers have imported and changed.
    """
    past = await context.database.read(resuming.look_back, caller.scope, execution_id, body.call)

    def work(tx: Transaction) -> Reply:
        order = resuming.order(tx, caller, past, body.id, body.name)
        return _launched(tx, context, caller, order)

    return await write(work, wakes=True)


def _launched(tx: Transaction, context: ApiContext, caller: Caller, order: LaunchOrder) -> Reply:
    launched = launching.launch(tx, context.definitions, order, context.new_id)
    return Reply(201, _shown(tx, caller, launched.id), location=f"/v1/executions/{quote(launched.id)}")


def _shown(tx: Transaction, caller: Caller, execution_id: str) -> dict[str, Any]:
    return shapes.execution(execution_queries.find(tx, caller.scope, execution_id))


def _then_shown(change: Callable[[Transaction], None], caller: Caller, execution_id: str) -> Work:
    def work(tx: Transaction) -> Reply:
        change(tx)
        return Reply(200, _shown(tx, caller, execution_id))

    return work
