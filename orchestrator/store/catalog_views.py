"""Statements that show apps and tasks to people."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from orchestrator.store.transaction import Transaction

_APPS = """
SELECT pk, id, name, status, status_reason, manifest, webhook_endpoint, max_concurrent_calls,
       rate_calls, rate_per_secs, created_at, updated_at
  FROM apps WHERE workspace_id = :workspace_id AND deleted_at IS NULL"""

_TASK_IDS = "SELECT app_pk, id FROM task_definitions WHERE app_pk IN :app_pks AND removed_at IS NULL ORDER BY id"

_TASKS = """
SELECT t.pk, t.id, a.id, t.version_pk, t.is_paused, s.next_slot_at, e.id, e.status, e.created_at
  FROM task_definitions t
  JOIN apps a ON a.pk = t.app_pk
  LEFT JOIN schedules s ON s.task_pk = t.pk
  LEFT JOIN executions e ON e.pk = (SELECT max(x.pk) FROM executions x WHERE x.task_pk = t.pk)
 WHERE t.app_pk = :app_pk AND t.removed_at IS NULL"""


@dataclass(frozen=True, slots=True)
class AppView:
    """An installed app. `manifest` is JSON text; times in microseconds."""

    pk: int
    id: str
    name: str
    status: str
    status_reason: str | None
    manifest: str
    webhook_endpoint: str | None
    max_concurrent_calls: int
    rate_calls: int | None
    rate_per_secs: float | None
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task of an app, and its newest execution; times in microseconds."""

    pk: int
    id: str
    app_id: str
    version_pk: int
    is_paused: bool
    next_slot_at: int | None
    last_execution_id: str | None
    last_status: str | None
    last_created_at: int | None


def app(tx: Transaction, workspace_id: str, app_id: str) -> AppView | None:
    found = tx.row(_APPS + " AND id = :id", workspace_id=workspace_id, id=app_id)
    return None if found is None else AppView(*found)


def apps(tx: Transaction, workspace_id: str, after: str | None, limit: int) -> list[AppView]:
    """Apps in the order of their ids, from the one after `after`."""
    sql = _APPS + ("" if after is None else " AND id > :after") + " ORDER BY id LIMIT :limit"
    return [AppView(*row) for row in tx.rows(sql, workspace_id=workspace_id, after=after, limit=limit)]


def task_ids(tx: Transaction, app_pks: Iterable[int]) -> dict[int, list[str]]:
    """The ids of the apps' tasks, in order."""
    wanted = sorted(app_pks)
    found: dict[int, list[str]] = {pk: [] for pk in wanted}
    for app_pk, task_id in tx.rows(_TASK_IDS, app_pks=wanted):
        found[app_pk].append(task_id)
    return found


def task(tx: Transaction, app_pk: int, task_id: str) -> TaskRow | None:
    found = tx.row(_TASKS + " AND t.id = :id", app_pk=app_pk, id=task_id)
    return None if found is None else _task(found)


def tasks(tx: Transaction, app_pk: int, after: str | None, limit: int) -> list[TaskRow]:
    """The app's tasks in the order of their ids, from the one after `after`."""
    sql = _TASKS + ("" if after is None else " AND t.id > :after") + " ORDER BY t.id LIMIT :limit"
    return [_task(row) for row in tx.rows(sql, app_pk=app_pk, after=after, limit=limit)]


def _task(row: tuple[Any, ...]) -> TaskRow:
    # SQLite has no booleans.
    values = (*row[:4], bool(row[4]), *row[5:])
    return TaskRow(*values)
