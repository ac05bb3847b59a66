"""Statements that count what a workspace has under way."""

from dataclasses import dataclass

from orchestrator.store.transaction import Transaction

_EXECUTIONS = "SELECT status, count(*) FROM executions WHERE workspace_id = :workspace_id GROUP BY status"
_DUE_WORKERS = """
SELECT count(*) FROM workers w JOIN apps a ON a.pk = w.app_pk
 WHERE a.workspace_id = :workspace_id AND a.status = 'active'
   AND w.status = 'ready' AND NOT w.held AND w.pull_task_pk IS NULL AND w.due_at IS NOT NULL AND w.due_at <= :now"""
_UNDELIVERED = """
SELECT count(*) FROM import_batches
 WHERE workspace_id = :workspace_id AND status IN ('pending', 'refused')"""


@dataclass(frozen=True, slots=True)
class Counts:
    """Executions by status, workers that could be called now, import batches that are not delivered."""

    executions: dict[str, int]
    due_workers: int
    undelivered_batches: int


def count(tx: Transaction, workspace_id: str, now: int) -> Counts:
    """Count as of `now`, in microseconds."""
    executions = {row[0]: row[1] for row in tx.rows(_EXECUTIONS, workspace_id=workspace_id)}
    [(due,)] = tx.rows(_DUE_WORKERS, workspace_id=workspace_id, now=now)
    [(undelivered,)] = tx.rows(_UNDELIVERED, workspace_id=workspace_id)
    return Counts(executions, due, undelivered)
