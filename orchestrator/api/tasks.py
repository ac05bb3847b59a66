"""Task definitions: list, show, run, pause, resume, and what became of their slots."""

import asyncio
from urllib.parse import quote

from fastapi import Response

from orchestrator.api.addresses import TASK, TASK_THEN
from orchestrator.api.answers import json_answer, listing
from orchestrator.api.context import ApiContext
from orchestrator.api.deps import Authenticated, Changing, Context, Paging, Posting
from orchestrator.api.fitting import fitted
from orchestrator.api.routes import guarded_router
from orchestrator.api.shapes import apps as shapes
from orchestrator.api.shapes import executions, launches, records
from orchestrator.api.shapes.parts import Listing
from orchestrator.service import app_queries, execution_queries, launching, orders, registering, tasks
from orchestrator.service.idempotency import Reply, Work
from orchestrator.service.tokens import Caller
from orchestrator.store.transaction import Transaction

router = guarded_router("tasks")


@router.get("/v1/apps/{app_id}/tasks", response_model=Listing[shapes.Task])
async def list_tasks(app_id: str, context: Context, caller: Authenticated, page: Paging) -> Response:
    """List an app's tasks, in the order of their ids."""
    found = await context.database.read(app_queries.tasks, context.definitions, caller.scope, app_id, page)
    return listing(found, shapes.task)


@router.put("/v1/apps/{app_id}/tasks", response_model=shapes.Registered)
async def register_tasks(
    app_id: str, body: shapes.Registration, context: Context, caller: Authenticated, write: Changing
) -> Response:
    """Register tasks that executors pull, as workers do: added, or brought up to date; the app's others stay.

    An app that is not there is made. 409 for one that has a webhook.
    """
    checked = registering.check(app_id, body.tasks)
    await asyncio.to_thread(tasks.check_schemas, checked)

    def work(tx: Transaction) -> Reply:
        found = registering.register(tx, context.vault, caller, checked, body.tasks)
        return Reply(200, {"app_id": found.app_id, "task_ids": list(found.task_ids), "changed": found.has_changed})

    return await write(work, wakes=True)


@router.get(TASK_THEN + "/occurrences", response_model=Listing[records.Occurrence])
async def list_occurrences(
    app_id: str, task_id: str, context: Context, caller: Authenticated, page: Paging
) -> Response:
    """List what became of the slots of a task's schedule, latest first."""
    found = await context.database.read(app_queries.occurrences, caller.scope, app_id, task_id, page)
    return listing(found, records.occurrence)


@router.get(TASK, response_model=shapes.Task)
async def get_task(app_id: str, task_id: str, context: Context, caller: Authenticated) -> Response:
    """Show a task."""
    found = await context.database.read(app_queries.task, context.definitions, caller.scope, app_id, task_id)
    return json_answer(shapes.task(found))


@router.post(TASK_THEN + "/run", status_code=201, response_model=executions.Execution)
async def run_task(
    app_id: str,
    task_id: str,
    context: Context,
    caller: Authenticated,
    write: Posting,
    body: launches.Run | None = None,
) -> Response:
    """Launch a task of this app: as `POST /v1/executions`."""
    asked = (body or launches.Run()).request(task_id)
    checked = await fitted(context, caller, orders.check(asked, context.limits))

    def work(tx: Transaction) -> Reply:
        app_queries.task(tx, context.definitions, caller.scope, app_id, task_id)
        order = orders.order(tx, caller, checked)
        launched = launching.launch(tx, context.definitions, order, context.new_id)
        shown = executions.execution(execution_queries.find(tx, caller.scope, launched.id))
        return Reply(201, shown, location=f"/v1/executions/{quote(launched.id)}")

    return await write(work, wakes=True)


@router.post(TASK_THEN + "/pause", response_model=shapes.Task)
async def pause_task(app_id: str, task_id: str, context: Context, caller: Authenticated, write: Posting) -> Response:
    """Pause a task's schedule: its slots are recorded as skipped. It can still be launched by hand."""
    return await write(_set_paused(context, caller, app_id, task_id, paused=True))


@router.post(TASK_THEN + "/resume", response_model=shapes.Task)
async def resume_task(app_id: str, task_id: str, context: Context, caller: Authenticated, write: Posting) -> Response:
    """Let a paused task's schedule go on."""
    return await write(_set_paused(context, caller, app_id, task_id, paused=False), wakes=True)


def _set_paused(context: ApiContext, caller: Caller, app_id: str, task_id: str, *, paused: bool) -> Work:
    def work(tx: Transaction) -> Reply:
        app_queries.task(tx, context.definitions, caller.scope, app_id, task_id)
        tasks.set_paused(tx, caller.workspace_id, task_id, paused=paused)
        return Reply(200, shapes.task(app_queries.task(tx, context.definitions, caller.scope, app_id, task_id)))

    return work
