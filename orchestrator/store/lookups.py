"""Small reads that turn what people name (an app, a task, an execution) into keys, within one workspace."""

from dataclasses import dataclass
from typing import Any

from orchestrator.store.transaction import Transaction

_EXECUTION = """
SELECT pk, app_pk, task_pk, version_pk, multiple_exec_key
  FROM executions WHERE workspace_id = :workspace_id AND id = :id"""

_OF_UID = "SELECT pk, workspace_id FROM executions WHERE uid = :uid"

_PRESENT_TASK = """
SELECT t.pk, t.app_pk, t.version_pk, t.id, t.is_paused, a.id, a.status, a.status_reason
  FROM task_definitions t JOIN apps a ON a.pk = t.app_pk
 WHERE t.removed_at IS NULL AND a.deleted_at IS NULL"""
_TASK = f"""{_PRESENT_TASK} AND t.workspace_id = :workspace_id
   AND (t.id = :name OR t.pk = (SELECT task_pk FROM task_aliases WHERE workspace_id = :workspace_id AND alias = :name))
 ORDER BY CASE WHEN t.id = :name THEN 0 ELSE 1 END LIMIT 1"""  # noqa: S608 - a text of ours

_APP = "SELECT pk FROM apps WHERE workspace_id = :workspace_id AND id = :id AND deleted_at IS NULL"


@dataclass(frozen=True, slots=True)
class ExecutionKey:
    pk: int
    app_pk: int
    task_pk: int
    version_pk: int
    multiple_exec_key: str


@dataclass(frozen=True, slots=True)
class ExecutionPlace:
    """An execution that somebody names without saying its workspace."""

    pk: int
    workspace_id: str


@dataclass(frozen=True, slots=True)
class TaskKey:
    """A task and its app as a launch needs them."""

    pk: int
    app_pk: int
    version_pk: int
    id: str
    is_paused: bool
    app_id: str
    app_status: str
    app_status_reason: str | None


def execution_key(tx: Transaction, workspace_id: str, execution_id: str) -> ExecutionKey | None:
    found = tx.row(_EXECUTION, workspace_id=workspace_id, id=execution_id)
    return None if found is None else ExecutionKey(*found)


def execution_of_uid(tx: Transaction, uid: str) -> ExecutionPlace | None:
    found = tx.row(_OF_UID, uid=uid)
    return None if found is None else ExecutionPlace(*found)


def task_key(tx: Transaction, workspace_id: str, name: str) -> TaskKey | None:
    """The task with this id, else the one with this alias."""
    return _task(tx.row(_TASK, workspace_id=workspace_id, name=name))


def task_by_pk(tx: Transaction, pk: int) -> TaskKey | None:
    """The task with this key; None once it was removed."""
    return _task(tx.row(_PRESENT_TASK + " AND t.pk = :pk", pk=pk))


def _task(found: tuple[Any, ...] | None) -> TaskKey | None:
    if found is None:
        return None
    pk, app, version, id_, is_paused, app_id, app_status, reason = found
    return TaskKey(pk, app, version, id_, bool(is_paused), app_id, app_status, reason)


def app_pk(tx: Transaction, workspace_id: str, app_id: str) -> int | None:
    found = tx.row(_APP, workspace_id=workspace_id, id=app_id)
    return None if found is None else int(found[0])
