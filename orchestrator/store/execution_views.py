"""Statements that show executions with their workers to people. None of them locks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.store.reads import Read
from orchestrator.store.transaction import Transaction

_EXECUTION = """
SELECT e.pk, e.id, e.number, e.workspace_id, a.id, t.id, t.name, e.status, e.failing, e.attempt,
       d.name, d.subtext,
       -- A run that went well says what its main worker said last.
       coalesce(e.message, CASE WHEN e.status = 'succeeded' THEN (
           SELECT message FROM worker_states WHERE execution_pk = e.pk AND worker_id = 0) END),
       e.multiple_exec_key,
       e.run_at, e.deadline_at, e.created_at, e.started_at, e.ended_at, d.launched_by,
       (SELECT CAST(coalesce(sum(w.undelivered), 0) AS bigint) FROM workers w WHERE w.execution_pk = e.pk),
       coalesce(d.application, a.id), d.input, d.output, d.resumed_from,
       EXISTS (SELECT 1 FROM workers w WHERE w.execution_pk = e.pk AND w.retry_count > 0)
  FROM executions e
  JOIN execution_details d ON d.execution_pk = e.pk
  JOIN apps a ON a.pk = e.app_pk
  JOIN task_definitions t ON t.pk = e.task_pk
 WHERE """

_WORKERS = """
SELECT w.worker_id, w.status, w.step, w.retry_count, w.due_at, s.state, s.output, s.message, s.progress,
       w.undelivered, w.refused, s.subtext
  FROM workers w JOIN worker_states s ON s.execution_pk = w.execution_pk AND s.worker_id = w.worker_id
 WHERE w.execution_pk = :pk ORDER BY w.worker_id"""

_CALL_TOTALS = """
SELECT count(*), CAST(coalesce(sum(CASE WHEN retry_count > 0 THEN 1 ELSE 0 END), 0) AS bigint),
       CAST(coalesce(sum(CASE WHEN outcome = 'applied' THEN items ELSE 0 END), 0) AS bigint)
  FROM calls WHERE execution_pk = :pk"""
_DELIVERED = """
SELECT CAST(coalesce(sum(item_count), 0) AS bigint) FROM import_batches
 WHERE execution_pk = :pk AND status = 'delivered'"""

# An id may name several apps in turn, one after the other was deleted; a task's name may be an alias.
_APPS_CALLED = "SELECT pk FROM apps WHERE workspace_id = :workspace_id AND id = :id"
_TASKS_CALLED = """
SELECT pk FROM task_definitions WHERE workspace_id = :workspace_id AND id = :name
 UNION SELECT task_pk FROM task_aliases WHERE workspace_id = :workspace_id AND alias = :name"""


@dataclass(frozen=True, slots=True)
class ExecutionView:
    """An execution as a list shows it. JSON as text, times in microseconds."""

    pk: int
    id: str
    number: int
    workspace_id: str
    app_id: str
    task_id: str
    task_name: str
    status: str
    failing: bool
    attempt: int
    name: str | None
    subtext: str | None
    message: str | None
    multiple_exec_key: str
    run_at: int | None
    deadline_at: int | None
    created_at: int
    started_at: int | None
    ended_at: int | None
    launched_by: str | None
    undelivered_batches: int
    application: str
    input: str
    output: str | None
    resumed_from: str | None
    is_retrying: bool


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker with what it last told. JSON as text, times in microseconds."""

    worker_id: int
    status: str
    step: int
    retry_count: int
    due_at: int | None
    state: str
    output: str | None
    message: str | None
    progress: str | None
    undelivered_batches: int
    refused: str | None
    subtext: str | None


@dataclass(frozen=True, slots=True)
class Totals:
    """What an execution amounts to: `retries` are the calls that followed an unsuccessful one."""

    calls: int
    retries: int
    items: int
    delivered_items: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Which executions are listed; None does not restrict. Times in microseconds, exclusive."""

    app_pks: Sequence[int] | None = None
    task_pks: Sequence[int] | None = None
    statuses: Sequence[str] | None = None
    key: str | None = None
    created_after: int | None = None
    created_before: int | None = None


def find(
    tx: Transaction, workspace_id: str, id_: str, app_pk: int | None, application: str | None = None
) -> ExecutionView | None:
    """The execution with this id, if it belongs to the workspace; to the app and the application, where given."""
    conditions = "e.workspace_id = :workspace_id AND e.id = :id"
    if app_pk is not None:
        conditions += " AND e.app_pk = :app_pk"
    if application is not None:
        conditions += " AND coalesce(d.application, a.id) = :application"
    found = tx.row(_EXECUTION + conditions, workspace_id=workspace_id, id=id_, app_pk=app_pk, application=application)
    return None if found is None else _execution(found)


def listed(
    tx: Transaction, workspace_id: str, wanted: Filter, before: tuple[int, int] | None, limit: int
) -> list[ExecutionView]:
    """Executions, newest first, from the one after `before` (its key and its number)."""
    conditions, parameters = _conditions(workspace_id, wanted)
    pk, number = before or (None, None)
    # Keys and numbers grow together within a workspace; each order has an index of its own.
    by_task = wanted.task_pks is not None and len(wanted.task_pks) == 1
    order, position = ("e.pk", pk) if by_task else ("e.number", number)
    if position is not None:
        conditions.append(f"{order} < :position")
    sql = f"{_EXECUTION}{' AND '.join(conditions)} ORDER BY {order} DESC LIMIT :limit"
    rows = tx.rows(sql, **parameters, position=position, limit=limit)
    return [_execution(row) for row in rows]


def workers_and_totals(tx: Transaction, pk: int) -> tuple[list[WorkerView], Totals]:
    """An execution's workers by their ids, and what it amounts to."""
    workers, calls, delivered = (Read(sql, {"pk": pk}) for sql in (_WORKERS, _CALL_TOTALS, _DELIVERED))
    tx.read(workers, calls, delivered)
    return [WorkerView(*row) for row in workers.rows], Totals(*calls.rows[0], *delivered.rows[0])


def apps_called(tx: Transaction, workspace_id: str, app_id: str) -> list[int]:
    """The apps that have, or had, this id."""
    return [pk for (pk,) in tx.rows(_APPS_CALLED, workspace_id=workspace_id, id=app_id)]


def tasks_called(tx: Transaction, workspace_id: str, name: str) -> list[int]:
    """The tasks that have, or had, this id, and the one that has this alias."""
    return [pk for (pk,) in tx.rows(_TASKS_CALLED, workspace_id=workspace_id, name=name)]


def _conditions(workspace_id: str, wanted: Filter) -> tuple[list[str], dict[str, object]]:
    conditions = ["e.workspace_id = :workspace_id"]
    parameters: dict[str, object] = {"workspace_id": workspace_id}
    for name, condition, value in (
        ("app_pks", "e.app_pk IN :app_pks", wanted.app_pks),
        ("task_pk", "e.task_pk = :task_pk", _only(wanted.task_pks)),
        ("task_pks", "e.task_pk IN :task_pks", None if _only(wanted.task_pks) else wanted.task_pks),
        ("statuses", "e.status IN :statuses", wanted.statuses),
        ("key", "e.multiple_exec_key = :key", wanted.key),
        ("after", "e.created_at > :after", wanted.created_after),
        ("before", "e.created_at < :before", wanted.created_before),
    ):
        if value is not None:
            conditions.append(condition)
            parameters[name] = list(value) if isinstance(value, tuple | list) else value
    return conditions, parameters


def _only(pks: Sequence[int] | None) -> int | None:
    return pks[0] if pks is not None and len(pks) == 1 else None


def _execution(row: tuple[Any, ...]) -> ExecutionView:
    # SQLite has no booleans.
    values = (*row[:8], bool(row[8]), *row[9:-1], bool(row[-1]))
    return ExecutionView(*values)
