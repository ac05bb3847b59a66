"""Statements of launches: the lock of an overlap group, who is in it, the rows of a new execution."""

from typing import Any

from orchestrator.store.dialect import Dialect
from orchestrator.store.transaction import Transaction

_ENSURE = "INSERT INTO overlap_groups (task_pk, key) VALUES (:task_pk, :key) ON CONFLICT (task_pk, key) DO NOTHING"
_LOCK = "SELECT key FROM overlap_groups WHERE task_pk = :task_pk AND key = :key FOR UPDATE"

# One with nothing left but deliveries no longer counts.
_MEMBERS = """
SELECT pk, status, run_at FROM executions
 WHERE task_pk = :task_pk AND multiple_exec_key = :key
   AND status IN ('pending', 'running') AND open_workers > 0 ORDER BY pk"""

_PENDING = "SELECT task_pk, multiple_exec_key, version_pk, run_at FROM executions WHERE pk = :pk AND status = 'pending'"
# The plus keeps SQLite from walking over every execution in the order of their keys, and the two statuses are what it
# takes to recognise the index of open groups. Neither means anything to PostgreSQL.
_DUE_PENDING = """
SELECT waiting.pk FROM executions AS waiting
 WHERE waiting.status = 'pending'
   AND (waiting.run_at IS NULL OR waiting.run_at <= :now)
   AND NOT (waiting.queues AND EXISTS (
        SELECT 1 FROM executions AS running
         WHERE running.task_pk = waiting.task_pk AND running.multiple_exec_key = waiting.multiple_exec_key
           AND running.status = 'running'
           AND running.status IN ('pending', 'running') AND running.open_workers > 0))
 ORDER BY +waiting.pk LIMIT :places"""
_FIRST_RUN_AT = "SELECT min(run_at) FROM executions WHERE status = 'pending' AND run_at > :now"

_NUMBER = "UPDATE workspaces SET next_number = next_number + 1 WHERE id = :workspace_id RETURNING next_number - 1"
_INSERT = """
INSERT INTO executions (uid, workspace_id, id, number, app_pk, task_pk, version_pk, status, failing, attempt,
                        open_workers, max_retries, multiple_exec_key, run_at, queues, concurrency_key, created_at)
VALUES (:uid, :workspace_id, :id, :number, :app_pk, :task_pk, :version_pk, 'pending', :failing, 1,
        1, :max_retries, :multiple_exec_key, :run_at, :queues, :concurrency_key, :created_at)
ON CONFLICT (workspace_id, id) DO NOTHING RETURNING pk"""
# One round trip; SQLite changes no row within a WITH.
_COUNTED = _INSERT.replace(":number", "(SELECT number FROM counted)")
_INSERT_NUMBERED = f"WITH counted (number) AS ({_NUMBER}) {_COUNTED}"
_INSERT_DETAILS = """
INSERT INTO execution_details (execution_pk, input, output, name, launched_by, beginning, resumed_from, application,
                               launched_as, owner_id)
SELECT * FROM :rows AS r (execution_pk bigint, input text, output text, name text, launched_by text, beginning text,
                          resumed_from text, application text, launched_as text, owner_id bigint)"""


def lock(tx: Transaction, task_pk: int, key: str) -> None:
    """Take the group's turn; held until the commit."""
    locked = False
    while not locked:
        # Between the two statements a purge may have removed the row that was there.
        tx.run(_ENSURE, task_pk=task_pk, key=key)
        locked = bool(tx.rows(_LOCK, task_pk=task_pk, key=key))


def members(tx: Transaction, task_pk: int, key: str, now: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(running, waiting) executions of the group, oldest first; one with a later `run_at` is in neither."""
    rows = tx.rows(_MEMBERS, task_pk=task_pk, key=key)
    running = tuple(pk for pk, status, _ in rows if status == "running")
    waiting = tuple(pk for pk, status, run_at in rows if status == "pending" and (run_at is None or run_at <= now))
    return running, waiting


def pending(tx: Transaction, pk: int) -> tuple[int, str, int, int | None] | None:
    """(task, key, version, run_at) of a pending execution; read before the group's lock, so checked again after it."""
    found = tx.row(_PENDING, pk=pk)
    return None if found is None else (found[0], found[1], found[2], found[3])


def due_pending(tx: Transaction, now: int, places: int) -> list[int]:
    """Executions that may have come to their turn, oldest first."""
    return [pk for (pk,) in tx.rows(_DUE_PENDING, now=now, places=places)]


def first_run_at(tx: Transaction, now: int) -> int | None:
    """The next start time of a pending execution, in microseconds."""
    found = tx.row(_FIRST_RUN_AT, now=now)
    return found[0] if found else None


def execution_id(tx: Transaction, pk: int) -> str:
    """The public id of an execution that is known to exist."""
    found = tx.row("SELECT id FROM executions WHERE pk = :pk", pk=pk)
    if found is None:
        raise LookupError(f"execution {pk} is gone")
    return str(found[0])


def is_id_taken(tx: Transaction, workspace_id: str, id_: str) -> bool:
    sql = "SELECT 1 FROM executions WHERE workspace_id = :workspace_id AND id = :id"
    return tx.row(sql, workspace_id=workspace_id, id=id_) is not None


def insert_execution(tx: Transaction, row: dict[str, Any]) -> int | None:
    """Insert a pending execution with the workspace's next number; returns its key, None if its id is taken."""
    # The workspace's counter is the last lock of a launch, held only until the commit.
    if tx.dialect is Dialect.POSTGRESQL:
        found = tx.row(_INSERT_NUMBERED, **row, failing=False)
    else:
        [(number,)] = tx.rows(_NUMBER, workspace_id=row["workspace_id"])
        found = tx.row(_INSERT, **row, number=number, failing=False)
    return None if found is None else int(found[0])


def insert_details_soon(tx: Transaction, row: dict[str, Any]) -> None:
    """What is read of a new execution only to be shown, put off."""
    tx.put_off(_INSERT_DETAILS, [row])
