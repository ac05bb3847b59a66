"""Executions with their workers, as they are shown."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from orchestrator.api.answers import instant, maybe_instant, raw
from orchestrator.api.shapes.parts import JsonObject, Shown, Time
from orchestrator.service.execution_queries import WholeExecution
from orchestrator.store.execution_views import ExecutionView, WorkerView

ExecutionStatus = Literal["pending", "running", "succeeded", "failed", "aborted"]
WorkerStatus = Literal["ready", "calling", "awaiting", "waiting", "done", "failed", "aborted"]

_EXAMPLE: dict[str, Any] = {
    "id": "0198c5a2-7b1e-7cc3-9f6a-2f4f5a1f0c11",
    "number": 42,
    "workspace_id": "default",
    "app_id": "app_catalog",
    "task_id": "app_catalog_import",
    "task_name": "Import the catalogue",
    "status": "running",
    "status_code": 0,
    "failing": False,
    "attempt": 1,
    "name": None,
    "subtext": "page 3 of 12",
    "message": None,
    "multiple_exec_key": None,
    "run_at": None,
    "deadline_at": "2026-02-07T08:00:00.000000Z",
    "created_at": "2026-01-31T08:00:00.000000Z",
    "started_at": "2026-01-31T08:00:00.000000Z",
    "ended_at": None,
    "launched_by": {"token": "tok_0f", "name": "first admin"},
    "undelivered_batches": 0,
    "application": "app_catalog",
    "input": {"pages": 12},
    "output": None,
    "resumed_from": None,
}


class Since(Shown):
    """What answers that were applied after a call have done."""

    calls: int
    items: int
    mutations: int


class ResumedFrom(Shown):
    """The call of another execution that one goes on from."""

    execution_id: str
    call: str
    worker_id: int
    step: int
    since: Since = Field(description="What the other one did after that call, which is not undone.")


class Execution(Shown):
    """One launch of a task."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    number: int
    workspace_id: str
    app_id: str
    task_id: str
    task_name: str
    status: ExecutionStatus
    status_code: Literal[-2, -1, 0, 1] = Field(
        description="Rimdian's: 0 pending or running, -1 retrying a worker, 1 ok, -2 failed or aborted."
    )
    failing: bool
    attempt: int
    name: str | None
    subtext: str | None
    message: str | None
    multiple_exec_key: str | None
    run_at: Time | None
    deadline_at: Time | None
    created_at: Time
    started_at: Time | None
    ended_at: Time | None
    launched_by: JsonObject | None
    undelivered_batches: int
    application: str = Field(description="Who it was launched for; its app, if nobody else.")
    input: JsonObject
    output: JsonObject | None
    resumed_from: ResumedFrom | None


class Progress(Shown):
    """How far a worker has come."""

    current: float
    total: float | None
    unit: str | None


class Worker(Shown):
    """One lane of an execution."""

    worker_id: int
    status: WorkerStatus
    step: int
    retry_count: int
    due_at: Time | None
    state: JsonObject
    output: JsonObject | None
    message: str | None
    progress: Progress | None
    undelivered_batches: int
    refused: str | None
    subtext: str | None


class Totals(Shown):
    """What it amounts to; `retries` are the calls that followed an unsuccessful one."""

    calls: int
    retries: int
    items: int
    delivered_items: int


class ExecutionWithWorkers(Execution):
    """One launch of a task, with its workers."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_EXAMPLE,
                    "workers": [
                        {
                            "worker_id": 0,
                            "status": "ready",
                            "step": 3,
                            "retry_count": 0,
                            "due_at": "2026-01-31T08:00:09.000000Z",
                            "state": {"page": 3},
                            "output": None,
                            "message": "page 3",
                            "progress": {"current": 3, "total": 12, "unit": "pages"},
                            "undelivered_batches": 0,
                            "refused": None,
                            "subtext": None,
                        }
                    ],
                    "totals": {"calls": 3, "retries": 0, "items": 750, "delivered_items": 500},
                }
            ]
        }
    )

    workers: list[Worker]
    totals: Totals


def execution(view: ExecutionView) -> dict[str, Any]:
    """An execution as a list shows it."""
    return {
        "id": view.id,
        "number": view.number,
        "workspace_id": view.workspace_id,
        "app_id": view.app_id,
        "task_id": view.task_id,
        "task_name": view.task_name,
        "status": view.status,
        "status_code": _status_code(view),
        "failing": view.failing,
        "attempt": view.attempt,
        "name": view.name,
        "subtext": view.subtext,
        "message": view.message,
        "multiple_exec_key": view.multiple_exec_key or None,
        "run_at": maybe_instant(view.run_at),
        "deadline_at": maybe_instant(view.deadline_at),
        "created_at": instant(view.created_at),
        "started_at": maybe_instant(view.started_at),
        "ended_at": maybe_instant(view.ended_at),
        "launched_by": raw(view.launched_by),
        "undelivered_batches": view.undelivered_batches,
        "application": view.application,
        "input": raw(view.input),
        "output": raw(view.output),
        "resumed_from": raw(view.resumed_from),
    }


def whole_execution(whole: WholeExecution) -> dict[str, Any]:
    """An execution with its workers."""
    totals = whole.totals
    return {
        **execution(whole.execution),
        "workers": [_worker(view) for view in whole.workers],
        "totals": {
            "calls": totals.calls,
            "retries": totals.retries,
            "items": totals.items,
            "delivered_items": totals.delivered_items,
        },
    }


def _worker(view: WorkerView) -> dict[str, Any]:
    return {
        "worker_id": view.worker_id,
        "status": view.status,
        "step": view.step,
        "retry_count": view.retry_count,
        "due_at": maybe_instant(view.due_at),
        "state": raw(view.state),
        "output": raw(view.output),
        "message": view.message,
        "progress": raw(view.progress),
        "undelivered_batches": view.undelivered_batches,
        "refused": view.refused,
        "subtext": view.subtext,
    }


def _status_code(view: ExecutionView) -> int:
    match view.status:
        case "pending":
            return 0
        case "running":
            return -1 if view.is_retrying else 0
        case "succeeded":
            return 1
        case _:
            return -2
